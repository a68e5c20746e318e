"""Kafka: the two clients with the settings that hold under faults, and topics from the catalogue.

Owns: client settings and their reasons. Refuses: Kafka transactions; Postgres is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from dunwell_contracts.catalogue import Topic, topics
from dunwell_kit.errors import Unavailable

_DAY_MS = 86_400_000
PARKED_DLQ_RETENTION_DAYS = 60
# Some hundred events: about what a consumer takes in one transaction.
GATHERED_BYTES = 65_536


def producer(bootstrap: str) -> AIOKafkaProducer:
    """Return the relay's producer: idempotent, acknowledged by all in-sync replicas."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        # A window is already a batch: waiting for more would only add latency.
        linger_ms=0,
        max_batch_size=131_072,
        max_request_size=524_288,
        request_timeout_ms=15_000,
        retry_backoff_ms=250,
        metadata_max_age_ms=60_000,
    )


def consumer(bootstrap: str, group: str, session_seconds: float = 45, linger_seconds: float = 0) -> AIOKafkaConsumer:
    """Return a consumer whose offsets Kafka keeps only as a lag gauge; our cursors are the truth.

    Args:
        linger_seconds: How long the broker gathers records before it answers, unless it has enough.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        session_timeout_ms=int(session_seconds * 1000),
        # A third of the session lets two heartbeats get lost; more often than each 3 s helps nobody.
        heartbeat_interval_ms=min(3_000, int(session_seconds * 333)),
        rebalance_timeout_ms=60_000,
        max_poll_interval_ms=300_000,
        max_poll_records=200,
        # An empty fetch costs both sides a millisecond; what arrives in the meantime is answered at once.
        fetch_max_wait_ms=int(linger_seconds * 1000) or 500,
        fetch_min_bytes=GATHERED_BYTES if linger_seconds else 1,
        # The only assignor: members of two kinds could never agree, and Sticky loses its state on a restart.
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
    )


async def started(client: AIOKafkaProducer | AIOKafkaConsumer, what: str) -> None:
    """Start a client; Unavailable says what does not answer."""
    try:
        await client.start()  # type: ignore[no-untyped-call]
    except (KafkaConnectionError, OSError) as error:
        await client.stop()  # type: ignore[no-untyped-call]
        raise Unavailable(
            f"{what}: Kafka does not answer ({error}); is DUNWELL_KAFKA_BOOTSTRAP right and the broker up?"
        ) from error


async def ensure_topics(bootstrap: str, *, production: bool = False, replication: int = 1) -> list[str]:
    """Create the catalogue's topics that do not exist yet, with their dead-letter topics; returns the new ones."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
    except (KafkaConnectionError, OSError) as error:
        await admin.close()
        raise Unavailable(f"init-topics: Kafka does not answer at {bootstrap} ({error})") from error
    try:
        present = set(await admin.list_topics())
        wanted = [t for t in _new_topics(topics().values(), production, replication) if t.name not in present]
        if wanted:
            answer = await admin.create_topics(wanted)
            for name, code, *_ in answer.topic_errors:  # type: ignore[attr-defined]
                refusal = for_code(code)
                if code and refusal is not TopicAlreadyExistsError:
                    raise KafkaError(f"topic {name!r} was not created: {refusal.__name__}")
            await _wait_for(admin, {t.name for t in wanted})
        return [t.name for t in wanted]
    finally:
        await admin.close()


async def _wait_for(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    for _ in range(100):
        if names <= set(await admin.list_topics()):
            return
        await asyncio.sleep(0.1)
    raise Unavailable(f"topics {sorted(names)} were created but are not listed after 10 s")


def _new_topics(catalogue: Iterable[Topic], production: bool, replication: int) -> list[NewTopic]:
    found = []
    for topic in catalogue:
        partitions = topic.partitions_production if production else topic.partitions_local
        keep = {"cleanup.policy": topic.cleanup, "retention.ms": str(topic.retention_days * _DAY_MS)}
        found.append(NewTopic(topic.name, partitions, replication, topic_configs=keep))
        dead = {"cleanup.policy": "delete", "retention.ms": str(PARKED_DLQ_RETENTION_DAYS * _DAY_MS)}
        found += [
            NewTopic(topic.dead_letter_topic(service), 1, replication, topic_configs=dead)
            for service in topic.consumers
        ]
    return found
