"""One function per message: load, decide, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from dunwell.notice.v1 import notice_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import instant
from dunwell_kit.database import Tx
from dunwell_kit.ids import derived
from dunwell_kit.messages import Handler, Received
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_kit.timers import Fired, TimerHandler
from dunwell_notify import store, translate
from dunwell_notify.decide import may_send
from dunwell_notify.model import EMAIL, CaseView, Later, NewNotice, PlannedStep, Send, Step, Suppress, Tone
from dunwell_notify.policy import NotifyPolicy, sequence

# A contact is asked for once per case and step; if the gateway does not answer in this time the step goes on without.
CONTACT_WAIT = timedelta(minutes=15)
TONES = {Step.FAILED: Tone.FRIENDLY, Step.REMINDER_1: Tone.FRIENDLY, Step.REMINDER_2: Tone.FIRM, Step.FINAL: Tone.FINAL}


class Notices:
    """Notify's handlers for one policy."""

    def __init__(self, policy: NotifyPolicy) -> None:
        self._policy = policy

    async def on_recovery_opened(self, tx: Tx, received: Received) -> None:
        """Remember the case; nothing is said before retry has planned."""
        message = received.message
        assert isinstance(message, recovery_pb2.RecoveryOpened)
        case = translate.case_of(message, received.envelope.time, received.envelope.key)
        await store.add_case(tx, case, message.case.subscription_id)

    async def on_recovery_planned(self, tx: Tx, received: Received) -> None:
        """Plan notices around the attempts; steps already taken stay as they are."""
        message = received.message
        assert isinstance(message, recovery_pb2.RecoveryPlanned)
        known = await store.case_for_update(tx, message.case.case_id)
        if known is None or known.state == "closed":
            return
        attempts = [at.ToDatetime(tx.now.tzinfo) for at in message.attempts_at]
        case = replace(
            known,
            payer_action=translate.action_of(message),
            silent_until=instant(message, "silent_until"),
            deadline_at=instant(message, "deadline_at"),
            next_attempt_at=attempts[0] if attempts else None,
            decline_reason=message.decline_reason or known.decline_reason,
            amount_minor=message.amount.minor_units or known.amount_minor,
        )
        await store.update_plan(tx, case)
        await self._arm(tx, case)

    async def _arm(self, tx: Tx, case: CaseView) -> None:
        taken, planned_before = await store.steps_planned(tx, case.case_id)
        wanted = [s for s in sequence(case, self._policy, tx.now) if s.step.value not in taken]
        if Step.FAILED.value in taken:
            # The first notice is out: what follows keeps its distance to it, not to the new plan.
            wanted = [s for s in wanted if s.step is Step.FINAL or s.step.value not in planned_before]
        for step in wanted:
            tx.set_timer(TimerSet(case.case_id, "notice", step.due_at, step.step.value))
            if step.step.value not in planned_before:
                self._announce_plan(tx, case, step)
        if Step.FAILED.value not in taken:
            gone = set(planned_before) - {s.step.value for s in wanted} - taken
            await store.cancel_steps(tx, [(case.case_id, step) for step in sorted(gone)])

    def _announce_plan(self, tx: Tx, case: CaseView, step: PlannedStep) -> None:
        ref = translate.notice_ref(
            notice_id_of(case.case_id, step.step), case.payer, [case], step.step.value, step.tone.value
        )
        why = translate.reason(step.rule, step.why, case.decline_reason)
        tx.emit(translate.planned(ref, step.due_at, why), key=case.payer_key, correlation_id=case.case_id)

    async def on_notice_due(self, tx: Tx, timer: Fired) -> None:
        """A step of a case is due: send it, move it, or say why it is not sent."""
        case = await store.case_for_update(tx, timer.case_id)
        if case is None:
            return
        step = Step(timer.step)
        known = await store.standing(tx, case, tx.now - store.CAP_LOOK_BACK)
        if step.value in known.taken:
            return
        worth_asking = case.state == "open" or step is Step.RECEIPT
        if known.contact is None and worth_asking and not timer.payload.get("asked"):
            self._ask_contact(tx, case, step)
            return
        verdict = may_send(case, step, known.contact, known.sent, known.settled_by, self._policy, tx.now)
        if isinstance(verdict, Later):
            tx.set_timer(TimerSet(case.case_id, "notice", verdict.at, step.value, dict(timer.payload)))
        elif isinstance(verdict, Suppress):
            await self._suppress(tx, case, step, verdict)
        elif isinstance(verdict, Send):
            await self._queue(tx, case, step)

    def _ask_contact(self, tx: Tx, case: CaseView, step: Step) -> None:
        payer = case.payer
        tx.record_effect(
            EffectRecorded(
                "fetch_contact",
                f"{case.case_id}:{step.value}",
                case.case_id,
                {
                    "tenant": payer.tenant_id,
                    "gateway": payer.gateway,
                    "account": payer.account,
                    "payer": payer.payer_id,
                    "until": (tx.now + CONTACT_WAIT).isoformat(),
                },
            )
        )
        tx.set_timer(TimerSet(case.case_id, "notice", tx.now + CONTACT_WAIT, step.value, {"asked": True}))

    async def _suppress(self, tx: Tx, case: CaseView, step: Step, verdict: Suppress) -> None:
        notice_id, tone = notice_id_of(case.case_id, step), tone_of(step)
        steps = [(case.case_id, step.value)]
        await store.add_notice(tx, NewNotice(notice_id, case.payer, tone, steps, verdict.rule))
        ref = translate.notice_ref(notice_id, case.payer, [case], step.value, tone)
        why = translate.reason(verdict.rule, verdict.why, verdict.evidence)
        tx.emit(notice_pb2.NoticeSuppressed(notice=ref, reason=why), key=case.payer_key, correlation_id=case.case_id)

    async def _queue(self, tx: Tx, case: CaseView, step: Step) -> None:
        joined = await self._joining(tx, case, step)
        notice_id = notice_id_of(case.case_id, step)
        steps = [(case.case_id, step.value), *joined]
        await store.add_notice(tx, NewNotice(notice_id, case.payer, tone_of(step), steps))
        await store.cancel_steps(tx, joined)
        tx.record_effect(EffectRecorded("send_notice", notice_id, case.case_id, {"notice_id": notice_id}))

    async def _joining(self, tx: Tx, case: CaseView, step: Step) -> list[tuple[str, str]]:
        """Steps of the payer's other invoices that this message can take along, one step a case."""
        if step is Step.RECEIPT:
            return []
        due = await store.steps_due(tx, case.payer, tx.now + self._policy.consolidate_within, case.case_id)
        found: dict[str, str] = {}
        for case_id, other_step in due:
            other = await store.case_for_update(tx, case_id)
            free = other is not None and not await store.settled_by(tx, other)
            if free and case_id not in found and other_step not in await store.steps_taken(tx, case_id):
                found[case_id] = other_step
        return list(found.items())

    async def on_recovery_ended(self, tx: Tx, received: Received) -> None:
        """Stop at once; a recovered payer who was written to gets a receipt."""
        message = received.message
        case_ref: recovery_pb2.CaseRef = message.case  # type: ignore[attr-defined]
        how = _ENDS[type(message)]
        recovered = isinstance(message, recovery_pb2.RecoverySucceeded)
        await self._close(tx, case_ref.case_id, how, received.envelope.id, receipt=recovered)

    async def _close(self, tx: Tx, case_id: str, how: str, evidence: str, *, receipt: bool) -> None:
        case = await store.case_for_update(tx, case_id)
        if case is None or case.state == "closed":
            return
        await store.set_state(tx, case_id, "closed", how, evidence)
        await self._drop_planned(tx, replace(case, state="closed", closed_by=how, evidence=evidence))
        if receipt and await store.was_written_to(tx, case_id):
            tx.set_timer(TimerSet(case_id, "notice", tx.now, Step.RECEIPT.value))

    async def _drop_planned(self, tx: Tx, case: CaseView) -> None:
        """Say of each planned step that it will not be sent, and why."""
        taken, planned = await store.steps_planned(tx, case.case_id)
        await tx.cancel_timers(case.case_id, "notice")
        why = Suppress(f"notify.case_{case.closed_by}", "The recovery case has ended.", case.evidence)
        for step in planned:
            if step not in taken:
                await self._suppress(tx, case, Step(step), why)

    async def on_paused(self, tx: Tx, received: Received) -> None:
        """Say nothing while the case is paused."""
        case_ref: recovery_pb2.CaseRef = received.message.case  # type: ignore[attr-defined]
        await store.set_state(tx, case_ref.case_id, "paused", "paused", received.envelope.id)

    async def on_resumed(self, tx: Tx, received: Received) -> None:
        """Speak again when the case goes on."""
        case_ref: recovery_pb2.CaseRef = received.message.case  # type: ignore[attr-defined]
        await store.set_state(tx, case_ref.case_id, "open", "", "")

    async def on_settled(self, tx: Tx, received: Received) -> None:
        """The gateway says the invoice is settled or gone: no word more, before retry has even heard it."""
        message = received.message
        origin: payment_pb2.Origin = message.origin  # type: ignore[attr-defined]
        if not origin.invoice_id:
            return
        how = _SETTLES[type(message)]
        await store.settle(tx, translate.payer_of(origin), origin.invoice_id, how, received.envelope.id)

    async def on_dispute(self, tx: Tx, received: Received) -> None:
        """A disputed invoice is not dunned; a closed dispute frees what is still open."""
        message = received.message
        origin: payment_pb2.Origin = message.origin  # type: ignore[attr-defined]
        payer = translate.payer_of(origin)
        if isinstance(message, payment_pb2.DisputeOpened):
            rows = await tx.rows(
                "SELECT case_id FROM cases WHERE tenant_id=:t AND gateway=:g AND account=:a AND invoice_id=:i",
                t=payer.tenant_id,
                g=payer.gateway,
                a=payer.account,
                i=origin.invoice_id,
            )
            for row in rows:
                await store.set_state(tx, row["case_id"], "paused", "disputed", received.envelope.id)
        else:
            await store.unsettle(tx, payer, origin.invoice_id, "disputed")

    async def on_subscription_canceled(self, tx: Tx, received: Received) -> None:
        """A canceled subscription is not dunned."""
        origin: payment_pb2.Origin = received.message.origin  # type: ignore[attr-defined]
        payer = translate.payer_of(origin)
        for case_id in await store.cases_of_subscription(tx, payer, origin.subscription_id):
            await self._close(tx, case_id, "canceled", received.envelope.id, receipt=False)

    async def on_payer_changed(self, tx: Tx, received: Received) -> None:
        """What was fetched may be stale: fetch it anew when it is needed."""
        origin: payment_pb2.Origin = received.message.origin  # type: ignore[attr-defined]
        await store.forget_contact(tx, translate.payer_of(origin), only_fetched=True)

    async def on_payer_deleted(self, tx: Tx, received: Received) -> None:
        """Erase the contact."""
        origin: payment_pb2.Origin = received.message.origin  # type: ignore[attr-defined]
        await store.forget_contact(tx, translate.payer_of(origin), only_fetched=False)


