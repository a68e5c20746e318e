"""Whether a schedule alone, were every charge refused, breaks a network's limit of charges in a day.

The gate would hold such charges back one by one; who writes the document should learn it when he saves it.

Owns: the instants that a document fixes, and the daily limits of the rule book. Refuses: what a case's history adds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dunwell_retry.rules import rulebook

if TYPE_CHECKING:
    from dunwell_retry.policies.document import Policy

_HOURS_PER_DAY = 24
_DAILY = ("mastercard.velocity_24h", "cards.default_24h")
# No network's limit of a day is lower. Most schedules never come near it and need no look into the rule book.
_FEW = 5


def crowded(policy: Policy) -> tuple[str, str] | None:
    """Return the field whose schedule breaks a network's daily limit and the rule, named; None when none does.

    The refused charge at hour 0 counts, as networks count every decline. The documents' own bounds keep the limits
    of 30 days (`attempts_max`).
    """
    for path, hours in _schedules(policy):
        instants = (0.0, *hours[: policy.attempts_max])
        # A day holds no more charges than this before any one of them.
        most = max(at - bisect_right(instants, hour - _HOURS_PER_DAY) for at, hour in enumerate(instants))
        if most >= _FEW and (rule := _broken(most)) is not None:
            return path, rule
    floor = policy.floor
    if floor is not None and floor.within_days <= 1 and (rule := _broken(floor.attempts)) is not None:
        return "floor.attempts", rule
    return None


def _broken(before: int) -> str | None:
    """Return the rule that forbids a charge after so many within 24 hours."""
    for name in _DAILY:
        row = rulebook.default().rules[name][-1]
        limit, hours = row.number("limit"), row.number("window_hours")
        if before >= limit:
            network = "Mastercard allows" if name.startswith("mastercard.") else "card networks allow"
            return f"breaks {name}: {network} {limit} declines in {hours} hours, the first one included"
    return None


def _schedules(policy: Policy) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield each schedule that the document fixes, in hours after the refused charge, ascending."""
    yield "days", [day * _HOURS_PER_DAY for day in policy.days]
    yield "outage_ladder_hours", policy.outage_ladder_hours
    for reason, ladder in policy.ladders.items():
        yield f"ladders.{reason}", [day * _HOURS_PER_DAY for day in ladder]
    if policy.every_hours is not None:
        horizon = policy.horizon_days * _HOURS_PER_DAY
        every = [policy.every_hours * number for number in range(1, policy.attempts_max + 1)]
        yield "every_hours", [hour for hour in every if hour <= horizon]
