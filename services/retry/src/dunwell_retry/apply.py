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
from dunwell_kit.database import EffectRecorded, TimerSet, Tx
from dunwell_kit.money import Money
from dunwell_retry import charges, store, translate
from dunwell_retry.decide.outputs import (
    AttemptAt,
    Charge,
    DeadlineAt,
    Decided,
    NoAttempt,
    Opened,
    Output,
    PauseEndsAt,
    Planned,
    Skipped,
    StopTimers,
    Succeeded,
    Why,
    decline_document,
)
from dunwell_retry.model import Case, plan_document
from dunwell_retry.policy import RetryPolicy


async def apply(tx: Tx, decided: Decided, policy: RetryPolicy) -> Case:
    """Write a decision; returns the case as it is now."""
    case = decided.case
    tracing.about(case.place.tenant_id, case.case_id)
    await store.save(tx, case)
    for output in decided.outputs:
        await _apply_one(tx, case, output, policy)
    return case


async def _apply_one(tx: Tx, case: Case, output: Output, policy: RetryPolicy) -> None:
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
            await _charge(tx, case, output, policy)
        case _:
            await _tell(tx, case, output)


async def _charge(tx: Tx, case: Case, charge: Charge, policy: RetryPolicy) -> None:
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
    await _decision(tx, case, "charge", charge.why, {"decline": decline_document(case.decline)}, outputs)


async def _tell(tx: Tx, case: Case, output: Output) -> None:
    event = translate.event_of(case, output)
    if event is not None:
        tx.emit(event, key=case.payer_key, correlation_id=case.case_id, subject=case.place.invoice_id)
    if isinstance(output, Planned):
        await _decision(tx, case, "plan", output.why, output.inputs, plan_document(case.plan), output.shadow)
    elif isinstance(output, Succeeded):
        metrics.RECOVERED.labels(case.currency, output.by).inc()
        metrics.RECOVERED_MINOR.labels(case.currency).inc(case.amount_minor)
        await _decision(tx, case, "end", output.why, {}, {"state": case.state.value, "by": output.by})
    elif isinstance(output, Opened | Skipped):
        await _decision(tx, case, type(output).__name__.lower(), output.why, {}, {"state": case.state.value})
    else:
        why: Why = output.why  # type: ignore[union-attr]
        await _decision(tx, case, type(output).__name__.lower(), why, {}, {"state": case.state.value})


async def _decision(
    tx: Tx, case: Case, kind: str, why: Why, inputs: Mapping[str, Any], outputs: Mapping[str, Any],
    shadow: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    if kind == "scheduled":
        # The plan it belongs to says it already.
        return
    plan = case.plan
    editions = {
        "declines": case.decline.data_edition,
        "policy": plan.policy if plan else case.assignment.policy,
        "arm": case.assignment.arm,
        **({"model": plan.explanation.get("model_edition", "")} if plan else {}),
    }
    await store.add_decision(
        tx, case, kind, why.rule, why.text, inputs=inputs, outputs=outputs, editions=editions, evidence=why.evidence,
        shadow=shadow,
    )  # fmt: skip
