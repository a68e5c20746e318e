"""What became of a charge: the outcome of an effect, as a message back into the handlers.

The attempt's machine and the case's machine move together here. Idempotent: an attempt that has its end keeps it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import stamp
from dunwell_gateways.port import ChargeResult, InvoiceState, InvoiceStatus, Outcome
from dunwell_kit import metrics
from dunwell_kit.database import Tx
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_kit.timers import Fired
from dunwell_retry import charges, store, translate
from dunwell_retry.apply import apply
from dunwell_retry.charges import AttemptRow
from dunwell_retry.decide import attempts, ends
from dunwell_retry.decide.outputs import Why
from dunwell_retry.machines import moved
from dunwell_retry.machines.attempt import TRANSITIONS, AttemptState
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import AMOUNT_MINOR_MAX, Case, Decline
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules.model import Initiator, Origin, PastAttempt

# When an unknown outcome is looked at, after the request went out; past the last a person decides.
LOOKS_AFTER = tuple(timedelta(seconds=s) for s in (15, 45, 120, 300, 900, 3600, 6 * 3600, 24 * 3600))
# Two looks that find nothing must be so far apart before "it never arrived" is believed.
CLEAN_LOOKS_APART = timedelta(seconds=60)
_OPEN = (AttemptState.SENT, AttemptState.UNKNOWN, AttemptState.STUCK)
_REFUSALS = (Outcome.DECLINED, Outcome.ACTION_REQUIRED)


class Outcomes:
    """Writes what became of attempts."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    async def on_result(self, tx: Tx, attempt_id: str, result: ChargeResult) -> None:
        """Our attempt's answer, or what a look at it found."""
        case, attempt = await charges.case_and_attempt(tx, attempt_id)
        if attempt.state not in _OPEN:
            return
        metrics.CHARGES.labels(attempt.gateway, result.outcome.value).inc()
        if result.outcome is Outcome.APPROVED:
            await self._approved(tx, case, attempt, result)
        elif result.outcome in _REFUSALS:
            await self._declined(tx, case, attempt, result)
        elif result.outcome is Outcome.ALREADY_PAID:
            await self._already_paid(tx, case, attempt, result)
        elif result.outcome in (Outcome.REFUSED, Outcome.NOT_SUPPORTED):
            await self._refused(tx, case, attempt, result)
        elif result.outcome is Outcome.ABSENT:
            await self._absent(tx, case, attempt)
        else:
            await self.on_lost_sight(tx, attempt_id, result.detail)

    async def _approved(self, tx: Tx, case: Case, attempt: AttemptRow, result: ChargeResult) -> None:
        self._resolved(tx, case, attempt, "succeeded")
        await charges.set_state(
            tx, attempt.attempt_id, moved(TRANSITIONS, attempt.state, "approve"),
            gateway_object_id=result.charge_id, payment_id=result.payment_id,
            beside=_entry(tx, case, attempt, result, approved=True),
        )  # fmt: skip
        why = Why("retry.charge_approved", "The gateway approved our attempt.", (result.request_id,), attempt.gateway)
        event = recovery_pb2.ChargeSucceeded(
            case=translate.case_ref(case),
            attempt_id=attempt.attempt_id,
            attempt_number=attempt.attempt_number,
            amount=translate.money_of(replace(case, amount_minor=attempt.money.minor)),
            payment_id=result.payment_id,
            occurred_at=stamp(attempt.sent_at or tx.now),
            reason=translate.reason_of(why),
        )
        tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=attempt.attempt_id)
        counted = replace(case, attempts=case.attempts + 1)
        at = attempt.sent_at or tx.now
        decided = ends.settled(counted, "retry", result.payment_id, at=at, now=tx.now, cause=attempt.attempt_id)
        await apply(tx, decided, self._policy)

    async def _declined(self, tx: Tx, case: Case, attempt: AttemptRow, result: ChargeResult) -> None:
        self._resolved(tx, case, attempt, "declined")
        await charges.set_state(
            tx, attempt.attempt_id, moved(TRANSITIONS, attempt.state, "refuse"),
            gateway_object_id=result.charge_id, payment_id=result.payment_id,
            beside=_entry(tx, case, attempt, result, approved=False),
        )  # fmt: skip
        raw = result.decline
        told = Decline(raw.gateway_code, raw.network_code, raw.advice_code, raw.message)
        decline = self._policy.classify(told, attempt.gateway, case.method, tx.now)
        if result.outcome is Outcome.ACTION_REQUIRED:
            decline = replace(decline, reason="auth_required")
        sentence = f"The gateway refused our attempt: {decline.reason.replace('_', ' ')}."
        why = Why("retry.charge_declined", sentence, (result.request_id,), attempt.gateway)
        event = recovery_pb2.ChargeDeclined(
            case=translate.case_ref(case),
            attempt_id=attempt.attempt_id,
            attempt_number=attempt.attempt_number,
            amount=translate.money_of(case),
            decline=translate.decline_message(decline),
            payment_id=result.payment_id,
            occurred_at=stamp(attempt.sent_at or tx.now),
            reason=translate.reason_of(why),
        )
        tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=attempt.attempt_id)
        if case.ended:
            return
        if case.settlement:
            counted = replace(case, attempts=case.attempts + 1)
            await self._settle_by_told(tx, counted)
            return
        situation = await store.situation(tx, case)
        decided = attempts.declined(
            situation, decline, self._policy, instrument_id=attempt.instrument_id, now=tx.now, cause=attempt.attempt_id
        )
        await apply(tx, decided, self._policy)

    async def _already_paid(self, tx: Tx, case: Case, attempt: AttemptRow, result: ChargeResult) -> None:
        """The invoice is paid, by our lost attempt if the gateway says so, else by somebody else."""
        if case.settlement.get("by") == "retry":
            told = replace(
                result, outcome=Outcome.APPROVED, payment_id=result.payment_id or case.settlement["payment_id"],
                charge_id=result.charge_id or case.settlement["charge_id"],
            )  # fmt: skip
            await self._approved(tx, case, attempt, told)
            return
        unclear = attempt.state is not AttemptState.SENT and not case.settlement
        if unclear and attempt.looks < len(LOOKS_AFTER) - 1:
            # A lost attempt and a paid invoice: the webhook tells whose key paid it. Wait for it while there is time.
            await charges.note_look(tx, attempt.attempt_id, clean=False)
            return
        await charges.set_state(tx, attempt.attempt_id, _gone(attempt.state), detail="the invoice was paid otherwise")
        self._resolved(tx, case, attempt, "absent")
        if not case.ended:
            at = {"at": case.settlement.get("at", tx.now.isoformat()), "payment_id": result.payment_id}
            await self._settle_by_told(tx, replace(case, settlement={**case.settlement, **at}))

    async def _settle_by_told(self, tx: Tx, case: Case) -> None:
        told = case.settlement
        by = told.get("by") or "payer"
        at = datetime.fromisoformat(str(told["at"]))
        cause = str(told.get("event_id", ""))
        decided = ends.settled(
            case, "payer" if by == "retry" else str(by), str(told.get("payment_id", "")), at=at, now=tx.now, cause=cause
        )
        await apply(tx, decided, self._policy)

    async def _refused(self, tx: Tx, case: Case, attempt: AttemptRow, result: ChargeResult) -> None:
        """The gateway executed nothing since the request is wrong: a person must look, nothing is sent meanwhile."""
        await charges.set_state(tx, attempt.attempt_id, _gone(attempt.state), detail=result.detail)
        if not case.ended:
            await self._hold(tx, case, attempt.attempt_id, result.detail, "gateway refused the request")

    async def _hold(self, tx: Tx, case: Case, attempt_id: str, detail: str, by: str) -> None:
        """Plan what is left and pause: a person must look before anything is sent."""
        situation = await store.situation(tx, case)
        decided = attempts.withdrawn(situation, self._policy, now=tx.now, cause=attempt_id, why=detail)
        after = await apply(tx, decided, self._policy)
        if not after.ended:
            await apply(tx, ends.paused(after, by, now=tx.now, cause=attempt_id), self._policy)

    async def _absent(self, tx: Tx, case: Case, attempt: AttemptRow) -> None:
        clean = attempt.clean_look_at is not None and tx.now - attempt.clean_look_at >= CLEAN_LOOKS_APART
        if not clean:
            await charges.note_look(tx, attempt.attempt_id, clean=True)
            return
        await charges.set_state(tx, attempt.attempt_id, _gone(attempt.state), detail="two clean looks found no trace")
        self._resolved(tx, case, attempt, "absent")
        await self._plan_again(tx, case, attempt.attempt_id, "The gateway knows nothing of the attempt.")

    async def on_lost_sight(self, tx: Tx, attempt_id: str, detail: str) -> None:
        """Nobody knows whether the charge was applied; the reconciler will find out."""
        case, attempt = await charges.case_and_attempt(tx, attempt_id)
        if attempt.state not in _OPEN:
            return
        if attempt.state is not AttemptState.SENT:
            await charges.note_look(tx, attempt_id, clean=False)
            return
        await charges.set_state(tx, attempt_id, moved(TRANSITIONS, attempt.state, "lose_sight"), detail=detail)
        sent_at = attempt.sent_at or tx.now
        for look, after in enumerate(LOOKS_AFTER, start=1):
            tx.set_timer(TimerSet(attempt_id, "reconcile", sent_at + after, str(look)))
        why = Why("retry.outcome_unknown", "The gateway's answer is not known.", (detail[:200],), attempt.gateway)
        event = recovery_pb2.ChargeUnknown(
            case=translate.case_ref(case),
            attempt_id=attempt_id,
            attempt_number=attempt.attempt_number,
            reason=translate.reason_of(why),
        )
        tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=attempt_id)
        if case.state is CaseState.CHARGING:
            situation = await store.situation(tx, case)
            await apply(tx, attempts.lost_sight(situation), self._policy)

    async def on_reconcile_due(self, tx: Tx, timer: Fired) -> None:
        """It is time to look again at an attempt of unknown outcome."""
        attempt = await charges.attempt_for_update(tx, timer.case_id)
        if attempt.state is not AttemptState.UNKNOWN:
            await tx.cancel_timers(timer.case_id, "reconcile")
            return
        payload = {"attempt_id": attempt.attempt_id, "look": int(timer.step)}
        key = f"{attempt.attempt_id}:{timer.step}"
        tx.record_effect(EffectRecorded("reconcile", key, attempt.case_id, payload))

    async def on_looked(self, tx: Tx, attempt_id: str, look: int, result: ChargeResult) -> None:
        """A look of the reconciler came back; after the last one without a result a person decides."""
        await self.on_result(tx, attempt_id, result)
        attempt = await charges.attempt_for_update(tx, attempt_id)
        if attempt.state is AttemptState.UNKNOWN and look >= len(LOOKS_AFTER):
            await charges.set_state(tx, attempt_id, moved(TRANSITIONS, attempt.state, "give_up"), detail=result.detail)

    async def on_not_open(self, tx: Tx, attempt_id: str, invoice: InvoiceState) -> None:
        """Before sending, the biller says that there is nothing, or something else, to charge."""
        case, attempt = await charges.case_and_attempt(tx, attempt_id)
        if attempt.state is not AttemptState.INTENT:
            return
        detail = f"the invoice is {invoice.status.value}"
        await charges.set_state(tx, attempt_id, moved(TRANSITIONS, attempt.state, "withdraw"), detail=detail)
        if case.ended:
            return
        if invoice.status is InvoiceStatus.PAID:
            told = {"at": tx.now.isoformat(), "payment_id": invoice.payment_id, **case.settlement}
            await self._settle_by_told(tx, replace(case, settlement=told))
        elif invoice.status is InvoiceStatus.OPEN and invoice.remaining and invoice.remaining.minor > AMOUNT_MINOR_MAX:
            await self._hold(tx, case, attempt_id, detail, "an amount past 64 bits at the biller")
        elif invoice.status is InvoiceStatus.OPEN and invoice.remaining is not None and invoice.remaining.minor > 0:
            changed = replace(case, amount_minor=invoice.remaining.minor)
            await self._plan_again(tx, changed, attempt_id, "What is due has changed at the biller.")
        else:
            rule, text = f"retry.invoice_{invoice.status.value}", f"The biller says {detail.removeprefix('the ')}."
            await apply(tx, ends.canceled(case, rule, text, now=tx.now, cause=attempt_id), self._policy)

    async def on_withdrawn(self, tx: Tx, attempt_id: str, detail: str) -> None:
        """The attempt was never sent and will not be."""
        case, attempt = await charges.case_and_attempt(tx, attempt_id)
        if attempt.state is not AttemptState.INTENT:
            return
        await charges.set_state(tx, attempt_id, moved(TRANSITIONS, attempt.state, "withdraw"), detail=detail)
        await self._plan_again(tx, case, attempt_id, detail)

    async def _plan_again(self, tx: Tx, case: Case, cause: str, why: str) -> None:
        if case.ended or case.state not in (CaseState.CHARGING, CaseState.UNCERTAIN):
            return
        if case.settlement:
            await self._settle_by_told(tx, case)
            return
        situation = await store.situation(tx, case)
        decided = attempts.withdrawn(situation, self._policy, now=tx.now, cause=cause, why=why)
        await apply(tx, decided, self._policy)

    def _resolved(self, tx: Tx, case: Case, attempt: AttemptRow, outcome: str) -> None:
        """Tell that an outcome that was told to be unknown is known now."""
        if attempt.state is AttemptState.SENT:
            return
        why = Why(
            "retry.reconciled", f"A look at the gateway shows: {outcome}.", (attempt.attempt_id,), attempt.gateway
        )
        event = recovery_pb2.ChargeResolved(
            case=translate.case_ref(case),
            attempt_id=attempt.attempt_id,
            attempt_number=attempt.attempt_number,
            outcome=outcome,
            reason=translate.reason_of(why),
        )
        tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=attempt.attempt_id)


