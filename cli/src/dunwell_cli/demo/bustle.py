"""Are the fleet's processes at work? Asked of the kernel, so that the stores are not asked in vain while they are.

Owns: when it is worth looking. Refuses: whether all is quiet; only the stores know that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable

# So long is looked back. A busy pipeline rests no longer, but for calls that hang.
STEP_SECONDS = 0.004
# In so much CPU of a step no process has done more than turn over in its sleep.
ASLEEP_SECONDS = 0.0002
# Nobody waits longer for a look, however busy all seem: one process may spin and nothing be left to do.
PAUSE_SECONDS_MAX = 0.1
# Where the kernel does not tell; looking more often would slow what is waited for.
PAUSE_SECONDS_BLIND = 0.012


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process of ours so far; OSError when it is gone.

    Source: Linux, include/linux/posix-timers_types.h, MAKE_PROCESS_CPUCLOCK with CPUCLOCK_SCHED, which is what
    clock_getcpuclockid(3) returns; nanoseconds, where /proc counts in hundredths of a second.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


class Bustle:
    """Watches processes, which may come and go.

    Args:
        pids: Returns the ids of those that run now.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._used: dict[int, float] = {}

    def used(self) -> float:
        """Return the CPU seconds they used since the last call; one that came or went counts as busy."""
        try:
            now = {pid: cpu_seconds(pid) for pid in self._used}
        except OSError:
            now = {}
        if not now:
            self._used = dict.fromkeys(self._pids(), 0.0)
            return ASLEEP_SECONDS
        spent = sum(now.values()) - sum(self._used.values())
        self._used = now
        return spent

    async def settled(self) -> None:
        """Return once they seem to rest, or after a while all the same."""
        if sys.platform != "linux":
            await asyncio.sleep(PAUSE_SECONDS_BLIND)
            return
        end = time.monotonic() + PAUSE_SECONDS_MAX
        self.used()
        while time.monotonic() < end:
            await asyncio.sleep(STEP_SECONDS)
            if self.used() < ASLEEP_SECONDS:
                return
