"""Policies that need no model: their instants follow from the document and the failure alone.

Owns: fixed, uniform, code-aware, pay-day, advice-following and random schedules. Refuses: the rules, asked later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
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
# Instants, oldest first, and what is said of each: apart, as a replay looks for its place among the instants alone.
Timetable = tuple[Sequence[datetime], Sequence[str]]
_TOLD_BY_REFUSALS = ("code_aware", "advice_following")
_EMPTY: Timetable = ((), ())
_NO_TIMETABLE: tuple[None, Timetable] = (None, _EMPTY)


def timetable(policy: Policy, case: Case) -> Timetable:
    """Return the schedule's instants after the failure, with a reason each, oldest first, within the horizon.

    Those that have passed are among them. What no refusal changes is worked out once: the case keeps it and hands it
    on after each charge.
    """
    kept: tuple[Policy | None, Timetable] = case.__dict__.get("timetable", _NO_TIMETABLE)
    if kept[0] is policy:
        return kept[1]
    times, reasons = _by_kind(policy, case)
    # What the refusals mean is only looked up where the schedule depends on it.
    since = outage_since(case, case.readings) if policy.outage_ladder_hours else None
    if since is not None:
        ladder = [
            (since + timedelta(hours=hours), f"the bank was out of order: {hours:g} h later")
            for hours in policy.outage_ladder_hours
        ]
        later = [moment for moment in zip(times, reasons, strict=True) if moment[0] > ladder[-1][0]]
        times, reasons = _apart(sorted(ladder + later))
    start, end = case.failed_at, min(case.deadline, case.failed_at + span(policy.horizon_days))
    if times and not (start < times[0] and times[-1] <= end):
        bounds = slice(bisect_right(times, start), bisect_right(times, end))
        times, reasons = times[bounds], reasons[bounds]
    if policy.kind not in _TOLD_BY_REFUSALS and not policy.outage_ladder_hours:
        case.__dict__["timetable"] = policy, (times, reasons)
    return times, reasons


def _apart(moments: Sequence[Moment]) -> Timetable:
    return tuple([at for at, _ in moments]), tuple([reason for _, reason in moments])


@lru_cache(maxsize=256)
def span(days: float) -> timedelta:
    """Return a number of days as a span; a policy has few of them and every plan asks."""
    return timedelta(days=days)


def _by_kind(policy: Policy, case: Case) -> Timetable:
    """Return all instants of the schedule, also those that have passed, oldest first."""
    if policy.kind == "fixed":
        return _schedule(case.failed_at, *_steps(policy.days, "fixed schedule"))
    if policy.kind == "uniform" and policy.every_hours is not None:
        return _schedule(case.failed_at, *_even_steps(policy.every_hours, policy.attempts_max))
    if policy.kind == "code_aware":
        readings = case.readings
        telling = readings[1:] if case.failed_on is not None and len(readings) > 1 else readings
        reason = telling[0].observed if telling else "unknown"
        days = policy.ladders.get(reason, policy.ladders["default"])
        return _schedule(case.failed_at, *_steps(days, f"ladder for {reason}"))
    if policy.kind == "payday":
        return pay_days(policy, case)
    if policy.kind == "advice_following":
        return _advised(policy, case)
    if policy.kind == "random":
        span = policy.horizon_days - 1 / 24
        draws = [chance("random policy", case.invoice_id, number) for number in range(policy.attempts_max)]
        return _schedule(
            case.failed_at, *_steps(tuple(sorted(1 / 24 + draw * span for draw in draws)), "drawn at random")
        )
    return _EMPTY


def _schedule(start: datetime, steps: Sequence[timedelta], reasons: Sequence[str]) -> Timetable:
    return tuple([start + step for step in steps]), reasons


@lru_cache(maxsize=64)
def _even_steps(every_hours: float, count: int) -> tuple[tuple[timedelta, ...], tuple[str, ...]]:
    gap = every_hours / 24
    return _steps(tuple([gap * number for number in range(1, count + 1)]), "fixed schedule")


@lru_cache(maxsize=1024)  # the schedules of a few policies; drawn ones come and go
def _steps(days: tuple[float, ...], reason: str) -> tuple[tuple[timedelta, ...], tuple[str, ...]]:
    """Return the spans of a schedule and the words of each: the same for every case."""
    return tuple([timedelta(days=day) for day in days]), tuple([f"{reason}: day {day:g}" for day in days])


def _advised(policy: Policy, case: Case) -> Timetable:
    """Return the advised instant after the last refusal when there is advice, else the default ladder."""
    last = case.sent[-1] if case.sent else None
    decline, at = (last.decline, last.at) if last else (case.decline, case.failed_at)
    hours = _ADVISED_HOURS.get(decline.advice_code or "") if decline else None
    times, reasons = _schedule(case.failed_at, *_steps(policy.ladders["default"], "no advice, default ladder"))
    if hours is None:
        return times, reasons
    advised = at + timedelta(hours=hours) + _SLACK
    place = bisect_right(times, advised)
    return (advised, *times[place:]), (f"the network advised to wait {hours} h", *reasons[place:])


def pay_days(policy: Policy, case: Case) -> Timetable:
    """Return the common pay days after the failure at the policy's local hour; each only once."""
    where = zone(case.timezone) or _UTC
    assert where is not None
    first = case.failed_at.astimezone(where).date()
    return _pay_days(first, int(policy.horizon_days), policy.pay_days, round(policy.hour * 60), where)


@lru_cache(maxsize=8192)
def _pay_days(first: date, days: int, wanted: tuple[int | str, ...], minutes: int, where: ZoneInfo) -> Timetable:
    found = []
    for ahead in range(days + 1):
        day = first + timedelta(days=ahead)
        last_of_month = (day + timedelta(days=1)).day == 1
        if not (day.day in wanted or (0 in wanted and last_of_month) or WEEKDAYS[day.weekday()] in wanted):
            continue
        local = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=where)
        found.append((local.astimezone(UTC), f"common pay day, {day:%A} {day.isoformat()}"))
    return _apart(found)
