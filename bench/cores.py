"""Which core runs what: the subject has one for itself, the load and the real parts have the others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The split of this machine's cores; both sides are the same on a machine with one."""

    subject: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_machine(cls) -> Cores:
        """Split the cores that this process may use."""
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(rest or {first}))

    @property
    def apart(self) -> bool:
        """True when the subject has its core for itself."""
        return not self.subject & self.others


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Run this thread, and what it starts, on some cores while the block lasts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and all its threads have used, to the nanosecond.

    Source: clock_getcpuclockid(3): Linux spells the clock of a process as its inverted id, shifted, and type 2.
    """
    return time.clock_gettime((~pid << 3) | 2)
