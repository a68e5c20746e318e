"""Waiting for work: until somebody announces it, the virtual clock moves, or a poll is due.

Owns: the one way in which loops sleep. The announcement makes the common case fast; the poll is the truth.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from dunwell_kit.clock import Clock, monotonic

# A virtual clock is looked at this often; reading it costs no call.
VIRTUAL_LOOK_SECONDS = 0.01


async def announced(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set or the time is over."""
    waiter = asyncio.ensure_future(event.wait())
    done, _ = await asyncio.wait([waiter], timeout=seconds)
    if not done:
        waiter.cancel()


async def announced_or_moved(event: asyncio.Event | None, clock: Clock, seen: datetime, seconds: float) -> None:
    """Return when the event is set, business time has moved past `seen` on a virtual clock, or the time is over."""
    if not clock.virtual:
        if event is None:
            await asyncio.sleep(seconds)
        else:
            await announced(event, seconds)
        return
    until = monotonic() + seconds
    while clock.now() == seen and monotonic() < until and not (event and event.is_set()):  # noqa: ASYNC110 - the clock is a file
        await asyncio.sleep(VIRTUAL_LOOK_SECONDS)
