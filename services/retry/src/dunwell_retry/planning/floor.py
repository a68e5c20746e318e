"""The promised schedule: what a tenant has promised is charged, though the planner would stop sooner.

Owns: filling a plan up to its policy's floor. Refuses: the rules; each added instant is asked about like any other,
and what they forbid stays away, with a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dunwell_retry.planning.model import Case, Plan, PlannedAttempt, Refused
from dunwell_retry.planning.permits import Permits
from dunwell_retry.policies.document import Policy

# Time for a decision to reach the bank.
_LEAD = timedelta(minutes=5)


def with_floor(plan: Plan, case: Case, policy: Policy, *, now: datetime, permits: Permits) -> Plan:
    """Return a plan that holds at least what the policy promises, as far as the rules permit.

    Charges that were sent already count. The missing ones are spread evenly over what is left of the promised days.
    """
    floor = policy.floor
    if floor is None:
        return plan
    end = min(case.failed_at + timedelta(days=floor.within_days), case.deadline)
    sent = [charge.at for charge in case.sent if charge.initiator == "merchant"]
    kept = [attempt.at for attempt in plan.attempts if attempt.at <= end]
    missing = floor.attempts - sum(at <= end for at in sent) - len(kept)
    if missing <= 0 or end <= now:
        return plan
    gap = timedelta(hours=policy.min_gap_hours)
    taken = [case.failed_at, *sent, *kept]
    added = _spread(missing, taken, max(now + _LEAD, max(taken[: 1 + len(sent)]) + gap), end, gap)
    # What lies past the promised days gives way to what was promised.
    free = max(added, default=end - gap) + gap
    planned = [attempt for attempt in plan.attempts if attempt.at <= end or attempt.at >= free]
    attempts, refused = _asked(planned, added, case, permits)
    attempts = attempts[: plan.budget_left]
    short = floor.attempts - sum(at <= end for at in sent) - sum(attempt.at <= end for attempt in attempts)
    return replace(
        plan,
        attempts=attempts,
        stop=plan.stop if not attempts else None,
        refused=(*refused, *plan.refused),
        notes=(*plan.notes, _note(floor.attempts, floor.within_days, missing, short, refused)),
    )


def _note(promised: int, days: float, missing: int, short: int, refused: Sequence[Refused]) -> str:
    text = f"{promised} charges within {days:g} days are promised: {missing} more than were worth their cost"
    if short <= 0:
        return text
    why = refused[0].reason if refused else "no time is left for them"
    return f"{text}, {short} of them not possible ({why})"


def _spread(missing: int, taken: Sequence[datetime], first: datetime, end: datetime, gap: timedelta) -> list[datetime]:
    """Return up to `missing` instants in [first, end], each at least `gap` from every taken one, as even as possible."""
    found: list[datetime] = []
    for _ in range(missing):
        around = sorted([*taken, *found])
        # The middle of the widest free stretch keeps the charges apart; the stretch's ends must leave the gap.
        stretches = [
            (max(a + gap, first), min(b - gap, end))
            for a, b in zip(around, [*around[1:], end + gap], strict=True)
        ]  # fmt: skip
        start, stop = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
        if stop < start:
            break
        found.append(_whole_minute(start + (stop - start) / 2, start))
    return sorted(found)


def _whole_minute(at: datetime, earliest: datetime) -> datetime:
    rounded = at.replace(second=0, microsecond=0)
    return rounded if rounded >= earliest else at


def _asked(
    planned: Sequence[PlannedAttempt], added: Sequence[datetime], case: Case, permits: Permits
) -> tuple[tuple[PlannedAttempt, ...], list[Refused]]:
    """Return what the gate permits of both in the order of time, each supposed to be refused before the next."""
    method, route = case.methods[0].instrument_id, case.routes[0]
    reason = "part of the promised schedule"
    extra = [PlannedAttempt(at, method, route, None, None, 1.0, reason, "") for at in added]
    attempts: list[PlannedAttempt] = []
    refused: list[Refused] = []
    for attempt in sorted([*planned, *extra], key=lambda entry: entry.at):
        verdict = permits.ask(attempt.at, attempt.instrument_id)
        if not verdict.permit:
            text = f"{verdict.rule}: {verdict.reason}"
            refused.append(
                Refused(attempt.at, attempt.instrument_id, attempt.route, attempt.chance, attempt.gain, text)
            )
            continue
        attempts.append(replace(attempt, rule=verdict.rule))
        permits = permits.supposing(attempt.at, attempt.instrument_id)
    return tuple(attempts), refused


def shortened(plan: Plan, look_ahead: int | None) -> Plan:
    """Return the plan with so many charges at most; None = all."""
    return plan if look_ahead is None else replace(plan, attempts=plan.attempts[:look_ahead])
