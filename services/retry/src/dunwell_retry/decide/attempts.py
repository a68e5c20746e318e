"""Attempts: asked again at fire time, charged once, learned from."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dunwell_retry.decide.choice import by_smart
from dunwell_retry.decide.failures import method_fixed
from dunwell_retry.decide.outputs import (
    AttemptAt,
    Charge,
    Choice,
    Decided,
    Skipped,
    Why,
)
from dunwell_retry.decide.planning import exhausted, replan
from dunwell_retry.machines import moved
from dunwell_retry.machines.case import TRANSITIONS, CaseState
from dunwell_retry.model import Case, Decline, Method, PlannedAttempt, Situation
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules.model import Attempt, Initiator, Verdict

# Between the largest share of an exploration and the least of a best instant; see `chosen_by`.
_EXPLORED = 0.5


def due(situation: Situation, policy: RetryPolicy, *, due_at: datetime, now: datetime) -> Decided:
    """An attempt is due: the rule gate is asked again, with all that has happened since it was planned."""
    case = situation.case
    if case.state is not CaseState.WAITING:
        return Decided(case)
    method = _chosen(situation)
    initiator = Initiator.PAYER if case.payer_fixed else Initiator.MERCHANT
    planned = planned_for(case, now)
    if planned is not None and situation.governing.smart_off and by_smart(case.plan):
        return _switched(situation, policy, due_at=due_at, now=now)
    verdict = policy.gate(_attempt(situation, method, initiator, policy, now), situation.history)
    if not verdict.permit:
        return _refused(situation, verdict, policy, due_at=due_at, now=now)
    number = case.attempt_numbers + 1
    charging = replace(case, state=moved(TRANSITIONS, case.state, "charge"), attempt_numbers=number)
    text = planned.why if planned else "An operator asked for it."
    why = Why(verdict.rule, text, (case.decline.data_edition, *verdict.sources[:3]), case.assignment.policy)
    return Decided(charging, (Charge(number, method, initiator.value, verdict, why, chosen_by(case, planned)),))


def planned_for(case: Case, now: datetime) -> PlannedAttempt | None:
    """Return the planned attempt that is due; None when an operator asks for one before its date."""
    first = case.plan.attempts[0] if case.plan and case.plan.attempts else None
    return first if first and first.at <= now else None


def chosen_by(case: Case, planned: PlannedAttempt | None) -> Choice:
    """Return by which policy and with which chance an attempt was chosen: what later estimates learn from.

    A person's choice has no propensity. An exploration is told by its small one: it takes one of several instants by
    a share of at most 0.2, while the best instant keeps at least 0.8.
    """
    plan = case.plan
    if plan is None or planned is None:
        return Choice(policy=plan.policy if plan else "", arm="operator")
    arm = str(plan.explanation.get("arm") or case.assignment.arm or "treated")
    edition = str(plan.explanation.get("model_edition") or "")
    if arm == "treated" and planned.propensity < _EXPLORED:
        arm = "explore"
    return Choice(planned.propensity, planned.score, plan.policy, edition, arm)


def _switched(situation: Situation, policy: RetryPolicy, *, due_at: datetime, now: datetime) -> Decided:
    """The attempt was planned by `smart`, which is off meanwhile: it is not made, the pay-day rule plans instead."""
    text = f"{situation.governing.smart_off}: what it planned is not sent."
    skipped = Skipped(due_at, Why("retry.smart_off", text, (), situation.case.assignment.policy))
    decided = replan(situation, policy, now=now, cause="retry.smart_off")
    return Decided(decided.case, (skipped, *decided.outputs))


def _chosen(situation: Situation) -> Method:
    plan = situation.case.plan
    wanted = plan.attempts[0].instrument_id if plan and plan.attempts else ""
    return next((m for m in situation.methods if m.instrument_id == wanted), situation.methods[0])


def _attempt(situation: Situation, method: Method, initiator: Initiator, policy: RetryPolicy, now: datetime) -> Attempt:
    case = situation.case
    return Attempt(
        at=now,
        invoice_id=case.place.invoice_id,
        amount_minor=case.amount_minor,
        currency=case.currency,
        initiator=initiator,
        gateway=case.place.gateway,
        instrument=method.for_rules(),
        merchant_country=policy.merchant_country,
        first_presented_at=case.failed_at if method.kind == "bank_debit" else None,
        blocks=situation.blocks,
        caps=policy.caps,
    )


def _refused(
    situation: Situation, verdict: Verdict, policy: RetryPolicy, *, due_at: datetime, now: datetime
) -> Decided:
    case = situation.case
    skipped = Skipped(due_at, Why(verdict.rule, verdict.reason, verdict.sources[:3], case.assignment.policy))
    if verdict.not_before is not None and case.deadline_at is not None and verdict.not_before < case.deadline_at:
        return Decided(case, (skipped, AttemptAt(verdict.not_before)))
    decided = replan(situation, policy, now=now, cause=verdict.rule, not_at=now)
    return Decided(decided.case, (skipped, *decided.outputs))


def declined(
    situation: Situation, decline: Decline, policy: RetryPolicy, *, instrument_id: str, now: datetime, cause: str
) -> Decided:
    """Our attempt was refused: it taught something, so what is left is planned anew.

    Args:
        instrument_id: What was charged; another method that the payer gave meanwhile is charged at once.
    """
    fixed_meanwhile = situation.case.payer_fixed and situation.case.method.instrument_id != instrument_id
    case = replace(
        situation.case,
        state=moved(TRANSITIONS, situation.case.state, "decline"),
        decline=decline,
        attempts=situation.case.attempts + 1,
        payer_fixed=False,
        fixed_at=None,
    )
    if case.deadline_at is not None and case.deadline_at <= now:
        return exhausted(case, now, "retry.deadline", "The last attempt was refused and the time for recovery is over.")
    if fixed_meanwhile:
        return method_fixed(replace(situation, case=case), case.method, policy, now=now, cause=cause)
    return replan(replace(situation, case=case), policy, now=now, cause=cause, not_at=now)


def withdrawn(situation: Situation, policy: RetryPolicy, *, now: datetime, cause: str, why: str) -> Decided:
    """Our attempt was never made, or the gateway knows nothing of it: plan anew, its number stays used.

    A fix that could not be charged at once is not tried at once again, since what hindered it is still there; one that
    came while another method was to be charged has not been tried yet.
    """
    case = situation.case
    tried = case.plan.attempts[0].instrument_id if case.plan and case.plan.attempts else ""
    fixed_at = case.fixed_at if tried and tried != case.method.instrument_id else None
    case = replace(case, state=moved(TRANSITIONS, case.state, "withdraw"), fixed_at=fixed_at)
    if case.deadline_at is not None and case.deadline_at <= now:
        return exhausted(case, now, "retry.deadline", f"The time for recovery is over. {why}".strip())
    return replan(replace(situation, case=case), policy, now=now, cause=cause)


def lost_sight(situation: Situation) -> Decided:
    """Nobody knows whether the charge was applied: nothing else is sent until that is known."""
    case = situation.case
    return Decided(replace(case, state=moved(TRANSITIONS, case.state, "lose_sight")))


def deadline_reached(situation: Situation, *, now: datetime) -> Decided:
    """The time for recovery is over; an open attempt is waited for, its outcome ends the case."""
    case = situation.case
    if case.state in (CaseState.CHARGING, CaseState.UNCERTAIN) or case.ended:
        return Decided(case)
    return exhausted(case, now, "retry.deadline", "The time for recovery is over and the money has not come.")
