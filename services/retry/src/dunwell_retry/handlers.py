"""What gateways tell and what timers and operators ask. One shape: load, decide, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from dunwell.journal.v1 import journal_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.values import instant
from dunwell_kit import tracing
from dunwell_kit.database import Tx
from dunwell_kit.errors import Conflict, Invalid, NotFound
from dunwell_kit.messages import Handler, Received
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_kit.timers import Fired, TimerHandler
from dunwell_retry import charges, store, translate
from dunwell_retry.apply import apply
from dunwell_retry.decide import attempts, ends, failures
from dunwell_retry.decide.planning import replan
from dunwell_retry.machines.attempt import AttemptState
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import Case, Decline, Place
from dunwell_retry.policy import PAUSE_MAX, RetryPolicy
from dunwell_retry.profiles import PayerTold

# A gateway that does not say who the payer is in this time leaves the plan to do without.
PAYER_WAIT = timedelta(minutes=5)
_OPEN_ATTEMPT = (CaseState.CHARGING, CaseState.UNCERTAIN)


class Recovery:
    """Retry's handlers for one policy."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    async def on_payment_failed(self, tx: Tx, received: Received) -> None:
        """Open a case, or learn from somebody else's attempt; our own attempts speak for themselves."""
        message = received.message
        assert isinstance(message, payment_pb2.PaymentFailed)
        place = translate.place_of(message.origin)
        if not place.invoice_id or message.amount.minor_units <= 0:
            return
        if message.trigger == payment_pb2.TRIGGER_US and await store.had_case(tx, place):
            return
        case = await store.open_case(tx, place)
        entry_id, attempt = translate.attempt_told(message, received.envelope.time)
        new = await store.log_attempt(tx, place, entry_id, attempt, received.envelope.id)
        if not new and not await store.only_fetched(tx, entry_id):
            return
        decline = translate.decline_of(message.decline)
        if case is None:
            await self._open(tx, message, place, decline, received)
            return
        situation = await store.situation(tx, case)
        await apply(
            tx,
            failures.failed_elsewhere(situation, decline, self.policy, now=tx.now, cause=received.envelope.id),
            self.policy,
        )

    async def _open(
        self, tx: Tx, message: payment_pb2.PaymentFailed, place: Place, decline: Decline, received: Received
    ) -> None:
        failed_at = instant(message.origin, "occurred_at") or received.envelope.time
        ended = await store.last_ended(tx, place)
        if ended is not None and ended.ended_at is not None and failed_at <= ended.ended_at:
            # News from before the end: the case that ended had it already, or does not need it.
            return
        traceparent, _ = tracing.carrier()
        decided = failures.opened(
            tx.ids.new("rec"),
            place,
            received.envelope.key,
            (message.amount.currency_code, message.amount.minor_units),
            decline,
            translate.method_of(message.instrument, message.origin.instrument_id),
            self.policy,
            failed_at=failed_at,
            now=tx.now,
            cause=received.envelope.id,
            first_span=traceparent or received.envelope.traceparent,
            numbers_used=ended.attempt_numbers if ended else 0,
        )
        case = await apply(tx, decided, self.policy)
        payload = {"case_id": case.case_id, "until": (tx.now + PAYER_WAIT).isoformat()}
        tx.record_effect(EffectRecorded("fetch_payer", case.case_id, case.case_id, payload))

    async def on_payer_known(self, tx: Tx, case_id: str, told: PayerTold) -> None:
        """The gateway told, or did not tell, who the payer is: make the first plan."""
        case = await store.case_for_update(tx, case_id)
        if case is None or case.state is not CaseState.OPENING:
            return
        if told.timezone or told.country:
            await store.save_profile(tx, case.place, told.timezone, told.country)
        case = replace(case, timezone=told.timezone, plan_name=told.plan_name, segment=told.segment)
        situation = await store.situation(tx, case)
        await apply(tx, replan(situation, self.policy, now=tx.now, cause=case.case_id), self.policy)

    async def on_payment_succeeded(self, tx: Tx, received: Received) -> None:
        """The money came: end the case, unless our own open attempt is still to say that it was the one."""
        message = received.message
        assert isinstance(message, payment_pb2.PaymentSucceeded)
        place = translate.place_of(message.origin)
        if message.trigger != payment_pb2.TRIGGER_US and place.payer_id:
            entry_id, attempt = translate.attempt_told(message, received.envelope.time)
            await store.log_attempt(tx, place, entry_id, attempt, received.envelope.id)
        by = {payment_pb2.TRIGGER_US: "retry", payment_pb2.TRIGGER_GATEWAY_RETRY: "gateway"}.get(message.trigger, "")
        await self._settled(tx, place, by, message.origin, received)

    async def on_invoice_paid(self, tx: Tx, received: Received) -> None:
        """The biller says the invoice is paid."""
        origin: payment_pb2.Origin = received.message.origin  # type: ignore[attr-defined]
        await self._settled(tx, translate.place_of(origin), "", origin, received)

    async def _settled(self, tx: Tx, place: Place, by: str, origin: payment_pb2.Origin, received: Received) -> None:
        case = await store.open_case(tx, place) if place.invoice_id else None
        if case is None:
            return
        at = instant(origin, "occurred_at") or received.envelope.time
        if case.state in _OPEN_ATTEMPT:
            known = {
                "by": by or case.settlement.get("by", ""),
                "payment_id": origin.payment_id or case.settlement.get("payment_id", ""),
                "charge_id": origin.charge_id or case.settlement.get("charge_id", ""),
                "at": at.isoformat(),
                "event_id": received.envelope.id,
            }
            await store.save(tx, replace(case, settlement=known))
            await self._look_now(tx, case, received.envelope.id)
            return
        # Our own attempt cannot have done it: none is open.
        who = by if by in ("gateway",) else _who(case, at)
        decided = ends.settled(case, who, origin.payment_id, at=at, now=tx.now, cause=received.envelope.id)
        await apply(tx, decided, self.policy)

    async def _look_now(self, tx: Tx, case: Case, cause: str) -> None:
        """News of the invoice may tell what became of an attempt nobody could see: look without waiting."""
        attempt = await charges.open_attempt(tx, case.case_id)
        if attempt is not None and attempt.state in (AttemptState.UNKNOWN, AttemptState.STUCK):
            payload = {"attempt_id": attempt.attempt_id, "look": 0}
            tx.record_effect(EffectRecorded("reconcile", f"{attempt.attempt_id}:{cause}", case.case_id, payload))

    async def on_debt_gone(self, tx: Tx, received: Received) -> None:
        """Voided, given up by the biller, or in dispute: stop."""
        message = received.message
        origin: payment_pb2.Origin = message.origin  # type: ignore[attr-defined]
        if isinstance(message, payment_pb2.DisputeOpened) and message.inquiry:
            return
        place = translate.place_of(origin)
        case = await store.open_case(tx, place) if place.invoice_id else None
        if case is not None:
            rule, text = _GONE[type(message)]
            await self._cancel(tx, case, rule, text, received.envelope.id)

    async def on_relation_ended(self, tx: Tx, received: Received) -> None:
        """The subscription or the payer is gone: stop every case of it."""
        message = received.message
        place = translate.place_of(message.origin)  # type: ignore[attr-defined]
        of_subscription = isinstance(message, payment_pb2.SubscriptionCanceled)
        rule, text = _GONE[type(message)]
        for case in await store.open_cases_of(tx, place, subscription=of_subscription):
            await self._cancel(tx, case, rule, text, received.envelope.id)

    async def on_written_off(self, tx: Tx, received: Received) -> None:
        """The books gave the receivable up: stop."""
        message = received.message
        assert isinstance(message, journal_pb2.InvoiceWrittenOff)
        case = await store.case_for_update(tx, message.case_id) if message.case_id else None
        if case is not None and not case.ended:
            await self._cancel(tx, case, "retry.written_off", "The books wrote the invoice off.", received.envelope.id)

    async def _cancel(self, tx: Tx, case: Case, rule: str, text: str, cause: str) -> None:
        attempt = await charges.open_attempt(tx, case.case_id)
        if attempt is not None and attempt.state.value == "intent":
            await charges.set_state(tx, attempt.attempt_id, AttemptState.WITHDRAWN, detail=text)
        await apply(tx, ends.canceled(case, rule, text, now=tx.now, cause=cause), self.policy)

    async def on_invoice_changed(self, tx: Tx, received: Received) -> None:
        """What is due changed: charge that from now on; nothing due any more ends the case."""
        message = received.message
        assert isinstance(message, payment_pb2.InvoiceChanged)
        case = await store.open_case(tx, translate.place_of(message.origin)) if message.origin.invoice_id else None
        due = message.amount.minor_units
        if case is None or due == case.amount_minor or due <= 0 or case.state is not CaseState.WAITING:
            return
        situation = await store.situation(tx, replace(case, amount_minor=due))
        await apply(tx, replan(situation, self.policy, now=tx.now, cause=received.envelope.id), self.policy)

    async def on_method_given(self, tx: Tx, received: Received) -> None:
        """The payer gave another method: every waiting case of his is charged at once with it."""
        message = received.message
        assert isinstance(message, payment_pb2.InstrumentAdded | payment_pb2.InstrumentReplaced)
        place = translate.place_of(message.origin)
        method = translate.method_of(message.instrument, message.origin.instrument_id)
        for case in await store.open_cases_of(tx, place, subscription=False):
            situation = await store.situation(tx, case)
            decided = failures.method_fixed(situation, method, self.policy, now=tx.now, cause=received.envelope.id)
            await apply(tx, decided, self.policy)

    async def on_method_removed(self, tx: Tx, received: Received) -> None:
        """A method that is gone cannot be charged: plan anew so that the payer is asked."""
        place = translate.place_of(received.message.origin)  # type: ignore[attr-defined]
        for case in await store.open_cases_of(tx, place, subscription=False):
            if case.state is CaseState.WAITING and case.method.instrument_id == received.message.origin.instrument_id:  # type: ignore[attr-defined]
                gone = replace(case, decline=replace(case.decline, reason="bad_credential"))
                situation = await store.situation(tx, gone)
                await apply(tx, replan(situation, self.policy, now=tx.now, cause=received.envelope.id), self.policy)

    async def on_action_required(self, tx: Tx, received: Received) -> None:
        """The bank wants the payer himself: learn it as a refusal that only he can lift."""
        message = received.message
        assert isinstance(message, payment_pb2.PaymentActionRequired)
        case = await store.open_case(tx, translate.place_of(message.origin)) if message.origin.invoice_id else None
        if case is None:
            return
        decline = replace(translate.decline_of(message.decline), reason="auth_required")
        situation = await store.situation(tx, case)
        decided = failures.failed_elsewhere(situation, decline, self.policy, now=tx.now, cause=received.envelope.id)
        await apply(tx, decided, self.policy)

    async def on_attempt_due(self, tx: Tx, timer: Fired) -> None:
        """The next attempt of a case is due."""
        case = await store.case_for_update(tx, timer.case_id)
        if case is None or case.ended:
            return
        situation = await store.situation(tx, case)
        await apply(tx, attempts.due(situation, self.policy, due_at=timer.due_at, now=tx.now), self.policy)

    async def lift_block(self, tx: Tx, block_id: str) -> None:
        """Lift a block and plan anew every case that waited behind it; NotFound if none of that id is in force."""
        scope = await store.lift_block(tx, block_id)
        if scope is None:
            raise NotFound(f"block {block_id!r} does not exist or is lifted already")
        for case_id in await store.waiting_within(tx, scope):
            tx.set_timer(TimerSet(case_id, "replan", tx.now, "", {"cause": block_id}))

    async def on_replan_due(self, tx: Tx, timer: Fired) -> None:
        """What kept a case from being planned is gone."""
        case = await store.case_for_update(tx, timer.case_id)
        if case is not None and case.state is CaseState.WAITING:
            situation = await store.situation(tx, case)
            await apply(tx, replan(situation, self.policy, now=tx.now, cause=timer.payload["cause"]), self.policy)

    async def on_deadline(self, tx: Tx, timer: Fired) -> None:
        """The time for recovery is over."""
        case = await store.case_for_update(tx, timer.case_id)
        if case is not None and not case.ended:
            situation = await store.situation(tx, case)
            await apply(tx, attempts.deadline_reached(situation, now=tx.now), self.policy)

    async def on_pause_end(self, tx: Tx, timer: Fired) -> None:
        """Nobody resumed a paused case."""
        case = await store.case_for_update(tx, timer.case_id)
        if case is not None and not case.ended:
            situation = await store.situation(tx, case)
            await apply(tx, ends.pause_ended(situation, self.policy, now=tx.now), self.policy)

    async def operate(self, tx: Tx, case_id: str, action: str, by: str, until: datetime | None = None) -> Case:
        """Do what an operator asks: pause, resume, retry-now or stop. NotFound, or Conflict by the case's state.

        Args:
            until: Aware UTC end of a pause; Invalid unless it lies ahead, by a year at most.
        """
        if until is not None and (action != "pause" or not tx.now < until <= tx.now + PAUSE_MAX):
            raise Invalid(
                f"until {until.isoformat()} is no end of a pause: only a pause has one, ahead by a year at most"
            )
        case = await store.case_for_update(tx, case_id)
        if case is None:
            raise NotFound(f"case {case_id!r} does not exist")
        if case.ended:
            raise Conflict(f"case {case_id!r} has ended as {case.state.value!r}; nothing can be done about it")
        tx.caused_by("", case_id)
        if action == "pause":
            until = until or tx.now + self.policy.pause
            decided = ends.paused(case, by, now=tx.now, cause=f"operator:{by}", until=until)
        elif action == "resume":
            situation = await store.situation(tx, case)
            decided = ends.resumed(situation, self.policy, by, now=tx.now, cause=f"operator:{by}")
        elif action == "retry-now":
            decided = ends.retry_now(case, now=tx.now)
        else:
            text = f"Stopped by {by}."
            decided = ends.canceled(case, "retry.stopped", text, now=tx.now, cause=f"operator:{by}")
        return await apply(tx, decided, self.policy)


