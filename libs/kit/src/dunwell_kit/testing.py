"""What tests of services share: a fresh kit database, records on Kafka, and the one way to wait.

Owns: the only sleep of the tests. Refuses: stand-ins for our own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Protocol

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf.message import Message

from dunwell_contracts.catalogue import carried_message
from dunwell_contracts.envelope import Envelope
from dunwell_kit.clock import monotonic
from dunwell_kit.database import SHARD_COUNT
from dunwell_kit.migrate import SHARDS, kit_schema
from dunwell_kit.settings import KitSettings

# Short enough that a wait costs a test nothing, long enough that a condition with a query does not flood.
POLL_SECONDS = 0.02


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


async def make_kit_tables(dsn: str) -> None:
    """Create the kit's tables and shards in an empty database, as a service's first migration does."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(kit_schema())
        await connection.execute(SHARDS.replace(":last", str(SHARD_COUNT - 1)))
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


async def records_of(bootstrap: str, topics: Iterable[str]) -> list[ConsumerRecord[bytes, bytes]]:
    """Return all that the topics hold now, in order of partition and offset."""
    client = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await client.start()
    try:
        places = [
            TopicPartition(t, p) for t in topics for p in client.partitions_for_topic(t) or await _parts(client, t)
        ]
        client.assign(places)
        ends = await client.end_offsets(places)
        await client.seek_to_beginning(*places)
        found: list[ConsumerRecord[bytes, bytes]] = []
        while [tp for tp in places if await client.position(tp) < ends[tp]]:
            for records in (await client.getmany(timeout_ms=200)).values():
                found += records
        return sorted(found, key=lambda r: (r.topic, r.partition, r.offset))
    finally:
        await client.stop()


async def _parts(client: AIOKafkaConsumer, topic: str) -> set[int]:
    client.subscribe([topic])
    await wait_until(lambda: client.partitions_for_topic(topic))
    parts: set[int] = client.partitions_for_topic(topic) or set()
    client.unsubscribe()
    return parts
