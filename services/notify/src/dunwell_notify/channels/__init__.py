"""Channels: one module each, behind one outcome type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message, complete: the exact bytes are decided before anything is sent."""

    recipient: str
    raw: bytes
    message_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message.

    Args:
        state: `sent`, `failed` (refused for good), `deferred` (certainly not taken, may be handed over later) or
            `unknown` (may have been taken; never sent again).
    """

    state: str
    detail: str = ""


class Channel(Protocol):
    """Sends one message, once."""

    async def send(self, message: Outgoing) -> Outcome:
        """Hand a message over; never raises for what the provider did."""
        ...
