"""Ends and holds: the money came, the debt is gone, or a person says stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dunwell_retry.decide.outputs import AttemptAt, Canceled, Decided, Paused, Resumed, StopTimers, Succeeded, Why
from dunwell_retry.decide.planning import replan
from dunwell_retry.machines import moved
from dunwell_retry.machines.case import TRANSITIONS, CaseState
from dunwell_retry.model import Case, Situation
from dunwell_retry.policy import RetryPolicy


def settled(case: Case, by: str, payment_id: str, *, at: datetime, now: datetime, cause: str) -> Decided:
    """The money is there; a case that has ended stays as it is.

    Args:
        by: `retry`, `payer`, `gateway` or `self_cured`.
    """
    if case.ended:
        return Decided(case)
    ended = replace(case, state=moved(TRANSITIONS, case.state, "settle"), ended_at=now)
    why = Why(f"retry.settled.{by}", _SENTENCES[by], (cause,), "gateway")
    return Decided(ended, (StopTimers(), Succeeded(by, payment_id, at, why)))


_SENTENCES = {
    "retry": "Our attempt was approved.",
    "payer": "The payer paid.",
    "gateway": "The gateway's own retry was approved.",
    "self_cured": "The payment came without any action of ours.",
}


def canceled(case: Case, rule: str, text: str, *, now: datetime, cause: str) -> Decided:
    """The debt is gone or may not be collected; a case that has ended stays as it is."""
    if case.ended:
        return Decided(case)
    ended = replace(case, state=moved(TRANSITIONS, case.state, "cancel"), ended_at=now)
    return Decided(ended, (StopTimers(), Canceled(Why(rule, text, (cause,), "gateway"))))


def paused(case: Case, by: str, *, cause: str) -> Decided:
    """Hold a case; Conflict by the machine when an attempt is open."""
    held = replace(case, state=moved(TRANSITIONS, case.state, "pause"), held_by=by)
    return Decided(held, (StopTimers(), Paused(Why("retry.paused", f"Paused by {by}.", (cause,), by))))


def resumed(situation: Situation, policy: RetryPolicy, by: str, *, now: datetime, cause: str) -> Decided:
    """Let a paused case go on, with a fresh plan."""
    case = situation.case
    freed = replace(case, state=moved(TRANSITIONS, case.state, "resume"), held_by="")
    decided = replan(replace(situation, case=freed), policy, now=now, cause=cause)
    return Decided(decided.case, (Resumed(Why("retry.resumed", f"Resumed by {by}.", (cause,), by)), *decided.outputs))


def retry_now(case: Case, *, now: datetime) -> Decided:
    """An operator wants the next attempt at once; the rule gate is still asked."""
    if case.state is not CaseState.WAITING:
        moved(TRANSITIONS, case.state, "charge")
    return Decided(case, (AttemptAt(now),))
