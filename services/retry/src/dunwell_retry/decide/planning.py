"""(Re)planning a case: the planner proposes, the case gets its next date or its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dunwell_retry.decide.choice import planned, shadowed
from dunwell_retry.decide.inputs import inputs_document
from dunwell_retry.decide.outputs import (
    AttemptAt,
    DeadlineAt,
    Decided,
    Exhausted,
    NoAttempt,
    Output,
    Planned,
    Scheduled,
    StopTimers,
    Why,
)
from dunwell_retry.machines import moved
from dunwell_retry.machines.case import TRANSITIONS
from dunwell_retry.model import Case, Situation
from dunwell_retry.policy import RetryPolicy


def replan(
    situation: Situation, policy: RetryPolicy, *, now: datetime, cause: str, not_at: datetime | None = None
) -> Decided:
    """Return the case with a fresh plan, its dates armed.

    A case without any attempt ahead waits for the payer until its deadline; one past its deadline is exhausted.

    Args:
        cause: Id of what made a new plan necessary.
        not_at: An instant that was just refused: only what lies after it is kept, or the same refusal would
            follow at once, without end.
    """
    case = situation.case
    plan = planned(situation, policy, now)
    shadow = shadowed(situation, plan, policy, now)
    if not_at is not None:
        plan = replace(plan, attempts=tuple(a for a in plan.attempts if a.at > not_at))
    deadline = min(plan.deadline_at, case.deadline_at) if case.deadline_at else plan.deadline_at
    # An attempt moves the deadline nowhere: the end that was promised stays.
    after = replace(case, plan=plan, plan_number=case.plan_number + 1, deadline_at=deadline)
    if deadline <= now:
        return exhausted(after, now, "retry.deadline", "The time for recovery is over.")
    after = replace(after, state=moved(TRANSITIONS, case.state, "plan"))
    why = Why(plan.rule, plan.why, tuple(filter(None, (cause, case.decline.data_edition))), plan.policy)
    outputs: list[Output] = [Planned(why, inputs_document(situation, policy.models, now, not_at), shadow)]
    if plan.attempts:
        first = plan.attempts[0]
        outputs += [AttemptAt(first.at), Scheduled(first.at, Why(plan.rule, first.why, why.evidence, plan.policy))]
    else:
        outputs.append(NoAttempt())
    outputs.append(DeadlineAt(deadline))
    return Decided(after, tuple(outputs))


def exhausted(case: Case, now: datetime, rule: str, text: str) -> Decided:
    """Return the case at its end without the money."""
    ended = replace(case, state=moved(TRANSITIONS, case.state, "exhaust"), ended_at=now)
    return Decided(ended, (StopTimers(), Exhausted(Why(rule, text, (), case.assignment.policy))))
