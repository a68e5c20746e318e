"""(Re)planning a case: the planner proposes, the case gets its next date or its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

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
    decline_document,
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
    plan = policy.planner(case.assignment)(situation, now)
    if not_at is not None:
        plan = replace(plan, attempts=tuple(a for a in plan.attempts if a.at > not_at))
    deadline = min(plan.deadline_at, case.deadline_at) if case.deadline_at else plan.deadline_at
    # An attempt moves the deadline nowhere: the end that was promised stays.
    planned = replace(case, plan=plan, plan_number=case.plan_number + 1, deadline_at=deadline)
    if deadline <= now:
        return exhausted(planned, now, "retry.deadline", "The time for recovery is over.")
    planned = replace(planned, state=moved(TRANSITIONS, case.state, "plan"))
    why = Why(plan.rule, plan.why, tuple(filter(None, (cause, case.decline.data_edition))), plan.policy)
    outputs: list[Output] = [Planned(why, inputs_document(situation, now))]
    if plan.attempts:
        first = plan.attempts[0]
        outputs += [AttemptAt(first.at), Scheduled(first.at, Why(plan.rule, first.why, why.evidence, plan.policy))]
    else:
        outputs.append(NoAttempt())
    outputs.append(DeadlineAt(deadline))
    return Decided(planned, tuple(outputs))


def exhausted(case: Case, now: datetime, rule: str, text: str) -> Decided:
    """Return the case at its end without the money."""
    ended = replace(case, state=moved(TRANSITIONS, case.state, "exhaust"), ended_at=now)
    return Decided(ended, (StopTimers(), Exhausted(Why(rule, text, (), case.assignment.policy))))


def inputs_document(situation: Situation, now: datetime) -> dict[str, Any]:
    """Return what the planner saw, as JSON values, so that the decision can be replayed."""
    case = situation.case
    return {
        "now": now.isoformat(),
        "case": {
            "case_id": case.case_id,
            "tenant_id": case.place.tenant_id,
            "gateway": case.place.gateway,
            "account": case.place.account,
            "payer_id": case.place.payer_id,
            "invoice_id": case.place.invoice_id,
            "currency": case.currency,
            "amount_minor": case.amount_minor,
            "failed_at": case.failed_at.isoformat(),
            "opened_at": case.opened_at.isoformat(),
            "deadline_at": case.deadline_at.isoformat() if case.deadline_at else None,
            "attempts": case.attempts,
            "timezone": case.timezone,
            "payer_fixed": case.payer_fixed,
            "decline": decline_document(case.decline),
            "policy": case.assignment.policy,
        },
        "methods": [
            {
                "instrument_id": m.instrument_id,
                "kind": m.kind,
                "network": m.network,
                "funding": m.funding,
                "country": m.country,
                "account_reference": m.account_reference,
                "expiry_month": m.expiry_month,
                "expiry_year": m.expiry_year,
            }
            for m in situation.methods
        ],
        "history": [
            {
                "at": p.at.isoformat(),
                "invoice_id": p.invoice_id,
                "amount_minor": p.amount_minor,
                "currency": p.currency,
                "initiator": p.initiator.value,
                "instrument_id": p.instrument_id,
                "approved": p.approved,
                "account_reference": p.account_reference,
                "token": p.token,
                "origin": p.origin.value,
                "network_code": p.network_code,
                "advice_code": p.advice_code,
                "gateway_code": p.gateway_code,
            }
            for p in situation.history
        ],
        "blocks": [{"kind": b.kind, "since": b.since.isoformat()} for b in situation.blocks],
    }
