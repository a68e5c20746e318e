"""Waiting: announcements wake at once, a virtual clock that moved wakes everybody, and nobody is looked for in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dunwell_kit.clock import ClockWriter, FileClock, ManualClock, SystemClock
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


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[ClockWriter]:
    """The driver's side of a clock file."""
    written = ClockWriter(tmp_path / "clock", NOON)
    yield written
    written.close()


@pytest.fixture(params=["told", "untold"])
def reader(
    request: pytest.FixtureRequest, writer: ClockWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileClock:
    """A service's side, where the kernel tells of writes and where it does not."""
    if request.param == "untold":
        monkeypatch.setattr(FileClock, "writes", lambda _: None)
    return FileClock(tmp_path / "clock")


async def test_each_step_of_a_clock_file_wakes_every_sleeper_once(reader: FileClock, writer: ClockWriter) -> None:
    watch = ClockWatch(reader)
    for hours in (3, 6, 9):
        events = [asyncio.Event(), asyncio.Event()]
        seen = reader.now()
        sleepers = [asyncio.ensure_future(announced_or_moved(event, watch, seen, LONG_SECONDS)) for event in events]
        await announced(asyncio.Event(), 2 * VIRTUAL_LOOK_SECONDS)
        assert not any(sleeper.done() for sleeper in sleepers)
        writer.set(NOON + timedelta(hours=hours))
        await asyncio.wait_for(asyncio.gather(*sleepers), 1)
        assert all(event.is_set() for event in events)
    watch.close()


async def test_a_step_between_the_look_at_a_clock_file_and_the_sleep_is_not_missed(
    reader: FileClock, writer: ClockWriter
) -> None:
    watch = ClockWatch(reader)
    seen = reader.now()
    writer.set(NOON + timedelta(hours=3))
    await asyncio.wait_for(announced_or_moved(asyncio.Event(), watch, seen, LONG_SECONDS), 1)
    watch.close()


async def test_where_the_kernel_tells_nobody_looks_and_a_closed_watch_wakes_nobody(
    writer: ClockWriter, tmp_path: Path
) -> None:
    watch = ClockWatch(FileClock(tmp_path / "clock"))
    event = asyncio.Event()
    sleeper = asyncio.ensure_future(announced_or_moved(event, watch, NOON, 4 * VIRTUAL_LOOK_SECONDS))
    await announced(asyncio.Event(), VIRTUAL_LOOK_SECONDS)
    assert watch._looking is None
    watch.close()
    writer.set(NOON + timedelta(hours=3))
    await asyncio.wait_for(sleeper, 1)
    assert not event.is_set()
