"""Waiting for work: until somebody announces it, the virtual clock moves, or a poll is due.

Owns: the one way in which loops sleep. The announcement makes the common case fast; the poll is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from dunwell_kit.clock import Clock, FileClock

# A virtual clock that tells of no move is looked at this often; reading it costs no call.
VIRTUAL_LOOK_SECONDS = 0.005


async def announced(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class ClockWatch:
    """Announces to all who sleep that a virtual clock moved; nobody is woken while it stands."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleepers: dict[asyncio.Event, datetime] = {}
        self._told: Any = None
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def waking(self, event: asyncio.Event, seen: datetime) -> Iterator[None]:
        """Set the event once business time is no longer `seen`; the world's own clock wakes nobody."""
        if not self._clock.virtual:
            yield
            return
        self._listen()
        self._sleepers[event] = seen
        self._wake()
        try:
            yield
        finally:
            self._sleepers.pop(event, None)

    def close(self) -> None:
        """Wake nobody any more."""
        if self._told is not None:
            asyncio.get_running_loop().remove_reader(self._told.fileno())
            self._told.close()
            self._told = None
        if self._looking is not None:
            self._looking.cancel()

    def _listen(self) -> None:
        """Be told of each write to the clock's file; where that cannot be, look again and again while somebody sleeps."""
        if self._told is not None:
            return
        if self._looking is None and isinstance(self._clock, FileClock):
            self._told = self._clock.writes()
            if self._told is not None:
                asyncio.get_running_loop().add_reader(self._told.fileno(), self._written)
                return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())

    def _written(self) -> None:
        self._told.read(timeout=0)
        self._wake()

    def _wake(self) -> None:
        now = self._clock.now()
        for event, seen in self._sleepers.items():
            if now != seen:
                event.set()

    async def _look(self) -> None:
        # The first who sleeps registers after this task was made.
        await asyncio.sleep(VIRTUAL_LOOK_SECONDS)
        while self._sleepers:
            self._wake()
            await asyncio.sleep(VIRTUAL_LOOK_SECONDS)


async def announced_or_moved(event: asyncio.Event, watch: ClockWatch, seen: datetime, seconds: float) -> None:
    """Return when the event is set, business time has moved past `seen` on a virtual clock, or the time is over."""
    with watch.waking(event, seen):
        await announced(event, seconds)
