"""Several tellings of one outcome become one event, in every order, before and after basil."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from dunwell.payment.v1 import payment_pb2
from dunwell_gateways.stripe.specimens import declined_intent, event, invoice, paid_invoice

pytestmark = pytest.mark.integration
Ingest = Any
OLD = {"api_version": "2020-08-27"}
DECLINED_CHARGE = {
    "id": "ch_1", "object": "charge", "amount": 2000, "currency": "usd", "customer": "cus_1", "status": "failed",
    "payment_intent": "pi_1", "payment_method": "pm_1", "failure_code": "card_declined",
    "failure_message": "Your card has insufficient funds.",
    "outcome": {"type": "issuer_declined", "reason": "insufficient_funds", "network_decline_code": "51"},
    "payment_method_details": {"type": "card", "card": {"brand": "visa", "funding": "debit", "fingerprint": "fp"}},
}  # fmt: skip
PAID_CHARGE = {
    **DECLINED_CHARGE, "id": "ch_2", "status": "succeeded", "captured": True, "failure_code": None, "outcome": None,
}  # fmt: skip
PAID_INTENT = {
    "id": "pi_1", "object": "payment_intent", "amount": 2000, "amount_received": 2000, "currency": "usd",
    "status": "succeeded", "latest_charge": "ch_2", "customer": "cus_1",
}  # fmt: skip
FAILURE = {
    "basil": (
        event("invoice.payment_failed", invoice(), id="evt_invoice"),
        event("payment_intent.payment_failed", declined_intent(), id="evt_intent"),
        event("charge.failed", DECLINED_CHARGE, id="evt_charge"),
    ),
    "before": (
        event("invoice.payment_failed", invoice(payment_intent="pi_1", charge="ch_1"), id="evt_invoice", **OLD),
        event("payment_intent.payment_failed", declined_intent(invoice="in_1"), id="evt_intent", **OLD),
        event("charge.failed", {**DECLINED_CHARGE, "invoice": "in_1"}, id="evt_charge", **OLD),
    ),
}
SUCCESS = {
    "basil": (
        event("invoice.payment_succeeded", paid_invoice(), id="evt_invoice"),
        event("payment_intent.succeeded", PAID_INTENT, id="evt_intent"),
        event("charge.succeeded", PAID_CHARGE, id="evt_charge"),
    ),
    "before": (
        event(
            "invoice.payment_succeeded",
            invoice(status="paid", amount_paid=2000, amount_remaining=0, payment_intent="pi_1", charge="ch_2"),
            id="evt_invoice", **OLD,
        ),
        event("payment_intent.succeeded", {**PAID_INTENT, "invoice": "in_1"}, id="evt_intent", **OLD),
        event("charge.succeeded", {**PAID_CHARGE, "invoice": "in_1"}, id="evt_charge", **OLD),
    ),
}  # fmt: skip
# Every telling alone, every pair, all three: in every order.
ORDERS = [order for size in (1, 2, 3) for order in itertools.permutations(range(3), size)]
APART = {"at once": timedelta(0), "seconds apart": timedelta(seconds=5), "minutes apart": timedelta(minutes=3)}


async def tell(ingest: Ingest, bodies: tuple[bytes, ...], order: tuple[int, ...], apart: timedelta) -> list[Any]:
    """Tell an account of its own some bodies, then all again; returns its events."""
    account = f"acct_{apart}_{order}"
    await ingest.add_endpoint(account=account)
    for place in order:
        assert (await ingest.post(bodies[place])).status_code == 200
        if apart:
            await ingest.settle(apart)
    await ingest.settle()
    # A repeat of every telling, days later, changes nothing.
    for place in order:
        assert (await ingest.post(bodies[place])).status_code == 200
    await ingest.settle()
    return [event for event in await ingest.emitted() if event.origin.account == account]


@pytest.mark.parametrize("apart", sorted(APART))
@pytest.mark.parametrize("version", sorted(FAILURE))
async def test_one_failure_told_three_times_in_any_order_is_one_event_with_its_decline(
    ingest: Ingest, gateway: Any, version: str, apart: str
) -> None:
    gateway.links["pi_1"] = "in_1"
    for order in itertools.permutations(range(3)):
        (failed,) = await tell(ingest, FAILURE[version], order, APART[apart])
        assert isinstance(failed, payment_pb2.PaymentFailed)
        assert (failed.origin.invoice_id, failed.origin.payer_id) == ("in_1", "cus_1")
        assert (failed.amount.minor_units, failed.amount.currency_code) == (2000, "USD")
        if APART[apart] < timedelta(minutes=1):
            assert failed.decline.reason == "insufficient_funds"
            assert (failed.decline.network_code, failed.decline.gateway_code) == ("51", "insufficient_funds")
            assert (failed.attempt_number, failed.origin.payment_id) == (1, "pi_1")
            assert failed.instrument.network == "visa"
    assert {state for _, state in await ingest.states()} == {"case"}


@pytest.mark.parametrize("version", sorted(FAILURE))
async def test_any_part_of_the_tellings_is_enough_for_one_event(ingest: Ingest, gateway: Any, version: str) -> None:
    gateway.links["pi_1"] = "in_1"
    for order in ORDERS:
        (failed,) = await tell(ingest, FAILURE[version], order, timedelta(0))
        assert isinstance(failed, payment_pb2.PaymentFailed)
        assert (failed.origin.invoice_id, failed.origin.payer_id) == ("in_1", "cus_1")
        if set(order) != {0}:
            assert failed.decline.reason == "insufficient_funds"


@pytest.mark.parametrize("version", sorted(SUCCESS))
async def test_one_success_told_any_way_is_one_event(ingest: Ingest, gateway: Any, version: str) -> None:
    gateway.links["pi_1"] = "in_1"
    for order in ORDERS:
        (paid,) = await tell(ingest, SUCCESS[version], order, timedelta(0))
        assert isinstance(paid, payment_pb2.PaymentSucceeded)
        assert (paid.origin.invoice_id, paid.origin.payment_id, paid.amount.minor_units) == ("in_1", "pi_1", 2000)


async def test_two_failures_of_one_invoice_are_two_events(ingest: Ingest, gateway: Any) -> None:
    gateway.links["pi_1"] = "in_1"
    await tell(ingest, FAILURE["basil"], (0, 1, 2), timedelta(0))
    later = int(ingest.clock.now().timestamp())
    second = declined_intent(latest_charge="ch_9")
    second["last_payment_error"] = {**second["last_payment_error"], "charge": "ch_9"}
    await ingest.post(event("invoice.payment_failed", invoice(attempt_count=2), id="evt_4", created=later))
    await ingest.post(event("payment_intent.payment_failed", second, id="evt_5", created=later))
    await ingest.settle()
    assert [event.attempt_number for event in await ingest.emitted(payment_pb2.PaymentFailed)] == [1, 2]


async def test_a_payment_without_an_invoice_is_told_without_one(ingest: Ingest, gateway: Any) -> None:
    await ingest.post(event("payment_intent.payment_failed", declined_intent()))
    await ingest.settle()
    (failed,) = await ingest.emitted(payment_pb2.PaymentFailed)
    assert (failed.origin.invoice_id, failed.origin.payment_id) == ("", "pi_1")
    assert gateway.asked == ["pi_1"]


async def test_a_gateway_that_is_away_delays_the_event_no_longer_than_patience(ingest: Ingest, gateway: Any) -> None:
    gateway.down = True
    await ingest.post(FAILURE["basil"][1])
    await ingest.settle()
    (failed,) = await ingest.emitted(payment_pb2.PaymentFailed)
    assert failed.decline.reason == "insufficient_funds"
    for _ in range(80):
        ingest.clock.advance(timedelta(seconds=10))
        await ingest.effects.turn()
    (left,) = await ingest.database.read("SELECT count(*) AS n FROM effects WHERE state <> 'done'")
    assert left["n"] == 0
    assert 2 <= len(gateway.asked) <= 70


async def test_a_dispute_and_a_refund_find_the_invoice_and_payer_of_their_payment(ingest: Ingest) -> None:
    for body in FAILURE["before"]:
        await ingest.post(body)
    await ingest.settle()
    dispute = {"id": "dp_1", "object": "dispute", "payment_intent": "pi_1", "charge": "ch_1", "amount": 2000,
               "currency": "usd", "reason": "fraudulent", "status": "needs_response"}  # fmt: skip
    refunded = {**DECLINED_CHARGE, "status": "succeeded", "amount_refunded": 700}
    await ingest.post(event("charge.dispute.created", dispute, id="evt_dispute"))
    await ingest.post(event("charge.refunded", refunded, id="evt_refund", previous={"amount_refunded": 0}))
    await ingest.settle()
    (disputed,) = await ingest.emitted(payment_pb2.DisputeOpened)
    assert (disputed.origin.invoice_id, disputed.origin.payer_id) == ("in_1", "cus_1")
    (refund,) = await ingest.emitted(payment_pb2.PaymentRefunded)
    assert (refund.origin.invoice_id, refund.amount.minor_units) == ("in_1", 700)


async def test_events_of_one_payer_are_numbered_without_a_gap(ingest: Ingest) -> None:
    for number in range(5):
        body = event("invoice.voided", invoice(id=f"in_{number}", status="void"), id=f"evt_{number}")
        await ingest.post(body)
    await ingest.settle()
    rows = await ingest.database.read("SELECT agg_key, (headers->>'ce_sequence')::bigint AS n FROM outbox ORDER BY id")
    assert [(row["agg_key"], row["n"]) for row in rows] == [("default:cus_1", n) for n in range(1, 6)]


async def test_a_delivery_that_breaks_the_reader_is_set_aside_and_the_rest_flows(ingest: Ingest) -> None:
    await ingest.add_endpoint()
    usual = ingest.reader._classify

    def breaking(decline: Any, *rest: Any) -> tuple[str, str]:
        if decline.gateway_code == "break_it":
            raise ZeroDivisionError("our own mistake")
        return usual(decline, *rest)

    ingest.reader._classify = breaking
    broken = {**declined_intent(), "id": "pi_9", "status": "requires_action"}
    broken["last_payment_error"] = {**broken["last_payment_error"], "code": "break_it", "decline_code": "break_it"}
    for body in (
        event("customer.updated", {"id": "cus_1", "object": "customer"}, id="evt_1"),
        event("payment_intent.requires_action", broken, id="evt_2"),
        event("customer.updated", {"id": "cus_2", "object": "customer"}, id="evt_3"),
    ):
        assert (await ingest.post(body)).status_code == 200
    await ingest.read()
    states = dict(await ingest.states())
    assert states["payment_intent.requires_action"] == "quarantined"
    (kept,) = await ingest.database.read("SELECT detail FROM deliveries WHERE state='quarantined'")
    assert "ZeroDivisionError: our own mistake" in kept["detail"]
    assert [e.origin.payer_id for e in await ingest.emitted(payment_pb2.PayerChanged)] == ["cus_1", "cus_2"]


async def test_many_outcomes_of_one_turn_stay_apart(ingest: Ingest) -> None:
    await ingest.add_endpoint()
    for n in range(40):
        intent = {**declined_intent(invoice=f"in_{n}"), "id": f"pi_{n}"}
        first = event("payment_intent.payment_failed", intent, id=f"evt_intent_{n}", **OLD)
        second = invoice(id=f"in_{n}", payment_intent=f"pi_{n}", charge="")
        assert (await ingest.post(first)).status_code == 200
        told = event("invoice.payment_failed", second, id=f"evt_invoice_{n}", **OLD)
        assert (await ingest.post(told)).status_code == 200
    await ingest.settle()
    events = await ingest.emitted(payment_pb2.PaymentFailed)
    assert sorted(e.origin.invoice_id for e in events) == sorted(f"in_{n}" for n in range(40))
    assert all(len(e.origin.gateway_event_ids) == 2 and e.decline.reason for e in events)


async def test_events_that_share_an_id_are_told_apart_by_what_they_are_about(ingest: Ingest) -> None:
    """Bodies taken from documentation all carry one id; none may vanish behind another or be told for it."""
    await ingest.add_endpoint()
    for n in range(3):
        intent = {**declined_intent(invoice=f"in_{n}"), "id": f"pi_{n}"}
        told = invoice(id=f"in_{n}", payment_intent=f"pi_{n}", charge="")
        for body in (
            event("payment_intent.payment_failed", intent, **OLD),
            event("invoice.payment_failed", told, **OLD),
        ):
            for _ in range(2):
                assert (await ingest.post(body)).status_code == 200
    await ingest.settle()
    events = await ingest.emitted(payment_pb2.PaymentFailed)
    assert sorted(e.origin.invoice_id for e in events) == ["in_0", "in_1", "in_2"]
    assert all(e.origin.gateway_event_ids == ["evt_1", "evt_1"] and e.decline.reason for e in events)
    assert await ingest.states() == [
        (kind, "case") for _ in range(3) for kind in ("payment_intent.payment_failed", "invoice.payment_failed")
    ]
