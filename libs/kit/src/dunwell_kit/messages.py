"""What a handler receives: one decoded record with its envelope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition
from google.protobuf.message import Message

from dunwell_contracts.envelope import Envelope, decode, envelope_of
from dunwell_kit.database import Tx


@dataclass(frozen=True, slots=True)
class Received:
    """One event to handle."""

    envelope: Envelope
    message: Message
    topic: str
    partition: int
    offset: int


Handler = Callable[[Tx, Received], Awaitable[None]]


def received(record: ConsumerRecord[bytes, bytes]) -> Received:
    """Decode a record; Undecodable or UnknownType when it is not what it says."""
    envelope = envelope_of(record.headers)
    return Received(envelope, decode(envelope, record.value or b""), record.topic, record.partition, record.offset)


def readable(raw: bytes) -> str:
    """Return bytes as text that Postgres can keep, whatever they hold: it has no character NUL."""
    return raw.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def event_type(record: ConsumerRecord[bytes, bytes]) -> str:
    """Return the record's wire type without decoding anything else; empty if it has none."""
    return next((readable(value) for name, value in record.headers if name == "ce_type"), "")


def key_of(record: ConsumerRecord[bytes, bytes]) -> str:
    """Return the record's key as text."""
    return readable(record.key or b"")


def place(record: ConsumerRecord[bytes, bytes]) -> TopicPartition:
    """Return the partition a record came from."""
    return TopicPartition(record.topic, record.partition)
