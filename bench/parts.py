"""The real parts of a run: Kafka and Postgres started when a metric first asks, and the processes under test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cores import Cores, cpu_seconds, pinned
from dunwell_kit.clock import monotonic
from dunwell_stack import Stack, StackUnavailable
from dunwell_stack.children import end, free_ports, last_line, spawn

_STOP_SECONDS = 10.0


class Process:
    """One process under test, on the subject's core."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used; StackUnavailable, with its last words, when it is gone."""
        if self._process.poll() is not None:
            raise StackUnavailable(f"a process under test ended: {last_line(self._log)} ({self._log})")
        return cpu_seconds(self._process.pid)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stop it while the block lasts, so that it finds the work all at once afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@dataclass(slots=True)
class Parts:
    """What the metrics of one run share.

    Args:
        folder: Data and logs; deleted data of earlier runs.
    """

    folder: Path
    cores: Cores
    _stack: Stack | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def stack(self) -> Stack:
        """Kafka and Postgres, on the cores that the subject does not use."""
        if self._stack is None:
            with pinned(self.cores.others):
                stack = Stack(self.folder / "stack", fresh=True)
                self._stack = stack.start()
            self._open.callback(stack.erase)
            self._open.callback(stack.stop)
        return self._stack

    @property
    def started(self) -> bool:
        """True when a metric has asked for the real parts."""
        return self._stack is not None

    @contextmanager
    def process(self, *arguments: str, **variables: str) -> Iterator[Process]:
        """Run a Python program (`-m name`) with extra variables while the block lasts."""
        log = self.folder / "logs" / f"{'-'.join(arguments).strip('-').replace('/', '-')}.log"
        environment: Mapping[str, str] = {**_quiet(), **variables}
        with pinned(self.cores.subject):
            child = spawn([sys.executable, *arguments], log=log, env=environment)
        try:
            yield Process(child, log)
        finally:
            # A process that an error left stopped would not see the gentle signal.
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
            end(child, signal.SIGTERM, _STOP_SECONDS)

    def close(self) -> None:
        """Stop and delete what was started."""
        self._open.close()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    return free_ports(1)[0]


def _quiet() -> dict[str, str]:
    """Return this environment without what would switch telemetry on or choose other parts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DUNWELL_"))}


class Deadline:
    """Says when waiting has become pointless."""

    def __init__(self, seconds: float, what: str) -> None:
        self._until, self._seconds, self._what = monotonic() + seconds, seconds, what

    def check(self) -> None:
        """Raise StackUnavailable past the deadline."""
        if monotonic() > self._until:
            raise StackUnavailable(f"{self._what}: not done within {self._seconds:g} s")
