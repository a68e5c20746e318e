"""The payer's local calendar: instants as local days and hours, and the grid of hours worth a charge.

Owns: conversions that respect daylight saving. Refuses: anything about pay.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import floor
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

# Local hours of the day at which a charge may be planned: shortly after midnight bookings, then through the day.
SLOT_HOURS = (0.5, 6.5, 9.25, 12.0, 15.0, 18.0, 21.0)
# Days further ahead get fewer hours: until then the plan is made anew anyway.
FINE_DAYS, FAR_SLOT_HOURS = 10, (0.5, 9.25, 18.0)
GRID_DAYS = 61
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_DAY = 86400


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo | None:
    """Return the zone, or None when there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local_seconds(at: datetime, where: ZoneInfo) -> int:
    """Return wall-clock seconds since 1970 of an instant; of a part of a second nothing is kept."""
    second = floor(at.timestamp())
    offset = _offset(second // _DAY, where)
    return _local_seconds(at, where) if offset is None else second + offset


@lru_cache(maxsize=16384)  # a few years of days in a few zones; a past of years asks for a hundred of them
def _offset(day: int, where: ZoneInfo) -> int | None:
    """Return a zone's offset in seconds on a UTC day, counted from 1970; None on a day on which it changes."""
    begin = _EPOCH + timedelta(days=day)
    first, last = ((begin + timedelta(days=ahead)).astimezone(where).utcoffset() for ahead in (0, 1))
    return round(first.total_seconds()) if first is not None and first == last else None


def _local_seconds(at: datetime, where: ZoneInfo) -> int:
    local = at.astimezone(where)
    return (local.toordinal() - _EPOCH_ORDINAL) * _DAY + local.hour * 3600 + local.minute * 60 + local.second


@lru_cache(maxsize=16384)  # plans of many cases meet the same local hours
def instant(local: int, where: ZoneInfo) -> datetime:
    """Return the UTC instant of wall-clock seconds; an hour that clocks skip becomes the one after it."""
    naive = _EPOCH + timedelta(seconds=local)
    return naive.replace(tzinfo=where).astimezone(UTC)


@lru_cache(maxsize=64)
def grid(days: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (day ahead, seconds of the day) of every slot, in time order."""
    slots = [
        (day, int(hour * 3600)) for day in range(days) for hour in (SLOT_HOURS if day < FINE_DAYS else FAR_SLOT_HOURS)
    ]
    array = np.array(slots, dtype=np.int64)
    return array[:, 0], array[:, 1]
