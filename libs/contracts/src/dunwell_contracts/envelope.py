"""The envelope: CloudEvents 1.0 in Kafka binary mode, as pure data.

Owns: the header names and their encoding. Refuses: any business meaning.
Source: CloudEvents 1.0 Kafka protocol binding, section 3.2 (binary content mode).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.message import DecodeError, Message

from dunwell_contracts.catalogue import carried_type

CONTENT_TYPE = "application/protobuf"
SPEC_VERSION = "1.0"
# Sequences are zero-padded so that they sort as text; 20 digits hold any unsigned 64-bit number.
SEQUENCE_WIDTH = 20


class Undecodable(ValueError):
    """The record does not hold what its headers promise."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every event says of itself besides its data.

    Args:
        id: UUIDv7 as text, the same on every republish; consumers dedupe on it.
        time: Aware UTC instant at which the event was made.
        key: `<tenant>:<payer>`, the partition key.
        correlation_id: Case id, or the raw delivery's id before a case exists.
        causation_id: Id of the event that caused this one, empty if none.
        sequence: Per producer and key, from 1, without a gap.
        traceparent: W3C context in which the event was made, empty if none.
    """

    id: str
    type: str
    source: str
    time: datetime
    key: str
    subject: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    sequence: int = 0
    traceparent: str = ""
    tracestate: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the record's headers; empty attributes are left out."""
        return [(name, value.encode()) for name, value in self.attributes().items()]

    def attributes(self) -> dict[str, str]:
        """Return the headers as text; empty ones are left out."""
        pairs = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": self.id,
            "ce_type": self.type,
            "ce_source": self.source,
            "ce_time": self.time.isoformat().replace("+00:00", "Z"),
            "ce_subject": self.subject,
            "ce_partitionkey": self.key,
            "ce_correlationid": self.correlation_id,
            "ce_causationid": self.causation_id,
            "ce_sequence": str(self.sequence).zfill(SEQUENCE_WIDTH),
            "content-type": CONTENT_TYPE,
            "traceparent": self.traceparent,
            "tracestate": self.tracestate,
            "ce_traceparent": self.traceparent,
            **self.extra,
        }
        return {name: value for name, value in pairs.items() if value}


def envelope_of(headers: Iterable[tuple[str, bytes]]) -> Envelope:
    """Read an envelope from a record's headers; Undecodable names the header that is missing or wrong."""
    try:
        found = {name: value.decode() for name, value in headers}
    except UnicodeDecodeError as error:
        raise Undecodable(f"a header is not UTF-8: {error}") from error
    try:
        if found["ce_specversion"] != SPEC_VERSION:
            raise Undecodable(f"ce_specversion is {found['ce_specversion']!r}, not {SPEC_VERSION!r}")
        made_at = datetime.fromisoformat(found["ce_time"])
        if made_at.tzinfo is None:
            raise Undecodable(f"ce_time {found['ce_time']!r} has no time zone")
        return Envelope(
            id=found["ce_id"],
            type=found["ce_type"],
            source=found["ce_source"],
            time=made_at,
            key=found.get("ce_partitionkey", ""),
            subject=found.get("ce_subject", ""),
            correlation_id=found.get("ce_correlationid", ""),
            causation_id=found.get("ce_causationid", ""),
            sequence=int(found.get("ce_sequence", "0")),
            traceparent=found.get("traceparent", ""),
            tracestate=found.get("tracestate", ""),
        )
    except Undecodable:
        raise
    except KeyError as error:
        raise Undecodable(f"header {error.args[0]!r} is missing") from error
    except ValueError as error:
        raise Undecodable(f"a header cannot be read: {error}") from error


def decode(envelope: Envelope, value: bytes) -> Message:
    """Parse a record's value as the message its type promises; UnknownType or Undecodable."""
    message = carried_type(envelope.type).message()
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise Undecodable(f"value of {envelope.type!r} is not that message: {error}") from error
    return message
