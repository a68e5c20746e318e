"""Identifiers: sortable, type-prefixed, injected.

Owns: every new id. Refuses: ids derived from business data; those are hashes made where they are needed.
Source: RFC 9562 section 5.7 (UUID version 7).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Protocol
from uuid import UUID

from dunwell_kit.clock import Clock

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62


class Ids(Protocol):
    """Makes ids."""

    def uuid(self) -> UUID:
        """Return a new UUIDv7."""
        ...

    def new(self, prefix: str) -> str:
        """Return a new id such as `rec_06bd…`, sortable by the time it was made."""
        ...


def _uuid7(milliseconds: int, chance: bytes) -> UUID:
    tail = int.from_bytes(chance)
    high = tail >> 62 & 0xFFF
    low = tail & (1 << 62) - 1
    return UUID(int=milliseconds << 80 | _VERSION_7 | high << 64 | _VARIANT | low)


def spelled(prefix: str, uuid: UUID) -> str:
    """Return an id of a prefix and a UUID: 26 lower-case base-32 characters that keep its order."""
    return f"{prefix}_{base64.b32hexencode(uuid.bytes).decode().rstrip('=').lower()}"


class RandomIds:
    """Ids for production: the clock's milliseconds and 74 bits of chance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def uuid(self) -> UUID:
        """Return a new UUIDv7."""
        return _uuid7(int(self._clock.now().timestamp() * 1000), secrets.token_bytes(10))

    def new(self, prefix: str) -> str:
        """Return a new id of a type."""
        return spelled(prefix, self.uuid())


class CountedIds:
    """Ids for tests: the same row of ids for the same seed."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._count = 0

    def uuid(self) -> UUID:
        """Return the next UUIDv7 of the row."""
        self._count += 1
        chance = hashlib.sha256(f"{self._seed}|{self._count}".encode()).digest()[:10]
        return _uuid7(self._count, chance)

    def new(self, prefix: str) -> str:
        """Return the next id of a type."""
        return spelled(prefix, self.uuid())


def derived(prefix: str, *parts: object) -> str:
    """Return the id that these parts always give: for natural keys that must not be minted twice."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return f"{prefix}_{base64.b32hexencode(digest[:16]).decode().rstrip('=').lower()}"


def new_secret(bytes_count: int = 32) -> str:
    """Return a URL-safe secret of so many random bytes."""
    return secrets.token_urlsafe(bytes_count)
