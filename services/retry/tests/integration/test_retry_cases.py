"""What news and operators do to a case, what the database refuses, and that every decision can be replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg import PostgresError
from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.journal.v1 import journal_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import stamp
from dunwell_kit.database import sqlstate
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import Case, Decline, Method, Place, Situation, plan_document
from dunwell_retry.planners import planner, planners
from dunwell_retry.policies import Policy, preset
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules import allow
from dunwell_retry.rules.model import Block, Initiator, Origin, PastAttempt

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
Retry = Any
Open = Callable[..., Any]


async def test_a_failure_told_twice_opens_one_case(retry: Retry) -> None:
    await retry.tell(retry.failed(), retry.failed())
    await retry.run()
    await retry.tell(retry.failed())
    assert (await retry.row("SELECT count(*) AS n FROM cases"))["n"] == 1
    assert len(await retry.emitted(recovery_pb2.RecoveryOpened)) == 1


async def test_a_second_invoice_whose_charge_was_seen_in_the_payers_list_still_opens_its_case(retry: Retry) -> None:
    await retry.open(0)
    seen = await retry.row("SELECT evidence FROM attempt_ledger WHERE entry_id LIKE '%ch_1n1'")
    assert seen["evidence"] == "fetched"
    await retry.open(1)
    assert (await retry.state(0), await retry.state(1)) == ("waiting", "waiting")


@pytest.mark.parametrize(
    "message", [payment_pb2.PaymentFailed(), payment_pb2.PaymentSucceeded(), payment_pb2.InvoicePaid()]
)
async def test_a_payment_of_no_invoice_is_no_case(retry: Retry, message: Any) -> None:
    message.origin.CopyFrom(retry.origin(invoice_id=""))
    message.amount.CopyFrom(common_pb2.Money(currency_code="USD", minor_units=2000))
    await retry.tell(message)
    assert (await retry.row("SELECT count(*) AS n FROM cases"))["n"] == 0


async def test_our_own_refusal_told_by_a_webhook_opens_nothing_and_counts_once(retry: Retry) -> None:
    await retry.open()
    await retry.run_until(START + 4 * DAY)
    echo = retry.failed(charge_id="ch_0n2")
    echo.trigger = payment_pb2.TRIGGER_US
    echo.origin.occurred_at.CopyFrom(stamp(START + 3 * DAY))
    await retry.tell(echo)
    ours = await retry.row("SELECT count(*) AS n FROM attempt_ledger WHERE at >= :at", at=START + DAY)
    assert ours["n"] == 1
    assert (await retry.row("SELECT count(*) AS n FROM cases"))["n"] == 1


async def test_the_gateways_own_retry_is_learned_and_its_success_is_the_gateways(retry: Retry) -> None:
    await retry.open()
    again = retry.failed(charge_id="ch_other", reason="expired")
    again.origin.occurred_at.CopyFrom(stamp(START + DAY))
    again.trigger = payment_pb2.TRIGGER_GATEWAY_RETRY
    retry.clock.set(START + DAY)
    await retry.tell(again)
    case = await retry.row("SELECT plan_number, decline->>'reason' AS reason FROM cases")
    assert (case["plan_number"], case["reason"]) == (2, "expired")
    await retry.tell(payment_pb2.PaymentSucceeded(origin=retry.origin(), trigger=payment_pb2.TRIGGER_GATEWAY_RETRY))
    (won,) = await retry.emitted(recovery_pb2.RecoverySucceeded)
    assert won.by == recovery_pb2.RECOVERED_BY_GATEWAY


async def test_money_that_comes_in_the_silent_phase_came_by_itself(retry: Retry) -> None:
    await retry.open()
    retry.clock.set(START + DAY)
    await retry.tell(payment_pb2.InvoicePaid(origin=retry.origin()))
    (won,) = await retry.emitted(recovery_pb2.RecoverySucceeded)
    assert won.by == recovery_pb2.RECOVERED_BY_SELF_CURED


async def test_old_news_of_an_ended_case_opens_nothing_and_a_new_failure_opens_another(retry: Retry) -> None:
    await retry.open()
    retry.clock.set(START + DAY)
    await retry.tell(payment_pb2.InvoicePaid(origin=retry.origin()))
    old, new = retry.failed(charge_id="ch_old"), retry.failed(charge_id="ch_new")
    new.origin.occurred_at.CopyFrom(stamp(START + 2 * DAY))
    retry.clock.set(START + 2 * DAY)
    await retry.tell(old)
    assert (await retry.row("SELECT count(*) AS n FROM cases"))["n"] == 1
    await retry.tell(new)
    assert (await retry.row("SELECT count(*) AS n FROM cases"))["n"] == 2


ENDS: dict[str, tuple[Callable[[Any], Message], str]] = {
    "voided": (lambda o: payment_pb2.InvoiceVoided(origin=o), "retry.invoice_voided"),
    "given up": (lambda o: payment_pb2.InvoiceMarkedUncollectible(origin=o), "retry.uncollectible"),
    "disputed": (lambda o: payment_pb2.DisputeOpened(origin=o, dispute_id="dp_1"), "retry.disputed"),
    "subscription canceled": (lambda o: payment_pb2.SubscriptionCanceled(origin=o), "retry.subscription_canceled"),
    "payer deleted": (lambda o: payment_pb2.PayerDeleted(origin=o), "retry.payer_deleted"),
}


@pytest.mark.parametrize("name", sorted(ENDS))
@pytest.mark.parametrize("charging", [False, True])
async def test_a_debt_that_is_gone_is_never_charged_again(retry: Retry, name: str, charging: bool) -> None:
    make, rule = ENDS[name]
    retry.world.approves_from["in_0"] = START
    await retry.open()
    if charging:
        retry.clock.set(START + 3 * DAY)
        await retry.timers.turn()
    (cause,) = await retry.tell(make(retry.origin()))
    await retry.run_until(START + 30 * DAY)
    assert (await retry.state(), await retry.truth()) == ("canceled", [])
    assert await retry.attempts() == (["withdrawn"] if charging else [])
    (told,) = await retry.emitted(recovery_pb2.RecoveryCanceled)
    assert (told.reason.rule, list(told.reason.evidence)) == (rule, [cause])


async def test_a_mere_inquiry_stops_nothing(retry: Retry) -> None:
    await retry.open()
    await retry.tell(payment_pb2.DisputeOpened(origin=retry.origin(), inquiry=True))
    assert await retry.state() == "waiting"


async def test_a_write_off_by_the_books_ends_the_case(retry: Retry) -> None:
    case_id = await retry.open()
    await retry.tell(journal_pb2.InvoiceWrittenOff(case_id=case_id), journal_pb2.InvoiceWrittenOff(case_id="rec_none"))
    assert await retry.state() == "canceled"


async def test_other_payers_cases_go_on(retry: Retry) -> None:
    await retry.open(0)
    await retry.open(2)
    await retry.tell(payment_pb2.PayerDeleted(origin=retry.origin(0)))
    assert (await retry.state(0), await retry.state(2)) == ("canceled", "waiting")


def given(retry: Retry, number: int = 0) -> payment_pb2.InstrumentReplaced:
    return payment_pb2.InstrumentReplaced(
        origin=retry.origin(number, invoice_id=""),
        instrument=payment_pb2.InstrumentFacts(kind="card", network="visa", funding="credit", country="US", account_reference="fp_9"),
    )  # fmt: skip


async def test_a_method_the_payer_gave_is_charged_at_once_for_all_his_invoices(retry: Retry) -> None:
    retry.world.approves_from |= {"in_0": START, "in_1": START}
    for number in (0, 1, 2):
        await retry.open(number, reason="expired")
    retry.clock.set(START + timedelta(hours=5))
    await retry.tell(given(retry))
    await retry.run()
    assert [await retry.state(number) for number in (0, 1, 2)] == ["recovered", "recovered", "waiting"]
    assert {charge[3] for charge in retry.world.attempts} == {"payer"}
    row = await retry.row("SELECT initiator, sent_at FROM charge_attempts WHERE invoice_id='in_0'")
    assert (row["initiator"], row["sent_at"]) == ("payer", START + timedelta(hours=5))


async def test_the_method_in_use_taken_away_asks_the_payer(retry: Retry) -> None:
    await retry.open()
    await retry.tell(payment_pb2.InstrumentRemoved(origin=retry.origin(instrument_id="pm_other")))
    assert (await retry.row("SELECT plan_number FROM cases"))["plan_number"] == 1
    await retry.tell(payment_pb2.InstrumentRemoved(origin=retry.origin()))
    *_, told = await retry.emitted(recovery_pb2.RecoveryPlanned)
    assert told.payer_action == recovery_pb2.PAYER_ACTION_UPDATE_METHOD


async def test_a_bank_that_wants_the_payer_himself_asks_him(retry: Retry) -> None:
    await retry.open()
    await retry.tell(payment_pb2.PaymentActionRequired(origin=retry.origin()))
    *_, told = await retry.emitted(recovery_pb2.RecoveryPlanned)
    assert (told.decline_reason, told.payer_action) == ("auth_required", recovery_pb2.PAYER_ACTION_AUTHENTICATE)


async def test_a_changed_amount_is_what_is_asked_from_then_on(retry: Retry) -> None:
    await retry.open()
    changed = payment_pb2.InvoiceChanged(
        origin=retry.origin(), amount=common_pb2.Money(currency_code="USD", minor_units=1500)
    )
    await retry.tell(changed, changed)
    row = await retry.row("SELECT amount_minor, plan_number FROM cases")
    assert (row["amount_minor"], row["plan_number"]) == (1500, 2)
    # The biller still says 2000: what it says when the charge is due is asked.
    await retry.run_until(START + 3 * DAY)
    assert await retry.attempts() == ["withdrawn", "declined"]
    assert (await retry.row("SELECT amount_minor FROM cases"))["amount_minor"] == 2000
    sent = await retry.row("SELECT amount_minor FROM charge_attempts WHERE state='declined'")
    assert sent["amount_minor"] == 2000


async def test_a_plan_that_loses_its_attempts_charges_nothing_at_the_old_date(retry_with: Open) -> None:
    policy = RetryPolicy(
        planners={"twice": planner(Policy("twice", 1, "fixed", days=(3, 5), attempts_max=2)), "never": planner(preset("never"))}, main_policy="twice",
        holdout_policy="never", holdout_share=0.0, experiment="e", gate=allow, classify=lambda d, *_: d,
        idempotency_secret=b"secret",
    )  # fmt: skip
    async with retry_with(policy=policy) as retry:
        retry.world.approves_from["in_0"] = START
        await retry.open()
        policy.planners["twice"] = policy.planners["never"]
        await retry.tell(payment_pb2.PaymentActionRequired(origin=retry.origin()))
        await retry.run_until(START + 10 * DAY)
        assert (await retry.state(), await retry.truth()) == ("waiting", [])


COPY = """INSERT INTO charge_attempts SELECT 'att_copy', case_id, {permit}, tenant_id, gateway, account, invoice_id,
  attempt_number + 1, amount_minor, currency, instrument_id, initiator, request, 'key_copy', {state}, NULL, '', intended_at
  FROM charge_attempts LIMIT 1"""
PERMIT = "INSERT INTO permits SELECT 'per_copy', case_id, at, {verdict} FROM permits LIMIT 1"


@pytest.mark.parametrize(
    ("statements", "refused"),
    [
        ([PERMIT.format(verdict="verdict"), COPY.format(permit="'per_copy'", state="'intent'")], "one_open_attempt"),
        ([COPY.format(permit="'per_none'", state="'declined'")], "charge_attempts_permit_id_fkey"),
        ([COPY.format(permit="permit_id", state="'declined'")], "charge_attempts_permit_id_key"),
        ([PERMIT.format(verdict="jsonb_set(verdict, '{permit}', 'false')")], "permits_verdict_check"),
        (["INSERT INTO cases SELECT 'rec_copy', tenant_id, gateway, account, payer_id, invoice_id, subscription_id, payer_key,"
          " currency, amount_minor, state, failed_at, opened_at FROM cases"], "one_open_case"),
    ],
)  # fmt: skip
async def test_the_database_refuses_a_second_open_attempt_or_case_and_one_without_permit(
    retry: Retry, statements: list[str], refused: str
) -> None:
    await retry.open()
    retry.clock.set(START + 3 * DAY)
    await retry.timers.turn()
    assert await retry.attempts() == ["intent"]

    async def work(tx: Any) -> None:
        for statement in statements:
            await tx.execute(statement)

    with pytest.raises(PostgresError, match=refused):
        await retry.database.transact(work)


@pytest.mark.parametrize("table", ["attempt_ledger", "permits", "decisions"])
async def test_what_was_permitted_and_decided_cannot_be_changed(retry: Retry, table: str) -> None:
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET at = now()"):
        with pytest.raises(PostgresError) as caught:
            await retry.database.transact(lambda tx, s=statement: tx.execute(s))
        assert sqlstate(caught.value) == "42501"


def situation_of(inputs: dict[str, Any]) -> Situation:
    """Build what the planner saw from what was kept of it."""
    kept, at = inputs["case"], datetime.fromisoformat
    place = Place(kept["tenant_id"], kept["gateway"], kept["account"], kept["payer_id"], kept["invoice_id"])
    methods = tuple(Method(**method) for method in inputs["methods"])
    case = Case(
        case_id=kept["case_id"], place=place, payer_key="", currency=kept["currency"], amount_minor=kept["amount_minor"],
        state=CaseState.WAITING, failed_at=at(kept["failed_at"]), opened_at=at(kept["opened_at"]),
        decline=Decline(**kept["decline"]), method=methods[0],
        deadline_at=at(kept["deadline_at"]) if kept["deadline_at"] else None, attempts=kept["attempts"],
        timezone=kept["timezone"], payer_fixed=kept["payer_fixed"],
    )  # fmt: skip
    history = tuple(
        PastAttempt(**{**p, "at": at(p["at"]), "initiator": Initiator(p["initiator"]), "origin": Origin(p["origin"])})
        for p in inputs["history"]
    )
    return Situation(case, history, methods, tuple(Block(b["kind"], at(b["since"])) for b in inputs["blocks"]))


@pytest.mark.parametrize("name", ["smart", "uniform-8", "payday"])
async def test_every_plan_can_be_made_again_from_what_was_kept_of_it(retry_with: Open, name: str) -> None:
    shipped = planners()
    policy = RetryPolicy(
        planners=shipped, main_policy=name, holdout_policy=name, holdout_share=0.0, experiment="e", gate=allow,
        classify=lambda d, *_: replace(d, reason="insufficient_funds"), idempotency_secret=b"secret", merchant_country="US",
    )  # fmt: skip
    async with retry_with(policy=policy) as retry:
        case_id = await retry.open()
        await retry.run_until(START + 12 * DAY)
        told = (await retry.api.get(f"/v1/cases/{case_id}/why")).json()
        plans = [d for d in told["decisions"] if d["kind"] == "plan"]
        assert len(plans) >= 2
        for decision in plans:
            inputs = decision["inputs"]
            again = shipped[name](situation_of(inputs), datetime.fromisoformat(inputs["now"]))
            assert plan_document(again) == decision["outputs"]
            assert decision["rule"]
            assert decision["sentence"]
        assert told["summary"].startswith("Invoice in_0 over 20.00 USD")
        assert told["next"]
        assert told["would_change"]


async def test_the_request_is_kept_to_the_byte_and_without_its_secret(retry: Retry) -> None:
    await retry.open()
    retry.clock.set(START + 3 * DAY)
    await retry.timers.turn()
    row = await retry.row("SELECT request::text AS request, idem_key FROM charge_attempts")
    assert row["idem_key"].startswith("d1")
    assert len(row["idem_key"]) == 42
    assert "sk_test" not in row["request"]
    assert "/v1/invoices/in_0/pay" in row["request"]
