"""Business time: real by default, virtual when a time-lapse drives it.

Owns: every look at a clock. Refuses: time zones; all instants are aware UTC.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

# One little-endian signed 64-bit count of microseconds since 1970-01-01T00:00Z.
_FORMAT = struct.Struct("<q")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_FILE_VARIABLE = "DUNWELL_CLOCK_FILE"


class Clock(Protocol):
    """Tells business time."""

    @property
    def virtual(self) -> bool:
        """True when the time is set by a driver and not by the world."""
        ...

    def now(self) -> datetime:
        """Return the aware UTC instant."""
        ...


class SystemClock:
    """The machine's clock."""

    virtual = False

    def now(self) -> datetime:
        """Return the aware UTC instant."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that a test sets by hand."""

    virtual = True

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the instant last set."""
        return self._at

    def set(self, at: datetime) -> None:
        """Move to an instant, which may lie before the present one."""
        self._at = at

    def advance(self, by: timedelta) -> None:
        """Move on by a span."""
        self._at += by


class FileClock:
    """Reads the virtual instant from a small memory-mapped file, without a system call."""

    virtual = True

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), _FORMAT.size, access=mmap.ACCESS_READ)
        self._written, self._now = b"", _EPOCH

    def now(self) -> datetime:
        """Return the instant last written by the driver."""
        written = self._map[:]
        # Asked many times between two steps of the driver, so what has not changed is not read again.
        if written != self._written:
            self._now = _EPOCH + timedelta(microseconds=_FORMAT.unpack(written)[0])
            self._written = written
        return self._now

    def writes(self) -> Any:
        """Return an open inotify that is readable after each write, None where the kernel does not tell."""
        if sys.platform != "linux":
            return None
        # Loaded here, since it is Linux's only; and it has no types.
        simple = import_module("inotify_simple")
        try:
            told = simple.INotify(nonblocking=True)
            told.add_watch(self._path, simple.flags.MODIFY)
        except OSError:
            # Limits of the machine on watches; whoever asks looks by himself then.
            return None
        return told


class ClockWriter:
    """The driver's side of a clock file."""

    def __init__(self, path: Path, at: datetime) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_FORMAT.pack(_microseconds(at)))
        self._file = os.open(path, os.O_WRONLY)
        self._at = at

    def now(self) -> datetime:
        """Return the instant last written."""
        return self._at

    def set(self, at: datetime) -> None:
        """Write an instant; ValueError when it would run backwards."""
        if at < self._at:
            raise ValueError(f"the virtual clock cannot go back from {self._at} to {at}")
        self._at = at
        # By a call and not through a map: of that the kernel tells those who sleep.
        os.pwrite(self._file, _FORMAT.pack(_microseconds(at)), 0)

    def close(self) -> None:
        """Let go of the file; readers keep the last instant."""
        os.close(self._file)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def clock_from_environment() -> Clock:
    """Return the virtual clock that `DUNWELL_CLOCK_FILE` names, else the machine's."""
    path = os.environ.get(CLOCK_FILE_VARIABLE)
    return FileClock(Path(path)) if path else SystemClock()


def monotonic() -> float:
    """Return seconds that only ever grow: for deadlines and durations, never for business time."""
    return time.monotonic()
