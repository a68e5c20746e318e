"""The payer's local calendar: instants as local days and hours, and the grid of hours worth a charge.

Owns: conversions that respect daylight saving. Refuses: anything about pay.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

# Local hours of the day at which a charge may be planned: shortly after midnight bookings, then through the day.
SLOT_HOURS = (0.5, 6.5, 9.25, 12.0, 15.0, 18.0, 21.0)
GRID_DAYS = 46
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86400


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo | None:
    """Return the zone, or None when there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local_seconds(at: datetime, where: ZoneInfo) -> int:
    """Return wall-clock seconds since 1970 of an instant."""
    local = at.astimezone(where)
    offset = local.utcoffset() or timedelta(0)
    return int(local.timestamp()) + int(offset.total_seconds())


def instant(local: int, where: ZoneInfo) -> datetime:
    """Return the UTC instant of wall-clock seconds; an hour that clocks skip becomes the one after it."""
    naive = _EPOCH + timedelta(seconds=local)
    return naive.replace(tzinfo=where).astimezone(UTC)


@lru_cache(maxsize=8)
def grid(days: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (day ahead, seconds of the day) of every slot, in time order."""
    seconds = np.array([int(hour * 3600) for hour in SLOT_HOURS], dtype=np.int64)
    return np.repeat(np.arange(days, dtype=np.int64), seconds.size), np.tile(seconds, days)
