"""The world behind the gateway, remembered so that a restart meets the same one.

Owns: loading a world, asking it, asking it again after a restart. Refuses: what follows from the answers.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import datetime

from dunwell_kit.errors import Misconfigured
from dunwell_sandbox.store import Store
from dunwell_worlds.protocol import AttemptResult, FailedInvoice, PayerAction, World


def load_world(spec: str, seed: int, invoices: int) -> World:
    """Return the world that `module:factory` makes; Misconfigured when there is no such factory."""
    module, _, factory = spec.partition(":")
    try:
        make = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError, ValueError) as error:
        raise Misconfigured(f"no world {spec!r}: {error}; name one as module:factory") from error
    world: World = make(seed, invoices)
    return world


class Stage:
    """Asks a world and keeps what changed it: attempts and messages."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self.failures: dict[str, FailedInvoice] = {each.invoice_id: each for each in world.failures()}
        # The next thing that each payer will do, as far as was looked; a message or an attempt changes it.
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
        """Return when a payer acts next if nothing else happens, None when not within the world's horizon."""
        if world_id not in self._next:
            end = self.failures[world_id].failed_at + self._world.horizon
            coming = self._world.payer_actions(world_id, after, end) if after < end else ()
            self._next[world_id] = coming[0].at if coming else None
        return self._next[world_id]

    def _again(self, name: str, arguments: list[str]) -> None:
        world_id, at, *rest = arguments
        call = self._world.attempt if name == "attempt" else self._world.deliver
        call(world_id, datetime.fromisoformat(at), *rest)
