"""Applying decisions: each output becomes a row, a timer, an effect or an event, in one transaction.

The only place where retry's outputs meet the kit; handlers decide, this writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dunwell.recovery.v1 import recovery_pb2
from dunwell_gateways import registry
from dunwell_gateways.keys import idempotency_key
from dunwell_kit import metrics, tracing
from dunwell_kit.database import Tx
from dunwell_kit.money import Money
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_retry import charges, store, translate
from dunwell_retry.decide.outputs import (
    AttemptAt,
    Charge,
    DeadlineAt,
    Decided,
    NoAttempt,
    Output,
    PauseEndsAt,
    Planned,
    StopTimers,
    Succeeded,
    Why,
    decline_document,
)
from dunwell_retry.model import Case, plan_document
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.store import Decision


async def apply(tx: Tx, decided: Decided, policy: RetryPolicy) -> Case:
    """Write a decision; returns the case as it is now."""
    case = decided.case
    tracing.about(case.place.tenant_id, case.case_id)
    decisions = [await _apply_one(tx, case, output, policy) for output in decided.outputs]
    await store.save(tx, case, [each for each in decisions if each is not None])
    return case


async def _apply_one(tx: Tx, case: Case, output: Output, policy: RetryPolicy) -> Decision | None:
    """Write what an output asks for; returns the decision that is to be kept with the case."""
    match output:
        case AttemptAt(at=at):
            # A case has one such timer, so this moves the one that is armed.
            tx.set_timer(TimerSet(case.case_id, "attempt", at, "", {}, case.first_span))
        case NoAttempt():
            await tx.cancel_timers(case.case_id, "attempt")
        case DeadlineAt(at=at):
            tx.set_timer(TimerSet(case.case_id, "deadline", at, "", {}, case.first_span))
        case PauseEndsAt(at=at):
            tx.set_timer(TimerSet(case.case_id, "pause_end", at, "", {}, case.first_span))
        case StopTimers():
            await tx.cancel_timers(case.case_id)
        case Charge():
            return await _charge(tx, case, output, policy)
        case _:
            return _tell(tx, case, output)
    return None


async def _charge(tx: Tx, case: Case, charge: Charge, policy: RetryPolicy) -> Decision | None:
    place = case.place
    key = idempotency_key(
        policy.idempotency_secret, place.tenant_id, place.account, place.invoice_id, charge.attempt_number
    )
    money = Money(case.currency, case.amount_minor)
    intent = charges.intent_of(key, money, place.invoice_id, charge.method.instrument_id, charge.initiator)
    request = registry.adapter(place.gateway).charge.build(intent)
    attempt_id = await charges.add_intent(tx, case, charge, request)
    tx.record_effect(EffectRecorded("charge", attempt_id, case.case_id, {"attempt_id": attempt_id}))
    event = recovery_pb2.ChargeRequested(
        case=translate.case_ref(case),
        attempt_id=attempt_id,
        attempt_number=charge.attempt_number,
        amount=translate.money_of(case),
        instrument_id=charge.method.instrument_id,
        reason=translate.reason_of(charge.why),
    )
    tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=attempt_id)
    verdict = charges.verdict_document(charge.verdict)
    outputs = {"verdict": verdict, "choice": asdict(charge.choice)}
    return _decision(case, "charge", charge.why, {"decline": decline_document(case.decline)}, outputs)


def _tell(tx: Tx, case: Case, output: Output) -> Decision | None:
    event = translate.event_of(case, output)
    if event is not None:
        tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=case.place.invoice_id)
    if isinstance(output, Planned):
        return _decision(case, "plan", output.why, output.inputs, plan_document(case.plan), output.shadow)
    if isinstance(output, Succeeded):
        metrics.RECOVERED.labels(case.currency, output.by).inc()
        metrics.RECOVERED_MINOR.labels(case.currency).inc(case.amount_minor)
        return _decision(case, "end", output.why, {}, {"state": case.state.value, "by": output.by})
    why: Why = output.why  # type: ignore[union-attr]
    return _decision(case, type(output).__name__.lower(), why, {}, {"state": case.state.value})


def _decision(
    case: Case, kind: str, why: Why, inputs: Mapping[str, Any], outputs: Mapping[str, Any],
    shadow: Mapping[str, Any] | None = None,
) -> Decision | None:  # fmt: skip
    if kind == "scheduled":
        # The plan it belongs to says it already.
        return None
    plan = case.plan
    editions = {
        "declines": case.decline.data_edition,
        "policy": plan.policy if plan else case.assignment.policy,
        "arm": case.assignment.arm,
        **({"model": plan.explanation.get("model_edition", "")} if plan else {}),
    }
    return Decision(kind, why.rule, why.text, inputs, outputs, editions, why.evidence, shadow)
