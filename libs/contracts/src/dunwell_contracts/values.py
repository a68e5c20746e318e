"""Instants between Python and the wire: aware UTC datetimes and protobuf timestamps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf import timestamp_pb2

# The well-known type's class is made at run time, so type checkers do not see it.
Timestamp: Any = timestamp_pb2.Timestamp  # type: ignore[attr-defined]


def stamp(at: datetime | None) -> Any:
    """Return an instant as a protobuf timestamp; None stays None, which leaves the field unset."""
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made


def instant(message: Any, field: str) -> datetime | None:
    """Return a message's timestamp field as an aware UTC datetime; None when it is not set."""
    if not message.HasField(field):
        return None
    found: datetime = getattr(message, field).ToDatetime(UTC)
    return found
