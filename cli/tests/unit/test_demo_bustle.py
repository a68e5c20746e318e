"""When a look is worth it: at once when all rest, not while one is at work, and after a while in any case."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from dunwell_cli.demo import bustle
from dunwell_cli.demo.bustle import ASLEEP_SECONDS, PAUSE_SECONDS_BLIND, PAUSE_SECONDS_MAX, Bustle, cpu_seconds

# A child that spins or rests until its input ends; it says when it has begun.
RESTS = "print(flush=True); input()"
SPINS = "import threading; print(flush=True); threading.Thread(target=input).start()\nwhile threading.active_count() > 1: pass"


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does what the parameter says."""
    with subprocess.Popen([sys.executable, "-c", request.param], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def settled_after(watched: Bustle) -> float:
    begun = time.monotonic()
    await watched.settled()
    return time.monotonic() - begun


@pytest.mark.parametrize("child", [RESTS], indirect=True)
async def test_processes_that_rest_are_soon_seen_to(child: subprocess.Popen[bytes]) -> None:
    watched = Bustle(lambda: [child.pid])
    await watched.settled()
    used = cpu_seconds(child.pid)
    assert await settled_after(watched) < PAUSE_SECONDS_MAX
    assert cpu_seconds(child.pid) - used < ASLEEP_SECONDS


@pytest.mark.parametrize("child", [SPINS], indirect=True)
async def test_a_process_at_work_is_waited_for_but_not_for_ever(child: subprocess.Popen[bytes]) -> None:
    watched = Bustle(lambda: [child.pid])
    assert PAUSE_SECONDS_MAX <= await settled_after(watched) < 10 * PAUSE_SECONDS_MAX
    used = cpu_seconds(child.pid)
    await watched.settled()
    assert ASLEEP_SECONDS < cpu_seconds(child.pid) - used < 10 * PAUSE_SECONDS_MAX


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.parametrize("child", [RESTS], indirect=True)
async def test_one_that_died_is_replaced_by_those_that_run_now(child: subprocess.Popen[bytes], gone: int) -> None:
    running = [gone]
    watched = Bustle(lambda: running)
    assert watched.used() >= ASLEEP_SECONDS
    assert watched.used() >= ASLEEP_SECONDS
    running[:] = [child.pid]
    assert watched.used() >= ASLEEP_SECONDS
    await watched.settled()
    assert watched.used() < PAUSE_SECONDS_MAX


async def test_nobody_to_watch_is_nobody_who_rests() -> None:
    assert await settled_after(Bustle(list)) >= PAUSE_SECONDS_MAX


async def test_elsewhere_a_look_is_made_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bustle.sys, "platform", "darwin")
    assert PAUSE_SECONDS_BLIND <= await settled_after(Bustle(list)) < PAUSE_SECONDS_MAX
