"""Pytest fixtures: one stack for the whole session, one database for each that asks.

Owns: `stack`, `kafka_bootstrap`, `postgres_dsn`, `fresh_database`. Activate with `-p dunwell_stack.pytest_plugin`.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from dunwell_stack.choice import StackChoice
from dunwell_stack.stack import Stack

# The slowest worker may be in a long test when the first is done.
_OTHERS_SECONDS_MAX = 900.0


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Real Kafka and Postgres, started once for the session, shared by all workers of pytest-xdist."""
    choice = StackChoice.from_environment(os.environ)
    if choice.cache_dir is None:
        choice = replace(choice, cache_dir=request.config.rootpath / "var" / "cache")
    # Ports of `make up` must not be asked for by tests that run beside it.
    choice = replace(choice, kafka_port=None, postgres_port=None)
    folder = request.config.rootpath / "var" / "test-stacks"
    if "PYTEST_XDIST_WORKER" in os.environ and choice.way != "given":
        with _shared(tmp_path_factory.getbasetemp().parent / "stack", folder, choice) as shared:
            yield shared
    else:
        with _own(folder, choice) as own:
            yield own


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: Stack) -> str:
    """Address of a real Kafka."""
    return stack.kafka_bootstrap


@pytest.fixture(scope="session")
def postgres_dsn(stack: Stack) -> str:
    """Superuser's address of a real Postgres."""
    return stack.postgres_dsn


@pytest.fixture(scope="session")
def fresh_database(postgres_dsn: str) -> Iterator[Callable[..., str]]:
    """Make an empty database at each call and return its address; `name` only helps whoever looks at it."""
    made: list[str] = []

    def make(name: str = "test") -> str:
        unique = f"{name}_{secrets.token_hex(6)}"
        run_sql(postgres_dsn, f'CREATE DATABASE "{unique}"')
        made.append(unique)
        return urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{unique}"))

    yield make
    for name in made:
        run_sql(postgres_dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def run_sql(dsn: str, statement: str) -> None:
    """Run one statement outside a transaction, from synchronous code, inside a running loop or not."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # An own thread, since a session's loop may be running in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run()).result()


@contextmanager
def _own(folder: Path, choice: StackChoice) -> Iterator[Stack]:
    """Run a stack whose data goes away with it, and sweep what killed sessions left behind."""
    for left in folder.glob("[0-9]*"):
        if not _alive(left):
            Stack(left, choice=choice).erase()
            shutil.rmtree(left, ignore_errors=True)
    data = folder / str(os.getpid())
    stack = Stack(data, choice=choice, fresh=True)
    try:
        yield stack.start()
    finally:
        stack.stop()
        stack.erase()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _shared(meeting: Path, folder: Path, choice: StackChoice) -> Iterator[Stack]:
    """Share one stack between workers: the first starts it, and stops it when the others are done."""
    meeting.mkdir(exist_ok=True)
    address, mine = meeting / "address.json", meeting / f"{os.getpid()}.user"
    owned = ExitStack()
    stack: Stack | None = None
    with (meeting / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            stack = owned.enter_context(_own(folder, choice))
            address.write_text(json.dumps([stack.kafka_bootstrap, stack.postgres_dsn]))
        mine.touch()
    try:
        kafka, postgres = json.loads(address.read_text())
        yield stack or Stack(folder, choice=StackChoice("given", kafka, postgres))
    finally:
        mine.unlink(missing_ok=True)
        if stack is not None:
            deadline = time.monotonic() + _OTHERS_SECONDS_MAX
            while any(_alive(user) for user in meeting.glob("*.user")) and time.monotonic() < deadline:
                time.sleep(0.1)
            owned.close()


def _alive(user: Path) -> bool:
    """Tell whether the process that a file or folder is named after still runs."""
    return Path("/proc", user.stem).exists() or not Path("/proc").exists()
