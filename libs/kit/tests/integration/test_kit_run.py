from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from dunwell.payment.v1 import payment_pb2
from dunwell_kit.clock import SystemClock
from dunwell_kit.database import Database, Tx
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_kit.testing import wait_until

pytestmark = pytest.mark.integration
SERVICE = Path(__file__).with_name("tiny_service.py")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def environment(kit_dsn: str, catalogue_on_kafka: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DUNWELL_", "OTEL_"))}
    return {
        **kept,
        "DUNWELL_ANALYTICS_DATABASE_URL": kit_dsn,
        "DUNWELL_KAFKA_BOOTSTRAP": catalogue_on_kafka,
        "DUNWELL_ANALYTICS_HTTP_PORT": str(free_port()),
    }


@asynccontextmanager
async def started(environment: dict[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVICE), env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def words_of(process: Process) -> list[str]:
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert out == b""
    return err.decode().splitlines()


async def until_ready(environment: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{environment['DUNWELL_ANALYTICS_HTTP_PORT']}/health/ready"
    async with httpx.AsyncClient() as client:

        async def ready() -> bool:
            try:
                return (await client.get(url)).status_code == 200
            except httpx.TransportError:
                return False

        await wait_until(ready, 30)


async def test_every_role_works_and_sigterm_ends_it_cleanly(
    environment: dict[str, str], kit_database: Database, tenant: str
) -> None:
    async def work(tx: Tx) -> None:
        message = payment_pb2.PayerChanged(origin=payment_pb2.Origin(tenant_id=tenant))
        tx.emit(message, key=f"{tenant}:p")
        tx.set_timer(TimerSet(f"{tenant}:p", "attempt", SystemClock().now()))
        tx.record_effect(EffectRecorded("charge", tenant, f"{tenant}:p", {}))

    await kit_database.transact(work)
    async with started(environment) as process:
        await until_ready(environment)

        async def all_three() -> bool:
            rows = await kit_database.read("SELECT what FROM seen WHERE key = :key", key=f"{tenant}:p")
            return {row["what"] for row in rows} == {"event", "timer", "effect"}

        await wait_until(all_three, 30)
        process.send_signal(signal.SIGTERM)
        assert await words_of(process) == []
        assert process.returncode == 0
    (row,) = await kit_database.read("SELECT count(*) AS n FROM outbox_cursor WHERE lease_until > now()")
    assert row["n"] == 0


async def test_sigterm_at_the_start_ends_it_cleanly_too(environment: dict[str, str]) -> None:
    async with started({**environment, "DUNWELL_ROLES": "api"}) as process:
        await until_ready(environment)
        process.send_signal(signal.SIGINT)
        assert await words_of(process) == []
        assert process.returncode == 0


WRONG: dict[str, dict[str, str | None]] = {
    "Postgres does not answer": {"DUNWELL_ANALYTICS_DATABASE_URL": "postgresql://u@127.0.0.1:1/none"},
    "DUNWELL_KAFKA_BOOTSTRAP is not set": {"DUNWELL_KAFKA_BOOTSTRAP": None},
    "DUNWELL_ROLES names 'cook'": {"DUNWELL_ROLES": "cook"},
    "no failpoint": {"DUNWELL_FAILPOINTS": "nowhere=kill"},
}


@pytest.mark.parametrize("says", WRONG)
async def test_what_is_missing_is_said_in_one_line(environment: dict[str, str], says: str) -> None:
    for name, value in WRONG[says].items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    async with started(environment) as process:
        lines = await words_of(process)
        assert process.returncode == 1
    assert len(lines) == 1, lines
    assert says in lines[0]


async def test_a_database_without_its_tables_is_said_in_one_line(
    environment: dict[str, str], fresh_database: Callable[..., str]
) -> None:
    environment["DUNWELL_ANALYTICS_DATABASE_URL"] = fresh_database("bare")
    async with started(environment) as process:
        (line,) = await words_of(process)
        assert process.returncode == 1
    assert "not migrated" in line
    assert "dunwell migrate" in line


async def test_a_silent_kafka_ends_the_process_with_one_line(environment: dict[str, str]) -> None:
    environment["DUNWELL_KAFKA_BOOTSTRAP"] = "127.0.0.1:1"
    async with started({**environment, "DUNWELL_ROLES": "relay"}) as process:
        (line,) = await words_of(process)
        assert process.returncode == 1
    said = json.loads(line)
    assert said["role"] == "relay"
    assert "is DUNWELL_KAFKA_BOOTSTRAP right" in said["error"]


async def test_a_taken_port_ends_the_process_with_one_line(environment: dict[str, str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(environment["DUNWELL_ANALYTICS_HTTP_PORT"])))
        holder.listen()
        async with started({**environment, "DUNWELL_ROLES": "api"}) as process:
            (line,) = await words_of(process)
            assert process.returncode == 1
    assert "is it taken?" in json.loads(line)["error"]
