"""Instants as whole seconds.

Owns: the step from a `datetime` to seconds since 1970. Refuses: local time; see `zones`.
"""

from __future__ import annotations

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def second_of(at: datetime) -> int:
    """Return the whole seconds from 1970 to an aware instant; ValueError when it is naive."""
    try:
        # What `timestamp` does by way of a float, in two thirds of the time.
        since = at - _EPOCH
    except TypeError:
        raise ValueError(f"{at.isoformat()} is naive; instants are aware UTC") from None
    return since.days * 86400 + since.seconds