def notice_id_of(case_id: str, step: Step) -> str:
    """Return the id that a step of a case always has."""
    return derived("ntc", case_id, step.value, EMAIL)


def tone_of(step: Step) -> str:
    """Return how a step speaks."""
    return TONES.get(step, Tone.FRIENDLY).value


_ENDS: dict[type, str] = {
    recovery_pb2.RecoverySucceeded: "recovered",
    recovery_pb2.RecoveryExhausted: "exhausted",
    recovery_pb2.RecoveryCanceled: "canceled",
}
_SETTLES: dict[type, str] = {
    payment_pb2.PaymentSucceeded: "paid",
    payment_pb2.InvoicePaid: "paid",
    payment_pb2.InvoiceVoided: "voided",
    payment_pb2.InvoiceMarkedUncollectible: "uncollectible",
}


def consumed(notices: Notices) -> Mapping[str, Handler]:
    """Return the table of what notify listens to."""
    return {
        "dunwell.recovery.opened.v1": notices.on_recovery_opened,
        "dunwell.recovery.planned.v1": notices.on_recovery_planned,
        "dunwell.recovery.paused.v1": notices.on_paused,
        "dunwell.recovery.resumed.v1": notices.on_resumed,
        "dunwell.recovery.succeeded.v1": notices.on_recovery_ended,
        "dunwell.recovery.exhausted.v1": notices.on_recovery_ended,
        "dunwell.recovery.canceled.v1": notices.on_recovery_ended,
        "dunwell.payment.succeeded.v1": notices.on_settled,
        "dunwell.invoice.paid.v1": notices.on_settled,
        "dunwell.invoice.voided.v1": notices.on_settled,
        "dunwell.invoice.marked_uncollectible.v1": notices.on_settled,
        "dunwell.dispute.opened.v1": notices.on_dispute,
        "dunwell.dispute.closed.v1": notices.on_dispute,
        "dunwell.subscription.canceled.v1": notices.on_subscription_canceled,
        "dunwell.payer.changed.v1": notices.on_payer_changed,
        "dunwell.payer.deleted.v1": notices.on_payer_deleted,
    }


def timed(notices: Notices) -> Mapping[str, TimerHandler]:
    """Return the table of notify's timers."""
    return {"notice": notices.on_notice_due}
