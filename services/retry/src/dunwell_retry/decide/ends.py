"""Ends and holds: the money came, the debt is gone, or a person says stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from dunwell_retry.decide.outputs import (
    AttemptAt,
    Canceled,
    Decided,
    Paused,
    PauseEndsAt,
    Resumed,
    StopTimers,
    Succeeded,
    Why,
)
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


def paused(case: Case, by: str, *, now: datetime, cause: str, until: datetime | None = None) -> Decided:
    """Hold a case; Conflict by the machine when an attempt is open.

    Args:
        until: When the pause ends by itself. None: at the case's own deadline, which ends the case; nothing is sent
            for it before somebody resumes it.
    """
    ends_at = until or case.deadline_at
    held = replace(case, state=moved(TRANSITIONS, case.state, "pause"), held_by=by, held_since=now, held_until=ends_at)
    text = f"Paused by {by} until {_instant(ends_at)}." if ends_at else f"Paused by {by}."
    end = (PauseEndsAt(ends_at),) if ends_at else ()
    return Decided(held, (StopTimers(), *end, Paused(Why("retry.paused", text, (cause,), by))))


def resumed(situation: Situation, policy: RetryPolicy, by: str, *, now: datetime, cause: str) -> Decided:
    """Let a paused case go on, with a fresh plan."""
    return _freed(situation, policy, Why("retry.resumed", f"Resumed by {by}.", (cause,), by), now, cause)


def pause_ended(situation: Situation, policy: RetryPolicy, *, now: datetime) -> Decided:
    """End a pause that nobody ended: plan the case again, or exhaust it past its deadline.

    A pause that was moved to a later end goes on.
    """
    case = situation.case
    if case.state is not CaseState.PAUSED or (case.held_until is not None and case.held_until > now):
        return Decided(case)
    since = f" since {_instant(case.held_since)}" if case.held_since else ""
    text = f"The pause by {case.held_by or 'an operator'}{since} is over and nobody resumed the case."
    cause = f"pause:{case.case_id}"
    return _freed(situation, policy, Why("retry.pause_ended", text, (cause,), "retry"), now, cause)


def _freed(situation: Situation, policy: RetryPolicy, why: Why, now: datetime, cause: str) -> Decided:
    case = situation.case
    state = moved(TRANSITIONS, case.state, "resume")
    freed = replace(case, state=state, held_by="", held_since=None, held_until=None)
    decided = replan(replace(situation, case=freed), policy, now=now, cause=cause)
    return Decided(decided.case, (StopTimers(), Resumed(why), *decided.outputs))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def retry_now(case: Case, *, now: datetime) -> Decided:
    """An operator wants the next attempt at once; the rule gate is still asked."""
    if case.state is not CaseState.WAITING:
        moved(TRANSITIONS, case.state, "charge")
    return Decided(case, (AttemptAt(now),))
