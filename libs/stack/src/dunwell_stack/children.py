"""Child processes: started on a leash in a group of their own, and ended with all that they started.

Owns: start, stop, ports. Refuses: knowing what the process is for.
"""

# ruff: noqa: S603 - the caller's program is the purpose, never a shell's
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from dunwell_stack.choice import StackUnavailable

_LEASH = Path(__file__).with_name("leash.py")


@dataclass(frozen=True, slots=True)
class User:
    """The user that a program runs as when this process is root and the program refuses root."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, its output appended to a file.

    It gets `death_signal` when the calling **thread** ends, so call from one that lives as long as the program.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    owner = f"{user.uid}:{user.gid}" if user else "-"
    leash = [sys.executable, "-I", "-S", str(_LEASH), str(int(death_signal)), str(os.getpid()), owner]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*leash, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], gentle: signal.Signals, grace_seconds: float) -> None:
    """Ask a process to end, then make sure that its whole group is gone."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(gentle)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that were free on 127.0.0.1 a moment ago, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def demand_free(port: int, part: str, variable: str) -> None:
    """Raise StackUnavailable, naming who holds it where that can be seen, when a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            holder = _holder(port)
            raise StackUnavailable(
                f"{part} cannot start: port {port} is taken by {holder}; end it or set {variable}"
            ) from error


def check_alive(process: subprocess.Popen[bytes], *, what: str, log: Path, deadline: float) -> None:
    """Raise StackUnavailable when a starting process has died or its time is up."""
    if process.poll() is not None:
        raise StackUnavailable(f"{what} ended with {process.returncode} while starting: {last_line(log)} ({log})")
    if time.monotonic() > deadline:
        raise StackUnavailable(f"{what} did not get ready in time: {last_line(log)} ({log})")


def last_line(log: Path) -> str:
    """Return the last line with content of a log, for a one-line error."""
    if not log.exists():
        return "it wrote nothing"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it wrote nothing"


def _holder(port: int) -> str:
    """Name the process that listens on a port, from /proc; `another process` where that cannot be seen."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
            # Column 1 is address:port in hexadecimal, 3 the state (0A listens), 9 the socket's inode.
            inodes |= {f"socket:[{r[9]}]" for r in rows if r[3] == "0A" and int(r[1].split(":")[1], 16) == port}
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with suppress(OSError):
            if str(link.readlink()) in inodes:
                pid = link.parts[2]
                name = Path("/proc", pid, "comm").read_text().strip()
                return f"{name} (process {pid})"
    return "another process"
