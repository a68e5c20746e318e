"""The charge protocol against a real gateway of Stripe's wire format: never twice, never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_kit.database import Tx
from dunwell_kit.failpoints import arm
from dunwell_kit.testing import wait_until
from dunwell_retry import charges
from dunwell_sandbox.settings import FaultRates

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
Retry = Any
Open = Callable[..., Any]


async def decisions(retry: Retry, case_id: str) -> list[str]:
    answer = await retry.api.get(f"/v1/cases/{case_id}/why")
    return [decision["rule"] for decision in answer.json()["decisions"]]


async def test_a_failure_becomes_a_planned_case_that_knows_its_payer(retry: Retry) -> None:
    case_id = await retry.open()
    case = (await retry.api.get(f"/v1/cases/{case_id}")).json()
    assert (case["state"], case["timezone"], case["decline_reason"]) == (
        "waiting",
        "Europe/Berlin",
        "insufficient_funds",
    )
    assert [attempt["at"] for attempt in case["plan"]["attempts"]] == [(START + n * DAY).isoformat() for n in (3, 5, 7)]
    ledger = await retry.database.read("SELECT approved, origin FROM attempt_ledger ORDER BY at")
    assert [(row["approved"], row["origin"]) for row in ledger][:1] == [(True, "gateway")]
    events = [type(event).__name__ for event in await retry.emitted()]
    assert events == ["RecoveryOpened", "RecoveryPlanned", "RetryScheduled"]


async def test_an_approved_attempt_recovers_the_invoice_with_one_charge(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    case_id = await retry.open()
    await retry.run_until(START + 4 * DAY)
    assert (await retry.state(), await retry.attempts()) == ("recovered", ["succeeded"])
    (charge,) = await retry.truth()
    assert (charge["approved"], charge["invoice_id"]) == (True, "in_0")
    row = await retry.row("SELECT idem_key, gateway_object_id, payment_id, sent_at FROM charge_attempts")
    assert charge["idempotency_key"] == row["idem_key"]
    assert (row["payment_id"], row["sent_at"]) == ("pi_0", START + 3 * DAY)
    (won,) = await retry.emitted(recovery_pb2.RecoverySucceeded)
    assert (won.by, won.attempts, won.payment_id) == (recovery_pb2.RECOVERED_BY_RETRY, 1, "pi_0")
    assert (await decisions(retry, case_id))[-1] == "retry.settled.retry"
    left = await retry.row("SELECT count(*) AS n FROM timers WHERE state IN ('pending', 'leased')")
    assert left["n"] == 0


async def test_a_declined_attempt_is_learned_and_the_next_one_has_its_own_key(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START + 4 * DAY
    await retry.open()
    await retry.run_until(START + 4 * DAY)
    assert (await retry.state(), await retry.attempts()) == ("waiting", ["declined"])
    (told,) = await retry.emitted(recovery_pb2.ChargeDeclined)
    assert (told.decline.reason, told.decline.network_code) == ("insufficient_funds", "51")
    ours = await retry.row("SELECT approved, network_code, evidence FROM attempt_ledger WHERE origin='us'")
    assert (ours["approved"], ours["network_code"]) == (False, "51")
    await retry.run_until(START + 6 * DAY)
    assert (await retry.state(), await retry.attempts()) == ("recovered", ["declined", "succeeded"])
    assert len({charge["idempotency_key"] for charge in await retry.truth()}) == 2


async def test_who_wants_an_attempt_waits_for_its_case_first_and_then_sees_both_as_they_are(retry: Retry) -> None:
    await retry.open()
    await retry.run_until(START + 4 * DAY)
    (found,) = await retry.database.read("SELECT attempt_id, case_id FROM charge_attempts")
    held, waiting = asyncio.Event(), asyncio.Event()

    async def hold(tx: Tx) -> None:
        await tx.execute("SELECT 1 FROM cases WHERE case_id=:id FOR UPDATE", id=found["case_id"])
        held.set()
        await waiting.wait()
        # Nobody who waits for the case holds the attempt: the two would wait for each other for ever.
        await tx.execute("SELECT 1 FROM charge_attempts WHERE attempt_id=:id FOR UPDATE NOWAIT", id=found["attempt_id"])
        await tx.execute("UPDATE cases SET amount_minor=7 WHERE case_id=:id", id=found["case_id"])
        await tx.execute("UPDATE charge_attempts SET looks=3 WHERE attempt_id=:id", id=found["attempt_id"])

    holder = asyncio.ensure_future(retry.database.transact(hold))
    await held.wait()
    taker = asyncio.ensure_future(retry.database.transact(lambda tx: charges.case_and_attempt(tx, found["attempt_id"])))
    await wait_until(lambda: retry.database.read("SELECT 1 FROM pg_locks WHERE NOT granted"))
    waiting.set()
    await holder
    case, attempt = await taker
    assert (case.case_id, case.amount_minor) == (found["case_id"], 7)
    assert (attempt.attempt_id, attempt.looks, attempt.money.minor) == (found["attempt_id"], 3, 2000)


async def test_a_case_whose_attempts_are_all_refused_is_exhausted_at_its_end(retry: Retry) -> None:
    await retry.open()
    await retry.run_until(START + 29 * DAY)
    assert (await retry.state(), await retry.attempts()) == ("exhausted", ["declined"] * 3)
    (told,) = await retry.emitted(recovery_pb2.RecoveryExhausted)
    assert (told.remaining.minor_units, told.attempts) == (2000, 3)


APPLIED = {
    "applied, then no answer": FaultRates(timeout=1.0),
    "applied, then the connection broke": FaultRates(reset_after=1.0),
}


@pytest.mark.parametrize("fault", sorted(APPLIED))
async def test_a_charge_applied_without_an_answer_is_found_again_and_never_repeated(
    retry_with: Open, fault: str
) -> None:
    async with retry_with(faults=APPLIED[fault]) as retry:
        retry.world.approves_from["in_0"] = START
        await retry.open()
        await retry.run_until(START + 3 * DAY)
        assert (await retry.state(), await retry.attempts()) == ("uncertain", ["unknown"])
        await retry.run_until(START + 3 * DAY + timedelta(seconds=15))
        assert (await retry.state(), await retry.attempts()) == ("recovered", ["succeeded"])
        assert len(await retry.truth()) == 1
        assert len(await retry.emitted(recovery_pb2.ChargeUnknown)) == 1
        (resolved,) = await retry.emitted(recovery_pb2.ChargeResolved)
        assert (resolved.outcome, resolved.reason.rule) == ("succeeded", "retry.reconciled")
        assert len(await retry.emitted(recovery_pb2.ChargeSucceeded)) == 1


@pytest.mark.parametrize("fault", sorted(APPLIED))
async def test_a_refusal_without_an_answer_is_found_again(retry_with: Open, fault: str) -> None:
    async with retry_with(faults=APPLIED[fault]) as retry:
        await retry.open()
        await retry.run_until(START + 3 * DAY + timedelta(minutes=1))
        assert (await retry.state(), await retry.attempts()) == ("waiting", ["declined"])
        assert len(await retry.truth()) == 1
        (resolved,) = await retry.emitted(recovery_pb2.ChargeResolved)
        assert resolved.outcome == "declined"


async def won_by(retry: Retry) -> int:
    """Return who the one recovery is credited to."""
    (won,) = await retry.emitted(recovery_pb2.RecoverySucceeded)
    by: int = won.by
    return by


async def test_a_server_error_after_the_charge_is_settled_by_the_gateways_record_of_our_key(retry_with: Open) -> None:
    async with retry_with(faults=FaultRates(error=1.0)) as retry:
        retry.world.approves_from["in_0"] = START
        await retry.open()
        await retry.run_until(START + 3 * DAY + timedelta(seconds=14))
        assert (await retry.state(), await retry.attempts()) == ("uncertain", ["unknown"])
        assert await retry.emitted(recovery_pb2.ChargeResolved) == []
        # No webhook ever comes.
        await retry.run_until(START + 3 * DAY + timedelta(seconds=16))
        assert (await retry.state(), await retry.attempts()) == ("recovered", ["succeeded"])
        assert len(await retry.truth()) == 1
        (resolved,) = await retry.emitted(recovery_pb2.ChargeResolved)
        assert resolved.outcome == "succeeded"
        (charged,) = await retry.emitted(recovery_pb2.ChargeSucceeded)
        assert (charged.payment_id, await won_by(retry)) == ("pi_0", recovery_pb2.RECOVERED_BY_RETRY)


async def test_a_server_error_after_the_charge_is_settled_by_the_webhook_that_names_our_key(retry_with: Open) -> None:
    async with retry_with(faults=FaultRates(error=1.0)) as retry:
        retry.world.approves_from["in_0"] = START
        await retry.open()
        await retry.run_until(START + 3 * DAY + timedelta(seconds=5))
        assert (await retry.state(), await retry.attempts()) == ("uncertain", ["unknown"])
        paid = payment_pb2.PaymentSucceeded(origin=retry.origin(charge_id="ch_0n2"), trigger=payment_pb2.TRIGGER_US)
        await retry.tell(paid)
        await retry.run()
        assert (await retry.state(), await retry.attempts()) == ("recovered", ["succeeded"])
        assert len(await retry.truth()) == 1
        assert await won_by(retry) == recovery_pb2.RECOVERED_BY_RETRY


async def test_an_invoice_that_another_key_paid_is_not_credited_to_our_lost_attempt(retry_with: Open) -> None:
    async with retry_with(faults=FaultRates(reset_before=1.0)) as retry:
        await retry.open()
        await retry.run_until(START + 3 * DAY)
        assert await retry.attempts() == ["unknown"]
        async with retry_with() as whole:
            await pay(whole)
            await whole.run_until(START + 5 * DAY)
            assert [charge["idempotency_key"] for charge in await whole.truth()] == ["other0"]
        assert (await retry.state(), await retry.attempts()) == ("recovered", ["absent"])
        assert await won_by(retry) == recovery_pb2.RECOVERED_BY_PAYER


async def test_a_request_that_never_arrived_is_believed_absent_after_two_clean_looks_a_minute_apart(
    retry_with: Open,
) -> None:
    async with retry_with(faults=FaultRates(reset_before=1.0)) as retry:
        await retry.open()
        await retry.run_until(START + 3 * DAY + timedelta(seconds=100))
        assert (await retry.state(), await retry.attempts()) == ("uncertain", ["unknown"])
        await retry.run_until(START + 3 * DAY + timedelta(seconds=130))
        assert (await retry.state(), await retry.attempts()) == ("waiting", ["absent"])
        assert await retry.truth() == []
        (resolved,) = await retry.emitted(recovery_pb2.ChargeResolved)
        assert resolved.outcome == "absent"


async def test_an_outcome_nobody_can_find_is_a_persons_after_a_day_and_nothing_else_is_sent(retry_with: Open) -> None:
    async with retry_with(faults=FaultRates(timeout=1.0)) as retry:
        retry.world.approves_from["in_0"] = START
        await retry.open()
        await retry.run_until(START + 3 * DAY)
        async with retry_with(down=True) as blind:
            await blind.run_until(START + 5 * DAY)
        assert (await retry.state(), await retry.attempts()) == ("uncertain", ["stuck"])
        assert len(await retry.truth()) == 1
        await retry.tell(payment_pb2.PaymentSucceeded(origin=retry.origin(), trigger=payment_pb2.TRIGGER_US))
        await retry.run()
        assert (await retry.state(), await retry.attempts()) == ("recovered", ["succeeded"])


@pytest.mark.parametrize(("point", "charges"), [("retry.after_sent_commit", 0), ("retry.after_response", 1)])
async def test_a_crash_around_the_request_never_sends_it_again(retry: Retry, point: str, charges: int) -> None:
    retry.world.approves_from["in_0"] = START
    await retry.open()
    retry.clock.set(START + 3 * DAY)
    arm(f"{point}=raise")
    await retry.timers.turn()
    await retry.effects.turn()
    assert await retry.attempts() == ["sent"]
    arm("")
    await retry.recover_leases()
    await retry.run()
    assert (await retry.state(), await retry.attempts()) == ("uncertain", ["unknown"])
    assert len(await retry.truth()) == charges
    await retry.run_until(START + 3 * DAY + timedelta(minutes=3))
    assert await retry.attempts() == (["succeeded"] if charges else ["absent"])
    assert len(await retry.truth()) == charges


async def test_a_crash_of_the_reconciler_only_delays_its_look(retry_with: Open) -> None:
    async with retry_with(faults=FaultRates(timeout=1.0)) as retry:
        retry.world.approves_from["in_0"] = START
        await retry.open()
        await retry.run_until(START + 3 * DAY)
        arm("retry.reconciling=raise")
        await retry.run_until(START + 3 * DAY + timedelta(seconds=20))
        assert await retry.attempts() == ["unknown"]
        arm("")
        await retry.recover_leases()
        await retry.run()
        assert await retry.attempts() == ["succeeded"]
        assert len(await retry.truth()) == 1


async def test_a_gateway_that_is_away_at_the_hour_is_asked_again_and_then_the_date_is_given_up(
    retry_with: Open,
) -> None:
    async with retry_with() as there:
        await there.open()
    async with retry_with(down=True) as retry:
        await retry.run_until(START + 3 * DAY + timedelta(minutes=5))
        assert (await retry.state(), await retry.attempts()) == ("charging", ["intent"])
        await retry.run_until(START + 3 * DAY + timedelta(hours=1))
        assert (await retry.state(), await retry.attempts()) == ("waiting", ["withdrawn"])
    async with retry_with() as back:
        back.world.approves_from["in_0"] = START
        await back.run_until(START + 5 * DAY)
        assert await back.state() == "recovered"
        numbers = await back.database.read("SELECT attempt_number AS n FROM charge_attempts ORDER BY 1")
        assert [row["n"] for row in numbers] == [1, 2]


async def test_without_an_answer_about_the_payer_the_case_is_planned_all_the_same(retry_with: Open) -> None:
    async with retry_with(down=True) as retry:
        await retry.tell(retry.failed())
        await retry.run()
        assert await retry.state() == "opening"
        await retry.run_until(START + timedelta(minutes=10))
        assert await retry.state() == "waiting"


async def pay(retry: Retry, number: int = 0) -> None:
    """Let somebody else pay an invoice at the gateway."""
    retry.world.approves_from[f"in_{number}"] = START
    answer = await retry.sandbox.post(f"/v1/invoices/in_{number}/pay", headers={"Idempotency-Key": f"other{number}"})
    assert answer.status_code == 200


async def test_an_invoice_paid_meanwhile_is_found_paid_before_anything_is_sent(retry: Retry) -> None:
    await retry.open()
    await pay(retry)
    await retry.run_until(START + 4 * DAY)
    assert (await retry.state(), await retry.attempts()) == ("recovered", ["withdrawn"])
    assert [charge["idempotency_key"] for charge in await retry.truth()] == ["other0"]
    (won,) = await retry.emitted(recovery_pb2.RecoverySucceeded)
    assert won.by == recovery_pb2.RECOVERED_BY_PAYER


async def test_an_invoice_voided_at_the_biller_is_not_charged(retry: Retry) -> None:
    await retry.open()
    assert (await retry.sandbox.post("/v1/invoices/in_0/void")).status_code == 200
    await retry.run_until(START + 4 * DAY)
    assert (await retry.state(), await retry.attempts(), await retry.truth()) == ("canceled", ["withdrawn"], [])


async def test_a_payment_told_between_intent_and_request_stops_the_request(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    await retry.open()
    retry.clock.set(START + 3 * DAY)
    await retry.timers.turn()
    assert await retry.attempts() == ["intent"]
    (paid,) = await retry.tell(payment_pb2.InvoicePaid(origin=retry.origin()))
    await retry.run()
    assert (await retry.state(), await retry.attempts(), await retry.truth()) == ("recovered", ["withdrawn"], [])
    (won,) = await retry.emitted(recovery_pb2.RecoverySucceeded)
    assert list(won.reason.evidence) == [paid]


async def test_a_kill_switch_thrown_between_intent_and_request_stops_the_request(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    await retry.open()
    retry.clock.set(START + 3 * DAY)
    await retry.timers.turn()
    answer = await retry.api.post("/v1/blocks", json={"kind": "kill_switch"})
    await retry.run_until(START + 10 * DAY)
    assert (await retry.state(), await retry.attempts(), await retry.truth()) == ("waiting", ["withdrawn"], [])
    assert (await retry.api.delete(f"/v1/blocks/{answer.json()['block_id']}")).status_code == 204
    await retry.run_until(START + 11 * DAY)
    case = await retry.row("SELECT plan_number, plan->>'why' AS why FROM cases")
    assert case["plan_number"] >= 3
    assert "block" not in case["why"]


async def test_after_a_kill_switch_is_lifted_the_dates_that_are_left_are_charged(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    block = {"kind": "kill_switch", "tenant_id": "*", "gateway": "stripe"}
    block_id = (await retry.api.post("/v1/blocks", json=block)).json()["block_id"]
    await retry.open()
    await retry.run_until(START + 4 * DAY)
    assert (await retry.state(), await retry.attempts()) == ("waiting", [])
    await retry.api.delete(f"/v1/blocks/{block_id}")
    await retry.run_until(START + 6 * DAY)
    assert (await retry.state(), len(await retry.truth())) == ("recovered", 1)


@pytest.mark.parametrize(
    ("scope", "stopped"),
    [
        ({"payer_id": "cus_a"}, True),
        ({"payer_id": "cus_other"}, False),
        ({"invoice_id": "in_0"}, True),
        ({"invoice_id": "in_other"}, False),
        ({"gateway": "other"}, False),
        ({"tenant_id": "other"}, False),
    ],
)
async def test_a_block_stops_what_lies_in_its_scope_only(retry: Retry, scope: dict[str, str], stopped: bool) -> None:
    retry.world.approves_from["in_0"] = START
    await retry.open()
    assert (await retry.api.post("/v1/blocks", json={"kind": "kill_switch", **scope})).status_code == 201
    await retry.run_until(START + 4 * DAY)
    assert (len(await retry.truth()) == 0) is stopped
