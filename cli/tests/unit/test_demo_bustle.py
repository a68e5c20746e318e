"""When a look is worth it: at once when all rest, not while one is at work, and after a while in any case."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time

import pytest

from dunwell_cli.demo import bustle
from dunwell_cli.demo.bustle import ASLEEP_SECONDS, PAUSE_SECONDS_BLIND, PAUSE_SECONDS_MAX, Bustle, cpu_seconds


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


async def settled_after(watched: Bustle) -> float:
    begun = time.monotonic()
    await watched.settled()
    return time.monotonic() - begun


def working(monkeypatch: pytest.MonkeyPatch, seconds_a_look: float) -> Bustle:
    """Two processes of which each has used so much more at each look."""
    used = {pid: itertools.count(seconds_a_look, seconds_a_look) for pid in (1, 2)}
    monkeypatch.setattr(bustle, "cpu_seconds", lambda pid: next(used[pid]))
    return Bustle(lambda: [1, 2])


def test_the_kernel_counts_what_a_process_uses_and_nothing_while_it_rests() -> None:
    before, own = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - own < 0.02:
        pass
    assert 0.02 <= cpu_seconds(os.getpid()) - before <= time.process_time() - own + 0.01


def test_a_process_that_is_gone_has_no_clock(gone: int) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_seconds(gone)


async def test_processes_that_rest_are_soon_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = working(monkeypatch, ASLEEP_SECONDS / 10)
    await watched.settled()
    assert await settled_after(watched) < PAUSE_SECONDS_MAX


async def test_a_process_at_work_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = working(monkeypatch, ASLEEP_SECONDS)
    for _ in range(2):
        assert PAUSE_SECONDS_MAX <= await settled_after(watched) < 20 * PAUSE_SECONDS_MAX


def test_what_was_used_is_counted_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = working(monkeypatch, 0.25)
    assert watched.used() == ASLEEP_SECONDS  # They are met for the first time.
    assert [watched.used() for _ in range(3)] == [0.5, 0.5, 0.5]


def test_one_that_died_is_replaced_by_those_that_run_now(gone: int) -> None:
    running = [gone]
    watched = Bustle(lambda: running)
    assert [watched.used() for _ in range(3)] == [ASLEEP_SECONDS] * 3
    running[:] = [os.getpid()]
    assert watched.used() == ASLEEP_SECONDS
    assert watched.used() > 0


async def test_nobody_to_watch_is_nobody_who_rests() -> None:
    assert await settled_after(Bustle(list)) >= PAUSE_SECONDS_MAX


async def test_elsewhere_a_look_is_made_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bustle.sys, "platform", "darwin")
    monkeypatch.setattr(bustle, "cpu_seconds", None)
    assert await settled_after(Bustle(list)) >= PAUSE_SECONDS_BLIND
