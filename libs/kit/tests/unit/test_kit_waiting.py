"""Waiting: announcements wake at once, a virtual clock that moved wakes everybody, and nobody is looked for in vain."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from dunwell_kit.clock import ManualClock, SystemClock
from dunwell_kit.waiting import VIRTUAL_LOOK_SECONDS, ClockWatch, announced, announced_or_moved

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# Long enough that a test which passes never meets it.
LONG_SECONDS = 30.0


async def test_an_announcement_wakes_at_once() -> None:
    event = asyncio.Event()
    waiting = asyncio.ensure_future(announced(event, LONG_SECONDS))
    event.set()
    await asyncio.wait_for(waiting, 1)


async def test_without_an_announcement_the_poll_is_due_in_the_end() -> None:
    event = asyncio.Event()
    await asyncio.wait_for(announced(event, 0.001), 1)
    assert not event.is_set()


async def test_a_virtual_clock_that_moves_wakes_every_sleeper() -> None:
    clock = ManualClock(NOON)
    watch = ClockWatch(clock)
    events = [asyncio.Event(), asyncio.Event()]
    sleepers = [asyncio.ensure_future(announced_or_moved(event, watch, NOON, LONG_SECONDS)) for event in events]
    await announced(asyncio.Event(), 2 * VIRTUAL_LOOK_SECONDS)
    assert not any(sleeper.done() for sleeper in sleepers)
    clock.advance(timedelta(hours=3))
    await asyncio.wait_for(asyncio.gather(*sleepers), 1)


async def test_a_move_between_the_look_at_the_clock_and_the_sleep_is_not_missed() -> None:
    clock = ManualClock(NOON)
    seen = clock.now()
    clock.advance(timedelta(hours=3))
    await asyncio.wait_for(announced_or_moved(asyncio.Event(), ClockWatch(clock), seen, LONG_SECONDS), 1)


async def test_the_watch_looks_again_after_everybody_had_left() -> None:
    clock = ManualClock(NOON)
    watch = ClockWatch(clock)
    for hours in (1, 2):
        sleeper = asyncio.ensure_future(announced_or_moved(asyncio.Event(), watch, clock.now(), LONG_SECONDS))
        await announced(asyncio.Event(), VIRTUAL_LOOK_SECONDS)
        clock.set(NOON + timedelta(hours=hours))
        await asyncio.wait_for(sleeper, 1)
        looking = watch._looking
        assert looking is not None
        await asyncio.wait_for(looking, 1)


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock(NOON)])
async def test_a_clock_that_stands_or_is_the_worlds_own_wakes_nobody(clock: SystemClock | ManualClock) -> None:
    event = asyncio.Event()
    await asyncio.wait_for(announced_or_moved(event, ClockWatch(clock), clock.now(), 0.02), 1)
    assert not event.is_set()