def _who(case: Case, at: object) -> str:
    plan = case.plan
    untouched = case.attempts == 0 and (plan is None or plan.silent_until is None or at < plan.silent_until)  # type: ignore[operator]
    return "self_cured" if untouched and not (plan and plan.payer_action not in ("wait", "none")) else "payer"


_GONE: dict[type, tuple[str, str]] = {
    payment_pb2.InvoiceVoided: ("retry.invoice_voided", "The biller voided the invoice."),
    payment_pb2.InvoiceMarkedUncollectible: ("retry.uncollectible", "The biller gave the invoice up."),
    payment_pb2.DisputeOpened: ("retry.disputed", "The payer disputes the payment."),
    payment_pb2.SubscriptionCanceled: ("retry.subscription_canceled", "The subscription was canceled."),
    payment_pb2.PayerDeleted: ("retry.payer_deleted", "The payer was deleted at the gateway."),
}


def consumed(recovery: Recovery) -> Mapping[str, Handler]:
    """Return the table of what retry listens to."""
    return {
        "dunwell.payment.failed.v1": recovery.on_payment_failed,
        "dunwell.payment.succeeded.v1": recovery.on_payment_succeeded,
        "dunwell.payment.action_required.v1": recovery.on_action_required,
        "dunwell.invoice.paid.v1": recovery.on_invoice_paid,
        "dunwell.invoice.changed.v1": recovery.on_invoice_changed,
        "dunwell.invoice.voided.v1": recovery.on_debt_gone,
        "dunwell.invoice.marked_uncollectible.v1": recovery.on_debt_gone,
        "dunwell.dispute.opened.v1": recovery.on_debt_gone,
        "dunwell.instrument.added.v1": recovery.on_method_given,
        "dunwell.instrument.replaced.v1": recovery.on_method_given,
        "dunwell.instrument.removed.v1": recovery.on_method_removed,
        "dunwell.subscription.canceled.v1": recovery.on_relation_ended,
        "dunwell.payer.deleted.v1": recovery.on_relation_ended,
        "dunwell.invoice.written_off.v1": recovery.on_written_off,
    }


def timed(recovery: Recovery) -> Mapping[str, TimerHandler]:
    """Return the table of the case's timers."""
    return {
        "attempt": recovery.on_attempt_due,
        "deadline": recovery.on_deadline,
        "replan": recovery.on_replan_due,
        "pause_end": recovery.on_pause_end,
    }
