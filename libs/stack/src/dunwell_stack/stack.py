"""The real parts together: started side by side, stopped together.

Owns: the life of Kafka and Postgres for a demo, a test session or a bench. Refuses: the services; see processes.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from dunwell_stack.choice import StackChoice
from dunwell_stack.docker import DockerKafka, DockerPostgres
from dunwell_stack.kafka import Kafka
from dunwell_stack.postgres import Postgres


class _Part(Protocol):
    description: str

    def prepare(self) -> None: ...
    def start(self) -> None: ...
    def wait(self) -> None: ...
    def stop(self) -> None: ...
    def erase(self) -> None: ...


class Stack:
    """Kafka and Postgres, by the way that the environment asks for.

    Args:
        data_dir: Where data and logs live, in `kafka` and `postgres`; kept between starts.
        kafka_port: Fixed port; None takes `DUNWELL_KAFKA_PORT`, else a free one.
        postgres_port: Fixed port; None takes `DUNWELL_POSTGRES_PORT`, else a free one.
        fresh: Delete what an earlier start left in data_dir.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        kafka_port: int | None = None,
        postgres_port: int | None = None,
        fresh: bool = False,
        choice: StackChoice | None = None,
    ) -> None:
        self._choice = choice or StackChoice.from_environment(os.environ)
        self._fresh = fresh
        kafka_port = self._choice.kafka_port or kafka_port
        postgres_port = self._choice.postgres_port or postgres_port
        cache = self._choice.cache_dir or data_dir / "cache"
        docker = self._choice.way == "docker"
        self._kafka = (
            DockerKafka(kafka_port)
            if docker
            else Kafka(data_dir / "kafka", cache, kafka_port, wheels_only=self._choice.wheels_only)
        )
        self._postgres = (
            DockerPostgres(postgres_port)
            if docker
            else Postgres(data_dir / "postgres", postgres_port, wheels_only=self._choice.wheels_only)
        )
        self._parts: list[_Part] = []
        if self._choice.kafka_bootstrap is None:
            self._parts.append(self._kafka)
        if self._choice.postgres_dsn is None:
            self._parts.append(self._postgres)

    @property
    def kafka_bootstrap(self) -> str:
        """Kafka's address, as `host:port`."""
        return self._choice.kafka_bootstrap or self._kafka.bootstrap

    @property
    def postgres_dsn(self) -> str:
        """The superuser's address, `postgresql://postgres@host:port/postgres` where we started it."""
        return self._choice.postgres_dsn or self._postgres.dsn

    @property
    def description(self) -> str:
        """One line that says which way was taken."""
        given = {"Kafka": self._choice.kafka_bootstrap, "Postgres": self._choice.postgres_dsn}
        told = [f"{name} given by the environment" for name, address in given.items() if address]
        return "; ".join(told + [part.description for part in self._parts])

    def start(self) -> Stack:
        """Start both and return when both serve; StackUnavailable, with nothing left running, when one cannot.

        Call from a thread that lives as long as the stack should: the parts end with it.
        """
        try:
            self._prepare()
            self._launch()
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what was started, side by side; safe to call twice."""
        atexit.unregister(self.stop)
        _side_by_side([part.stop for part in self._parts])

    def erase(self) -> None:
        """Delete the data of what this stack starts; call it only while nothing runs."""
        for part in self._parts:
            part.erase()

    def _prepare(self) -> None:
        if self._fresh:
            self.erase()
        _side_by_side([part.prepare for part in self._parts])

    def _launch(self) -> None:
        atexit.register(self.stop)
        for part in self._parts:
            part.start()

    def _wait(self) -> None:
        _side_by_side([part.wait for part in self._parts])

    async def _start_from_loop(self) -> None:
        await asyncio.to_thread(self._prepare)
        # In the loop's own thread: a process ends with the thread that started it.
        self._launch()
        await asyncio.to_thread(self._wait)


@asynccontextmanager
async def running_stack(
    data_dir: Path,
    *,
    kafka_port: int | None = None,
    postgres_port: int | None = None,
    fresh: bool = False,
    choice: StackChoice | None = None,
) -> AsyncIterator[Stack]:
    """Run a stack for as long as the block lasts, also when it is cancelled; arguments as for Stack."""
    stack = Stack(data_dir, kafka_port=kafka_port, postgres_port=postgres_port, fresh=fresh, choice=choice)
    try:
        await stack._start_from_loop()
        yield stack
    finally:
        # Blocking on purpose: a second Ctrl-C must not leave a half-stopped stack behind.
        stack.stop()


def _side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    """Run calls at the same time; the first error is raised after all have ended."""
    if not calls:
        return
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
    for future in futures:
        future.result()
