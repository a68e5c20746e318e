"""Sending a window: its records in as few batches as partitions allow, each partition in order.

Owns: batches and the choice of partitions, which is every Kafka client's. Refuses: which rows, and what is done after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from dunwell_kit.errors import Unavailable

_PARTITIONER = DefaultPartitioner()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record as it goes out."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Mapping[str, str]


# The client's hash is plain Python, and a payer's key comes again with each of his events.
@lru_cache(maxsize=50_000)
def partition_of(key: bytes, count: int) -> int:
    """Return the partition, from 0, that Kafka's usual partitioner gives a key among so many."""
    everyone = list(range(count))
    return int(_PARTITIONER(key, everyone, everyone))


async def send_all(producer: AIOKafkaProducer, records: Sequence[Outgoing], deadline_seconds: float) -> None:
    """Send records and return when every one is acknowledged; those of one key keep their order.

    Raises:
        Unavailable: Kafka did not acknowledge all within the deadline; the producer is then of no further use.
        KafkaError: Kafka refused a batch.
    """
    counts = {topic: len(await producer.partitions_for(topic)) for topic in {record.topic for record in records}}
    places: dict[tuple[str, int], list[Outgoing]] = {}
    for record in records:
        places.setdefault((record.topic, partition_of(record.key, counts[record.topic])), []).append(record)
    tasks = [asyncio.ensure_future(_send(producer, place, mine)) for place, mine in places.items()]
    done, late = await asyncio.wait(tasks, timeout=deadline_seconds)
    for task in late:
        task.cancel()
    for task in done:
        task.result()
    if late:
        raise Unavailable(f"Kafka did not acknowledge {len(late)} partitions within {deadline_seconds:g} s")


async def _send(producer: AIOKafkaProducer, place: tuple[str, int], records: Sequence[Outgoing]) -> None:
    """Send one partition's records, batch after batch: the next is queued when the one before is under way."""
    topic, partition = place
    futures = []
    batch = producer.create_batch()
    for record in records:
        if not _put(batch, record):
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            # A batch takes its first record whatever its size; one too large for the broker is refused there.
            _put(batch, record)
    futures.append(await producer.send_batch(batch, topic, partition=partition))
    for future in futures:
        await future


def _put(batch: BatchBuilder, record: Outgoing) -> bool:
    headers = [(name, value.encode()) for name, value in record.headers.items()]
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=headers) is not None
