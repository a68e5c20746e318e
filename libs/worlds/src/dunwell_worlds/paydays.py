"""When money comes in: pay calendars as tables of the last pay day.

Owns: the variants of weekly, biweekly, semimonthly and monthly pay. Refuses: amounts.
Source: US Bureau of Labor Statistics, The Economics Daily, 5 June 2014 (lengths of pay periods).
"""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

EPOCH = date(1970, 1, 1)
# Days since 1970 that the tables cover: 2019 to 2039, a margin around any world and its history.
FIRST_DAY, LAST_DAY = (date(2019, 1, 1) - EPOCH).days, (date(2040, 1, 1) - EPOCH).days
_DAYS = np.arange(FIRST_DAY, LAST_DAY)
# 1970-01-01 was a Thursday; Monday is 0.
_WEEKDAY = (_DAYS + 3) % 7

CYCLES = ("weekly", "biweekly", "semimonthly", "monthly")
CYCLE_SHARE = (0.324, 0.365, 0.198, 0.113)
CYCLE_HOURS = (168.0, 336.0, 365.0, 730.0)
_WEEKDAY_SHARE = (0.03, 0.03, 0.10, 0.18, 0.60, 0.03, 0.03)
_MONTHLY = ((1, 0.40), (0, 0.35), (25, 0.15), (15, 0.10))


def _last(paid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return for every day the latest pay day up to it."""
    marks = np.where(paid, _DAYS, FIRST_DAY)
    return np.maximum.accumulate(marks).astype(np.int32)


def _of_month(*days: int) -> NDArray[np.bool_]:
    """Return the mask of days of the month; 0 is the last one."""
    day = _DAYS.astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    of_month = (day - month.astype("datetime64[D]")).astype(np.int64) + 1
    last = day + 1 == (month + 1).astype("datetime64[D]")
    return np.asarray(np.isin(of_month, days) | (last & (0 in days)))


def _every(days: int, phase: int) -> NDArray[np.bool_]:
    return np.asarray(_DAYS % days == phase)


@cache
def variants(calendar: str) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Return (last pay day by variant and day, share of each variant, cycle number of each variant).

    Args:
        calendar: `real` ties pay to weekdays and days of the month; `none` leaves periods without a calendar.
    """
    rows: list[tuple[NDArray[np.bool_], float, int]] = []
    if calendar == "real":
        for weekday, share in enumerate(_WEEKDAY_SHARE):
            rows.append((np.asarray(weekday == _WEEKDAY), CYCLE_SHARE[0] * share, 0))
            for week in (0, 1):
                mask = (weekday == _WEEKDAY) & (week == (_DAYS + 3) // 7 % 2)
                rows.append((np.asarray(mask), CYCLE_SHARE[1] * share / 2, 1))
        rows.append((_of_month(15, 0), CYCLE_SHARE[2] * 0.6, 2))
        rows.append((_of_month(1, 15), CYCLE_SHARE[2] * 0.4, 2))
        rows += [(_of_month(day), CYCLE_SHARE[3] * share, 3) for day, share in _MONTHLY]
    else:
        for cycle, period in enumerate((7, 14, 15, 30)):
            rows += [(_every(period, phase), CYCLE_SHARE[cycle] / period, cycle) for phase in range(period)]
    return (
        np.stack([_last(mask) for mask, _, _ in rows]),
        np.array([share for _, share, _ in rows]),
        np.array([cycle for _, _, cycle in rows]),
    )


@cache
def last_days(calendar: str) -> list[list[int]]:
    """Return the first table of `variants` as lists, of which single elements are read far faster; not to be changed."""
    rows: list[list[int]] = variants(calendar)[0].tolist()
    return rows
