"""What tests of services share: a fresh kit database, records on Kafka, and the one way to wait.

Owns: the only sleep of the tests. Refuses: stand-ins for our own code.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf.message import Message

from dunwell_contracts.catalogue import carried_message
from dunwell_contracts.envelope import Envelope
from dunwell_kit.clock import monotonic
from dunwell_kit.migrate import SHARDS, kit_schema, provision
from dunwell_kit.outputs import SHARD_COUNT
from dunwell_kit.settings import KitSettings

# Short enough that a wait costs a test nothing, long enough that a condition with a query does not flood.
POLL_SECONDS = 0.02
# The shards of a migration, with their number filled in.
SHARDS_NOW = SHARDS.replace(":last", str(SHARD_COUNT - 1))


async def wait_until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Return once the condition (a function or coroutine function) is true; AssertionError past `seconds`."""
    deadline = monotonic() + seconds
    while True:
        answer = condition()
        if await answer if isawaitable(answer) else answer:
            return
        if monotonic() > deadline:
            raise AssertionError(f"not true within {seconds} s: {getattr(condition, '__qualname__', condition)}")
        await asyncio.sleep(POLL_SECONDS)


class Looped(Protocol):
    """Relay, Consumer, Timers, Effects: what runs until told to stop."""

    def run(self, stop: asyncio.Event) -> Awaitable[None]:
        """Run until `stop` is set."""
        ...


@asynccontextmanager
async def running(*loops: Looped) -> AsyncIterator[None]:
    """Run loops while the block runs; an error of theirs that nobody expected fails the test."""
    stop = asyncio.Event()
    tasks = [asyncio.ensure_future(loop.run(stop)) for loop in loops]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def migrated(postgres_dsn: str, service: str) -> AsyncIterator[tuple[str, str]]:
    """Make a migrated database of a service; yields (its role's URL, a superuser's URL) and drops it at the end.

    Args:
        postgres_dsn: A superuser's URL.
    """
    name = f"{service}_{secrets.token_hex(6)}"
    # One password for all workers: the role is the server's, so the last one set counts.
    url = await provision(postgres_dsn, service, database=name, password="for tests")  # noqa: S106
    yield url, urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


async def emptied(superuser_url: str) -> None:
    """Delete every row of a migrated database but its shards."""
    connection = await asyncpg.connect(superuser_url)
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace AND relname NOT IN ('alembic_version', 'outbox_cursor')"
    )
    # Few rows are deleted faster than many files are truncated; `replica` leaves foreign keys aside.
    deletions = "; ".join(f"DELETE FROM {row['relname']}" for row in rows)  # noqa: S608 - names from the catalogue
    await connection.execute(f"SET session_replication_role = replica; {deletions}")
    await connection.close()


async def make_kit_tables(dsn: str) -> None:
    """Create the kit's tables and shards in an empty database, as a service's first migration does."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(kit_schema())
        await connection.execute(SHARDS_NOW)
    finally:
        await connection.close()


def settings_of(service: str, dsn: str, bootstrap: str, **changes: object) -> KitSettings:
    """Return settings with short leases and polls; `changes` replace any of them."""
    made = KitSettings(
        service=service,
        database_url=dsn,
        kafka_bootstrap=bootstrap,
        http_host="127.0.0.1",
        http_port=0,
        roles=("relay", "consumer", "timers", "effects"),
        lease_seconds=3,
        linger_seconds=0,
        poll_seconds=0.02,
        pool_size=8,
        commit_to_kafka_seconds=3600,
        session_seconds=10,
        cell="test",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def make_topic(bootstrap: str, name: str, partitions: int = 3) -> str:
    """Create a topic and return its name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])

        async def listed() -> bool:
            return name in await admin.list_topics()

        await wait_until(listed)
    finally:
        await admin.close()
    return name


def envelope_for(message: Message, *, event_id: str, key: str, at: datetime | None = None, case: str = "") -> Envelope:
    """Return an envelope for a message of the catalogue."""
    return Envelope(
        id=event_id,
        type=carried_message(message).type,
        source="dunwell/test",
        time=at or datetime(2026, 3, 1, 9, tzinfo=UTC),
        key=key,
        correlation_id=case,
        sequence=1,
    )


@asynccontextmanager
async def kafka_producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """Open a plain producer for a test's records."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


class Tail:
    """Reads one topic from its end as it was when the tail began."""

    def __init__(self, client: AIOKafkaConsumer) -> None:
        self._client = client
        self.records: list[ConsumerRecord[bytes, bytes]] = []

    async def keys_of(self, tenant: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Return the records so far whose key is of a tenant, after one more look."""
        for records in (await self._client.getmany(timeout_ms=50)).values():
            self.records += records
        return [r for r in self.records if (r.key or b"").startswith(f"{tenant}:".encode())]


@asynccontextmanager
async def tail(bootstrap: str, topic: str) -> AsyncIterator[Tail]:
    """Open a tail of a topic."""
    client = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, enable_auto_commit=False)
    await client.start()
    try:
        await wait_until(client.assignment)
        places = list(client.assignment())
        for place, end in (await client.end_offsets(places)).items():
            client.seek(place, end)
        yield Tail(client)
    finally:
        await client.stop()
