"""Policies that need no model: their instants follow from the document and the failure alone.

Owns: fixed, uniform, code-aware, pay-day, advice-following and random schedules. Refuses: the rules, asked later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from zoneinfo import ZoneInfo

from dunwell_kit.chance import uniform as chance
from dunwell_retry.planning.local import zone
from dunwell_retry.planning.model import Case
from dunwell_retry.planning.reading import outage_since
from dunwell_retry.policies.document import WEEKDAYS, Policy

# Hours after which a charge may be repeated, by Mastercard advice code.
# Source: docs.payabl.com/docs/mastercard-merchant-advice-codes, read September 2026.
_ADVISED_HOURS = {"02": 72, "24": 1, "25": 24, "26": 48, "27": 96, "28": 144, "29": 192, "30": 240}
_UTC = zone("UTC")
_SLACK = timedelta(minutes=1)

Moment = tuple[datetime, str]
_WHEN = itemgetter(0)
_TOLD_BY_REFUSALS = ("code_aware", "advice_following")
_NO_TIMETABLE: tuple[None, tuple[Moment, ...]] = (None, ())


def moments(policy: Policy, case: Case, after: datetime | None = None) -> Sequence[Moment]:
    """Return the schedule's instants after the failure, with a reason each, oldest first, within the horizon.

    Args:
        after: Only instants later than this one are of interest.
    """
    if after is None or after < case.failed_at:
        after = case.failed_at
    found = _timetable(policy, case)
    # A schedule is in the order of time, and a replay asks for its rest after every charge.
    return found[bisect_right(found, after, key=_WHEN) :]


def _timetable(policy: Policy, case: Case) -> Sequence[Moment]:
    """Return the schedule's instants up to its horizon, also those that have passed, oldest first.

    What no refusal changes is worked out once: the case keeps it and hands it on after each charge.
    """
    kept: tuple[Policy | None, Sequence[Moment]] = case.__dict__.get("timetable", _NO_TIMETABLE)
    if kept[0] is policy:
        return kept[1]
    found = _by_kind(policy, case)
    # What the refusals mean is only looked up where the schedule depends on it.
    since = outage_since(case, case.readings) if policy.outage_ladder_hours else None
    if since is not None:
        ladder = [
            (since + timedelta(hours=hours), f"the bank was out of order: {hours:g} h later")
            for hours in policy.outage_ladder_hours
        ]
        found = sorted(ladder + [moment for moment in found if moment[0] > ladder[-1][0]])
    end = min(case.deadline, case.failed_at + span(policy.horizon_days))
    found = found[: bisect_right(found, end, key=_WHEN)]
    if policy.kind not in _TOLD_BY_REFUSALS and not policy.outage_ladder_hours:
        case.__dict__["timetable"] = policy, found
    return found


@lru_cache(maxsize=256)
def span(days: float) -> timedelta:
    """Return a number of days as a span; a policy has few of them and every plan asks."""
    return timedelta(days=days)


def _by_kind(policy: Policy, case: Case) -> Sequence[Moment]:
    """Return all instants of the schedule, also those that have passed, oldest first."""
    if policy.kind == "fixed":
        return _schedule(case.failed_at, policy.days)
    if policy.kind == "uniform" and policy.every_hours is not None:
        return _evenly(case.failed_at, policy.every_hours, policy.attempts_max)
    if policy.kind == "code_aware":
        readings = case.readings
        telling = readings[1:] if case.failed_on is not None and len(readings) > 1 else readings
        reason = telling[0].observed if telling else "unknown"
        return _schedule(case.failed_at, policy.ladders.get(reason, policy.ladders["default"]), f"ladder for {reason}")
    if policy.kind == "payday":
        return pay_days(policy, case)
    if policy.kind == "advice_following":
        return _advised(policy, case)
    if policy.kind == "random":
        span = policy.horizon_days - 1 / 24
        draws = [chance("random policy", case.invoice_id, number) for number in range(policy.attempts_max)]
        return _schedule(case.failed_at, tuple(sorted(1 / 24 + draw * span for draw in draws)), "drawn at random")
    return ()


def _schedule(start: datetime, days: tuple[float, ...], reason: str = "fixed schedule") -> tuple[Moment, ...]:
    return tuple([(start + step, text) for step, text in _steps(days, reason)])


def _evenly(start: datetime, every_hours: float, count: int) -> tuple[Moment, ...]:
    return tuple([(start + step, text) for step, text in _even_steps(every_hours, count)])


@lru_cache(maxsize=64)
def _even_steps(every_hours: float, count: int) -> tuple[tuple[timedelta, str], ...]:
    gap = every_hours / 24
    return _steps(tuple([gap * number for number in range(1, count + 1)]), "fixed schedule")


@lru_cache(maxsize=1024)  # the schedules of a few policies; drawn ones come and go
def _steps(days: tuple[float, ...], reason: str) -> tuple[tuple[timedelta, str], ...]:
    """Return the spans of a schedule, each with its words: the same for every case."""
    return tuple([(timedelta(days=day), f"{reason}: day {day:g}") for day in days])


def _advised(policy: Policy, case: Case) -> Sequence[Moment]:
    """Return the advised instant after the last refusal when there is advice, else the default ladder."""
    last = case.sent[-1] if case.sent else None
    decline, at = (last.decline, last.at) if last else (case.decline, case.failed_at)
    hours = _ADVISED_HOURS.get(decline.advice_code or "") if decline else None
    ladder = _schedule(case.failed_at, policy.ladders["default"], "no advice, default ladder")
    if hours is None:
        return ladder
    advised = at + timedelta(hours=hours) + _SLACK
    text = f"the network advised to wait {hours} h"
    return [(advised, text), *[moment for moment in ladder if moment[0] > advised]]


def pay_days(policy: Policy, case: Case) -> Sequence[Moment]:
    """Return the common pay days after the failure at the policy's local hour; each only once."""
    where = zone(case.timezone) or _UTC
    assert where is not None
    first = case.failed_at.astimezone(where).date()
    return _pay_days(first, int(policy.horizon_days), policy.pay_days, round(policy.hour * 60), where)


@lru_cache(maxsize=8192)
def _pay_days(
    first: date, days: int, wanted: tuple[int | str, ...], minutes: int, where: ZoneInfo
) -> tuple[Moment, ...]:
    found = []
    for ahead in range(days + 1):
        day = first + timedelta(days=ahead)
        last_of_month = (day + timedelta(days=1)).day == 1
        if not (day.day in wanted or (0 in wanted and last_of_month) or WEEKDAYS[day.weekday()] in wanted):
            continue
        local = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=where)
        found.append((local.astimezone(UTC), f"common pay day, {day:%A} {day.isoformat()}"))
    return tuple(found)
