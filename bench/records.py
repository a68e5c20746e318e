"""Records of the bench's own topics: made, counted, read back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from google.protobuf.message import Message

from bench.bodies import PAYERS
from bench.parts import Deadline
from dunwell_contracts.catalogue import carried_message
from dunwell_contracts.envelope import Envelope
from dunwell_kit.clock import SystemClock
from dunwell_kit.ids import RandomIds
from dunwell_kit.kafka import producer
from dunwell_kit.testing import make_topic

# As a topic of the catalogue has locally.
PARTITIONS = 6
# Far above any slice; past it something is broken.
WAIT_SECONDS = 60.0
# Short against a slice, and the asking runs on another core than the subject.
POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Sendable:
    """One record to send."""

    event_id: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


async def new_topic(bootstrap: str, name: str) -> str:
    """Make a topic that no earlier run has written to, and return its name."""
    return await make_topic(bootstrap, f"bench.{name}.{secrets.token_hex(3)}", PARTITIONS)


def sendables(message: Message, number: int) -> list[Sendable]:
    """Return records of one message with ids of their own, over all payers."""
    clock = SystemClock()
    ids, value, carried = RandomIds(clock), message.SerializeToString(), carried_message(message)
    found = []
    for n in range(number):
        key = f"default:cus_{n % PAYERS}"
        envelope = Envelope(
            str(ids.uuid()), carried.type, "dunwell/bench", clock.now(), key, "in_1", "dlv_1", "dlv_1", sequence=1
        )
        found.append(Sendable(envelope.id, key.encode(), value, envelope.headers()))
    return found


class Topics:
    """Writes and watches topics from outside the subject."""

    def __init__(self, writer: AIOKafkaProducer, watcher: AIOKafkaConsumer) -> None:
        self._writer, self._watcher = writer, watcher

    @classmethod
    @asynccontextmanager
    async def opened(cls, bootstrap: str) -> AsyncIterator[Topics]:
        """Open the clients."""
        writer = producer(bootstrap)
        watcher = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        await writer.start()
        await watcher.start()
        try:
            yield cls(writer, watcher)
        finally:
            await watcher.stop()
            await writer.stop()

    async def write(self, topic: str, records: Iterable[Sendable]) -> None:
        """Send records and wait until all are acknowledged."""
        acks = [await self._writer.send(topic, r.value, key=r.key, headers=r.headers) for r in records]
        await asyncio.gather(*acks)

    async def write_batches(self, topic: str, records: Sequence[Sendable]) -> None:
        """Send records as ready-made batches, spread over the partitions: the cheapest way that the client has."""
        acks = []
        for partition in range(PARTITIONS):
            batch = self._writer.create_batch()
            for record in records[partition::PARTITIONS]:
                added = batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
                if added is None:
                    acks.append(await self._writer.send_batch(batch, topic, partition=partition))
                    batch = self._writer.create_batch()
                    batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
            acks.append(await self._writer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*acks)

    async def count(self, topic: str) -> int:
        """Return how many records a topic has taken so far."""
        return sum((await self._watcher.end_offsets(_places(topic))).values())

    async def wait_for(self, topic: str, number: int) -> None:
        """Return when a topic has taken so many records."""
        deadline = Deadline(WAIT_SECONDS, f"{number} records in {topic}")
        while await self.count(topic) < number:
            deadline.check()
            await asyncio.sleep(POLL_SECONDS)

    async def ids(self, topic: str) -> list[str]:
        """Return the ids of all records of a topic."""
        places = _places(topic)
        self._watcher.assign(places)
        ends = await self._watcher.end_offsets(places)
        for place, start in (await self._watcher.beginning_offsets(places)).items():
            self._watcher.seek(place, start)
        found: list[str] = []
        deadline = Deadline(WAIT_SECONDS, f"reading {topic}")
        while any([await self._watcher.position(place) < ends[place] for place in places]):
            deadline.check()
            for records in (await self._watcher.getmany(timeout_ms=200)).values():
                found += [value.decode() for r in records for name, value in r.headers if name == "ce_id"]
        return found


def _places(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
