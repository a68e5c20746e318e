"""Service processes: kept alive while they are wanted, killed on request.

Owns: start, restart with back-off, chaos, readiness. Refuses: what the processes do.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dunwell_stack.children import end, last_line, spawn
from dunwell_stack.choice import StackUnavailable

_BACKOFF_SECONDS_MIN = 0.2
_BACKOFF_SECONDS_MAX = 2.0
# A process that lived so long was healthy: its next restart comes fast again.
_HEALTHY_SECONDS = 5.0
# A service drains its work in flight within this; then it is killed.
_STOP_SECONDS_MAX = 8.0


@dataclass(slots=True)
class _Child:
    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None
    log: Path
    wanted: threading.Event = field(default_factory=threading.Event)
    changed: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread | None = None
    starts: int = 0


class Supervisor:
    """Runs named processes and starts again those that die; usable from any thread, also inside a loop."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}

    def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path) -> None:
        """Start a process and keep it alive; output is appended to a file. The whole environment is `env`."""
        if name in self._children and self._children[name].wanted.is_set():
            raise ValueError(f"process {name!r} runs already")
        child = _Child(name, argv, env, log)
        child.wanted.set()
        # The keeper's thread spawns and outlives the process: a process ends with the thread that started it.
        child.thread = threading.Thread(target=_keep, args=(child,), name=f"keeper-{name}", daemon=True)
        self._children[name] = child
        child.thread.start()

    def names(self) -> list[str]:
        """Return the processes that are wanted, in the order of their start."""
        return [name for name, child in self._children.items() if child.wanted.is_set()]

    def alive(self, name: str) -> bool:
        """Tell whether a process runs at this moment."""
        process = self._children[name].process
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int | None:
        """Return the process id, None between a death and the restart."""
        process = self._children[name].process
        return process.pid if process is not None and process.poll() is None else None

    def starts(self, name: str) -> int:
        """Return how often a process was started, the first start included."""
        return self._children[name].starts

    def kill(self, name: str, with_signal: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal, for chaos; the process is started again. False when it was not running."""
        process = self._children[name].process
        if process is None or process.poll() is not None:
            return False
        process.send_signal(with_signal)
        return True

    def stop(self, name: str) -> None:
        """End one process and do not start it again."""
        child = self._children[name]
        child.wanted.clear()
        child.changed.set()
        if child.thread is not None:
            child.thread.join()

    def stop_all(self) -> None:
        """End all processes side by side; safe to call twice."""
        for child in self._children.values():
            child.wanted.clear()
            child.changed.set()
        for child in self._children.values():
            if child.thread is not None:
                child.thread.join()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()


def _keep(child: _Child) -> None:
    backoff = _BACKOFF_SECONDS_MIN
    while child.wanted.is_set():
        started = time.monotonic()
        child.process = spawn(child.argv, env=child.env, log=child.log)
        child.starts += 1
        while child.wanted.is_set() and child.process.poll() is None:
            # Short enough that a death is seen at once, long enough to cost nothing.
            child.changed.wait(0.05)
        if not child.wanted.is_set():
            break
        # The rest of its group must not outlive it.
        end(child.process, signal.SIGKILL, 0)
        lived = time.monotonic() - started
        backoff = _BACKOFF_SECONDS_MIN if lived >= _HEALTHY_SECONDS else min(backoff * 2, _BACKOFF_SECONDS_MAX)
        child.changed.wait(backoff)
    if child.process is not None:
        end(child.process, signal.SIGTERM, _STOP_SECONDS_MAX)


def wait_http_ready(url: str, *, seconds: float, log: Path | None = None) -> None:
    """Wait until a URL answers 2xx; blocking, so call it through `asyncio.to_thread` inside a loop.

    Raises:
        StackUnavailable: It did not within the time; the message ends with the log's last line if one is given.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no http address")
    deadline = time.monotonic() + seconds
    told = "no answer"
    while time.monotonic() < deadline:
        try:
            with suppress(TimeoutError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 - checked above
                return
        except urllib.error.HTTPError as error:
            told = f"HTTP {error.code}"
            error.close()
        except OSError as error:
            told = str(error)
        time.sleep(0.05)
    ending = f"; its log ends with: {last_line(log)}" if log else ""
    raise StackUnavailable(f"{url} is not ready after {seconds:g} s: {told}{ending}")
