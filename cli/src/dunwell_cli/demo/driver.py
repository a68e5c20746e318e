"""The time-lapse: a virtual clock that steps only when the pipeline is quiet.

Owns: stepping. Each step goes to the next instant at which a timer or the world has something to do, on a grid, so
that what is due in the same slot happens in one step and a campaign of months takes about a minute.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp

from dunwell_cli.demo.quiet import Quiet
from dunwell_kit.clock import ClockWriter

OnStep = Callable[["Lapse"], Awaitable[None]]


@dataclass(slots=True)
class Lapse:
    """How far the time-lapse is."""

    started_at: datetime
    ends_at: datetime
    now: datetime
    steps: int = 0

    @property
    def share(self) -> float:
        """Part of the virtual time that has passed, in [0, 1]."""
        return min(1.0, (self.now - self.started_at) / (self.ends_at - self.started_at))


class Driver:
    """Drives one fleet through virtual time.

    Args:
        grid: Instants between two marks of this grid are met at the later mark.
    """

    def __init__(self, clock: ClockWriter, quiet: Quiet, sandbox_url: str, grid: timedelta) -> None:
        self._clock, self._quiet, self._grid = clock, quiet, grid
        self._http = aiohttp.ClientSession(f"{sandbox_url}/_sandbox/", raise_for_status=True)

    async def run(self, ends_at: datetime, on_step: OnStep) -> Lapse:
        """Step until the end, or until nobody has anything left to do."""
        lapse = Lapse(self._clock.now(), ends_at, self._clock.now())
        timer: datetime | None = lapse.now
        try:
            while lapse.now < ends_at:
                await self._step(lapse, timer)
                await on_step(lapse)
                world, timer = await self._next(lapse.now)
                marks = [self._on_grid(at) for at in (world, timer) if at is not None]
                if not marks:
                    break
                lapse.now = min(ends_at, max(min(marks), lapse.now + timedelta(seconds=1)))
                self._clock.set(lapse.now)
                lapse.steps += 1
            await self._quiet.wait(lapse.now, listeners=True)
            return lapse
        finally:
            await self._http.close()

    async def _step(self, lapse: Lapse, timer: datetime | None) -> None:
        # What is due by the clock first, then what the world does in the meantime: two causes never race.
        if timer is not None and timer <= lapse.now:
            await self._quiet.wait(lapse.now)
        async with self._http.post("open", json={"until": lapse.now.isoformat()}) as answer:
            opened = await answer.json()
        if any(opened.values()):
            await self._quiet.wait(lapse.now)

    async def _next(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Return when the world does something next, and when the next timer or postponed effect is due."""
        return await asyncio.gather(self._next_of_world(), self._quiet.next_due(now))

    async def _next_of_world(self) -> datetime | None:
        async with self._http.get("next") as answer:
            at = (await answer.json())["at"]
        return datetime.fromisoformat(at) if at else None

    def _on_grid(self, at: datetime) -> datetime:
        marks = math.ceil((at - datetime.fromtimestamp(0, at.tzinfo)) / self._grid)
        return datetime.fromtimestamp(0, at.tzinfo) + marks * self._grid
