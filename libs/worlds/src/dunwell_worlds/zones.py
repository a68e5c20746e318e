"""Local time for whole arrays: offsets of a zone, looked up by the hour.

Owns: UTC <-> local hours since 1970. Refuses: `datetime` objects; callers convert at the edge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

# The span for which offsets are tabulated; worlds live inside it with two years of history.
_FIRST, _LAST = datetime(2019, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
# Offsets change on whole hours of UTC or on halves of them.
_WEEK, _HALF_HOUR = timedelta(days=7), timedelta(minutes=30)
# Far past any instant: the last offset that is known stays.
_LAST_SECOND = 2**62


@cache
def _transitions(name: str) -> tuple[list[int], list[int]]:
    """Return the UTC seconds at which an offset starts, and that offset in seconds."""
    zone = ZoneInfo(name)

    def offset(at: datetime) -> int:
        return int((at.astimezone(zone).utcoffset() or timedelta(0)).total_seconds())

    starts, offsets = [int(_FIRST.timestamp())], [offset(_FIRST)]
    day = _FIRST
    while day < _LAST:
        # Looking at every day would cost as much as drawing a world. No zone of the span changes twice in a week.
        following = day + _WEEK
        if offset(following) != offsets[-1]:
            steps = range(_WEEK // _HALF_HOUR + 1)
            step = day + _HALF_HOUR * bisect_left(
                steps, True, key=lambda at: offset(day + _HALF_HOUR * at) != offsets[-1]
            )
            starts.append(int(step.timestamp()))
            offsets.append(offset(step))
        day = following
    return starts, offsets


def offset_seconds(name: str, utc_second: int) -> int:
    """Return the zone's offset from UTC at an instant, in seconds."""
    starts, offsets = _transitions(name)
    return offsets[max(0, bisect_right(starts, utc_second) - 1)]


def offset_until(name: str, utc_second: int) -> tuple[int, int]:
    """Return the zone's offset from UTC at an instant, in seconds, and the UTC second at which another one starts."""
    starts, offsets = _transitions(name)
    place = bisect_right(starts, utc_second)
    return offsets[max(0, place - 1)], starts[place] if place < len(starts) else _LAST_SECOND


def utc_seconds(name: str, local_seconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return UTC seconds of local wall-clock seconds; a skipped hour moves on, a doubled one is its first."""
    starts, offsets = _transitions(name)
    bounds, shifts = np.array(starts), np.array(offsets)
    guess = local_seconds - shifts[np.maximum(0, np.searchsorted(bounds, local_seconds, side="right") - 1)]
    at = np.maximum(0, np.searchsorted(bounds, guess, side="right") - 1)
    return np.asarray(local_seconds - shifts[at], dtype=np.int64)