def _entry(
    tx: Tx, case: Case, attempt: AttemptRow, result: ChargeResult, *, approved: bool
) -> tuple[str, dict[str, Any]]:
    """Return the statement that tells the attempt ledger of our attempt, and its parameters."""
    natural = result.charge_id or attempt.attempt_id
    entry = PastAttempt(
        at=attempt.sent_at or tx.now,
        invoice_id=attempt.invoice_id,
        amount_minor=attempt.money.minor,
        currency=attempt.money.currency,
        initiator=Initiator(attempt.initiator),
        instrument_id=attempt.instrument_id,
        approved=approved,
        account_reference=case.method.account_reference or None,
        token=attempt.instrument_id or None,
        origin=Origin.US,
        network_code=result.decline.network_code or None,
        advice_code=result.decline.advice_code or None,
        gateway_code=result.decline.gateway_code or None,
        message=result.decline.message or None,
    )
    key = f"{attempt.gateway}:{attempt.account}:{natural}"
    return store.ledger_entries(case.place, [(key, entry)], attempt.attempt_id)


def _gone(state: AttemptState) -> AttemptState:
    """Where an attempt goes that the gateway never executed: from `sent` it passes through `unknown`."""
    seen = moved(TRANSITIONS, state, "lose_sight") if state is AttemptState.SENT else state
    return moved(TRANSITIONS, seen, "find_nothing")
