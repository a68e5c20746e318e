"""What ingest keeps: endpoints and deliveries. Facts themselves are the gateway port's observations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One gateway account of one tenant, with its signing secrets (several while one is rotated)."""

    endpoint_id: str
    tenant_id: str
    gateway: str
    account: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    """One authentic delivery, before it is stored.

    Args:
        event_type, object_id: With the event's id they say which it is: an id alone has been seen on two things.
        state: `new`, or `quarantined` when it cannot be read.
    """

    delivery_id: str
    endpoint: Endpoint
    event_id: str
    event_type: str
    object_id: str
    received_at: datetime
    body: bytes
    state: str
    detail: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """One delivery of the store that is to be read."""

    seq: int
    delivery_id: str
    tenant_id: str
    gateway: str
    account: str
    event_id: str
    received_at: datetime
    body: bytes
    traceparent: str


def token_hash(token: str) -> bytes:
    """Return what the store keeps of an endpoint's token."""
    return hashlib.sha256(token.encode()).digest()
