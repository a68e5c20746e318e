"""A payment failed: open a case, or learn from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dunwell_retry.decide.outputs import Decided, Opened, Output, Why
from dunwell_retry.decide.planning import replan
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import Case, Decline, Method, Place, Situation
from dunwell_retry.policy import RetryPolicy, assign


def opened(
    case_id: str,
    place: Place,
    payer_key: str,
    money: tuple[str, int],
    decline: Decline,
    method: Method,
    policy: RetryPolicy,
    *,
    failed_at: datetime,
    now: datetime,
    cause: str,
    first_span: str = "",
    numbers_used: int = 0,
) -> Decided:
    """Return a new case; it asks who the payer is before it plans.

    Args:
        money: (currency, what is still due in minor units).
        numbers_used: Attempt numbers that earlier cases of the invoice used up: none is ever used twice.
    """
    case = Case(
        case_id=case_id,
        place=place,
        payer_key=payer_key,
        currency=money[0],
        amount_minor=money[1],
        state=CaseState.OPENING,
        failed_at=failed_at,
        opened_at=now,
        decline=decline,
        method=method,
        assignment=assign(policy, place.tenant_id, place.payer_id),
        first_span=first_span,
        attempt_numbers=numbers_used,
    )
    text = f"A payment failed: {decline.reason.replace('_', ' ')}."
    outputs: tuple[Output, ...] = (Opened(Why("retry.payment_failed", text, (cause,), decline.data_edition)),)
    return Decided(case, outputs)


def failed_elsewhere(
    situation: Situation, decline: Decline, policy: RetryPolicy, *, now: datetime, cause: str
) -> Decided:
    """Somebody else's attempt failed on an open case: it used up budget and told something, so plan anew.

    Only a waiting case is planned anew; one with an attempt of ours open learns from the ledger when it ends.
    """
    case = situation.case
    if case.state is not CaseState.WAITING:
        return Decided(case)
    learned = replace(case, decline=decline)
    return replan(replace(situation, case=learned), policy, now=now, cause=cause)


def method_fixed(situation: Situation, method: Method, policy: RetryPolicy, *, now: datetime, cause: str) -> Decided:
    """The payer gave another method: unless an attempt is open, the planner charges it at once, as the payer's own.

    A charge that the rules forbid even then leaves the plan as it would be without it, and the plan says why.
    """
    case = replace(situation.case, method=method, payer_fixed=True, fixed_at=now)
    if case.state is not CaseState.WAITING:
        return Decided(case)
    return replan(replace(situation, case=case, methods=(method,)), policy, now=now, cause=cause)
