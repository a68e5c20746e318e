"""Pay rhythms as hypotheses: weekly, every two or four weeks, half-monthly, monthly.

Owns: for every day and hypothesis the last pay day, in the payer's local calendar with his holidays.
Refuses: amounts and chances.
Sources: US Bureau of Labor Statistics, The Economics Daily, 5 June 2014 (pay periods); the `holidays` package.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import holidays
import numpy as np
from numpy.typing import NDArray

EPOCH = date(1970, 1, 1)
_YEARS_BEFORE, _YEARS_AFTER = 3, 1
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# General knowledge, not fitted: pay mostly comes late in the week; the rest is spread thinly.
_WEEKDAY_PRIOR = (0.05, 0.06, 0.12, 0.18, 0.49, 0.06, 0.04)
_HALF_MONTHS = (((15, 0), 0.5), ((1, 15), 0.3), ((5, 20), 0.1), ((10, 25), 0.1))
_ROUND_DAYS = (1, 5, 10, 15, 20, 25, 0)
_ROUND_PRIOR = (0.24, 0.07, 0.07, 0.12, 0.06, 0.12, 0.22)
_OTHER_DAY_PRIOR = (1 - sum(_ROUND_PRIOR)) / 22


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way in which pay may come; `period_hours` is its usual distance."""

    kind: str
    label: str
    period_hours: float
    prior: float


def _month_days(days: tuple[int, ...]) -> str:
    return " and ".join("the last day" if day == 0 else f"day {day}" for day in days)


def _hypotheses() -> tuple[tuple[Hypothesis, tuple[int, ...], str], ...]:
    """Return (hypothesis, its days, how days are meant)."""
    rows: list[tuple[Hypothesis, tuple[int, ...], str]] = []
    for weekday, share in enumerate(_WEEKDAY_PRIOR):
        name = _DAY_NAMES[weekday]
        rows.append((Hypothesis("weekly", f"weekly on {name}", 168, 0.30 * share), (weekday,), "week"))
        for turn in (0, 1):
            label = f"every second {name}"
            rows.append((Hypothesis("biweekly", label, 336, 0.34 * share / 2), (weekday, turn), "two weeks"))
        for turn in range(4):
            label = f"every fourth {name}"
            rows.append((Hypothesis("four-weekly", label, 672, 0.03 * share / 4), (weekday, turn), "four weeks"))
    for days, share in _HALF_MONTHS:
        for moved in (False, True):
            label = f"half-monthly, {_month_days(days)}" + (", or the working day before" if moved else "")
            rows.append((Hypothesis("half-monthly", label, 365, 0.20 * share / 2), days, "moved" if moved else "month"))
    for day in (0, *range(1, 29)):
        rounded = day in _ROUND_DAYS
        prior = 0.13 * (_ROUND_PRIOR[_ROUND_DAYS.index(day)] if rounded else _OTHER_DAY_PRIOR)
        for moved in (False, True) if rounded else (False,):
            label = f"monthly, {_month_days((day,))}" + (", or the working day before" if moved else "")
            how = "moved" if moved else "month"
            rows.append((Hypothesis("monthly", label, 730, prior / (2 if rounded else 1)), (day,), how))
    return tuple(rows)


_ROWS = _hypotheses()
HYPOTHESES = tuple(row[0] for row in _ROWS)
PRIOR: NDArray[np.float64] = np.array([row.prior for row in HYPOTHESES]) / sum(row.prior for row in HYPOTHESES)
PERIOD_HOURS: NDArray[np.float32] = np.array([row.period_hours for row in HYPOTHESES], dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PayTable:
    """Last and next pay day by day (first axis) and hypothesis; days count from 1970."""

    first_day: int
    last: NDArray[np.int32]
    next: NDArray[np.int32]

    def rows(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return row numbers of days, those outside the table moved to its edge."""
        # Without `np.clip`, which takes five times as long on the few days of a case.
        return np.asarray(np.maximum(np.minimum(days - self.first_day, self.last.shape[0] - 1), 0))


def pay_table(country: str | None, day: int) -> PayTable:
    """Return the table around a day; an unknown country has weekends and no holidays."""
    return _table(country or "", (EPOCH + timedelta(days=day)).year)


@lru_cache(maxsize=256)
def _table(country: str, year: int) -> PayTable:
    first = date(year - _YEARS_BEFORE, 1, 1)
    count = (date(year + _YEARS_AFTER + 1, 1, 1) - first).days
    days = [first + timedelta(days=ahead) for ahead in range(count)]
    numbers = np.arange(count, dtype=np.int64) + (first - EPOCH).days
    weekday, week = (numbers + 3) % 7, (numbers + 3) // 7
    places = np.arange(count)
    closed = _closed(country, days)
    # The same or the last earlier day on which banks book; -1 before the table's first.
    booked = np.maximum.accumulate(np.where(np.array([day in closed for day in days]), -1, places))
    of_month = np.array([day.day for day in days])
    # The table ends with a year, so that its last day is a month's last as well.
    of_month_end = np.append(of_month[1:] == 1, True)
    masks = []
    for _, marks, how in _ROWS:
        if how == "week":
            mask = weekday == marks[0]
        elif how in ("two weeks", "four weeks"):
            mask = (weekday == marks[0]) & (week % (2 if how == "two weeks" else 4) == marks[1])
        else:
            mask = np.isin(of_month, marks) | (of_month_end & (0 in marks))
            if how == "moved":
                moved = booked[mask]
                mask = np.isin(places, moved[moved >= 0])
        masks.append(mask)
    paid = np.stack(masks, axis=1)
    last = np.maximum.accumulate(np.where(paid, numbers[:, None], numbers[0] - 31), axis=0)
    ahead = np.minimum.accumulate(np.where(paid, numbers[:, None], numbers[-1] + 31)[::-1], axis=0)[::-1]
    return PayTable(int(numbers[0]), last.astype(np.int32), ahead.astype(np.int32))


def _closed(country: str, days: list[date]) -> set[date]:
    """Return the days on which banks do not book: weekends and public holidays."""
    years = range(days[0].year, days[-1].year + 1)
    public: set[date] = set()
    if country in holidays.list_supported_countries():
        public = set(holidays.country_holidays(country, years=years))
    return {day for day in days if day.weekday() >= 5 or day in public}
