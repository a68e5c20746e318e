"""The world behind the gateway, remembered so that a restart meets the same one.

Owns: loading a world, asking it, asking it again after a restart. Refuses: what follows from the answers.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from dunwell_kit.errors import Misconfigured
from dunwell_sandbox.settings import SandboxSettings
from dunwell_sandbox.store import Store
from dunwell_worlds.protocol import AttemptResult, FailedInvoice, PayerAction, World

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Payers look at their mail some times a day; a driver that steps so often misses no day.
_LOOK_EVERY = timedelta(hours=6)


@runtime_checkable
class ForeseeingWorld(Protocol):
    """A world that can tell a payer's next act without letting it happen, so that a driver steps right to it."""

    def next_action_at(self, invoice_id: str, after: datetime) -> datetime | None:
        """Return when the payer acts next if nothing else happens, None when never; changes nothing."""
        ...


def load_world(settings: SandboxSettings) -> World:
    """Return the world that the factory named in the settings makes; Misconfigured when it cannot."""
    module, _, factory = settings.world.partition(":")
    span = {"start": settings.world_start, "days": settings.world_days}
    asked = {name: value for name, value in span.items() if value is not None}
    try:
        make = getattr(importlib.import_module(module), factory)
        world: World = make(settings.seed, settings.invoices, **asked)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise Misconfigured(f"no world {settings.world!r}: {error}; name one as module:factory") from error
    return world


class Stage:
    """Asks a world and keeps what changed it: attempts and messages."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self.failures: dict[str, FailedInvoice] = {each.invoice_id: each for each in world.failures()}
        # What a foreseeing world told; a message or an attempt changes it.
        self._next: dict[str, datetime | None] = {}
        for name, arguments in store.world_calls():
            self._again(name, arguments)

    def attempt(self, world_id: str, at: datetime, instrument: str, route: str, initiator: str) -> AttemptResult:
        """Charge once, inside a transaction."""
        self._store.add_world_call("attempt", [world_id, at.isoformat(), instrument, route, initiator])
        self._next.pop(world_id, None)
        return self._world.attempt(world_id, at, instrument, route, initiator)

    def deliver(self, world_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Let a message reach a payer, inside a transaction."""
        self._store.add_world_call("deliver", [world_id, at.isoformat(), channel, tone, kind])
        self._next.pop(world_id, None)
        self._world.deliver(world_id, at, channel, tone, kind)

    def actions(self, world_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return what a payer does in (after, until]."""
        self._next.pop(world_id, None)
        return self._world.payer_actions(world_id, after, until)

    def next_action_at(self, world_id: str, after: datetime) -> datetime | None:
        """Return when a payer may act next, None when not within the world's horizon.

        Exact when the world foresees; otherwise the next look, since to ask a world is to let time pass in it.
        """
        if not isinstance(self._world, ForeseeingWorld):
            end = self.failures[world_id].failed_at + self._world.horizon
            passed = (after - _EPOCH) // _LOOK_EVERY
            return _EPOCH + (passed + 1) * _LOOK_EVERY if after < end else None
        if world_id not in self._next:
            self._next[world_id] = self._world.next_action_at(world_id, after)
        return self._next[world_id]

    def can_act(self, world_id: str, after: datetime, until: datetime) -> bool:
        """Tell whether it is worth asking what a payer does in (after, until]."""
        if not isinstance(self._world, ForeseeingWorld):
            return True
        due = self.next_action_at(world_id, after)
        return due is not None and due <= until

    def _again(self, name: str, arguments: list[str]) -> None:
        world_id, at, *rest = arguments
        call = self._world.attempt if name == "attempt" else self._world.deliver
        call(world_id, datetime.fromisoformat(at), *rest)
