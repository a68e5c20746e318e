"""Waiting for work: until somebody announces it, the virtual clock moves, or a poll is due.

Owns: the one way in which loops sleep. The announcement makes the common case fast; the poll is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from dunwell_kit.clock import Clock

# A virtual clock is looked at this often; reading it costs no call.
VIRTUAL_LOOK_SECONDS = 0.005


async def announced(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class ClockWatch:
    """Announces that a virtual clock moved: one look for all who sleep, and none while nobody does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleepers: dict[asyncio.Event, datetime] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def waking(self, event: asyncio.Event, seen: datetime) -> Iterator[None]:
        """Set the event once business time is no longer `seen`; the world's own clock wakes nobody."""
        if not self._clock.virtual:
            yield
            return
        self._sleepers[event] = seen
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            self._sleepers.pop(event, None)

    async def _look(self) -> None:
        while self._sleepers:
            now = self._clock.now()
            for event, seen in self._sleepers.items():
                if now != seen:
                    event.set()
            await asyncio.sleep(VIRTUAL_LOOK_SECONDS)


async def announced_or_moved(event: asyncio.Event, watch: ClockWatch, seen: datetime, seconds: float) -> None:
    """Return when the event is set, business time has moved past `seen` on a virtual clock, or the time is over."""
    with watch.waking(event, seen):
        await announced(event, seconds)
