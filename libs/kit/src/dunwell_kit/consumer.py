"""The consumer: one algorithm for all services, with the offset kept beside the state it changed.

Owns: cursors and the inbox. A batch is one transaction: fenced cursors, inbox, state, outbox, timers, effects.
Refuses: dead-lettering what the database caused, and any business retry (those are timers).
A batch that fails is split: first by partition, then by message; only a message that fails alone three times
is parked with its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError
from opentelemetry.trace import SpanKind

from dunwell_contracts.catalogue import UnknownType, read_by
from dunwell_contracts.envelope import Undecodable, envelope_of
from dunwell_kit import metrics, parking, tracing
from dunwell_kit.chance import jitter
from dunwell_kit.clock import monotonic
from dunwell_kit.database import Database, Row, Tx, is_transient
from dunwell_kit.errors import DunwellError, Unavailable
from dunwell_kit.failpoints import failpoint
from dunwell_kit.kafka import consumer, started
from dunwell_kit.logging import logger
from dunwell_kit.messages import Handler, Received, event_type, key_of, received
from dunwell_kit.settings import KitSettings

Record = ConsumerRecord[bytes, bytes]
Batch = dict[TopicPartition, list[Record]]
BATCH_RECORDS = 200
POISON_TRIES = 3
# A bad deploy must not empty the topic into the dead letters: past this many in a row the consumer stops.
POISON_RUN_MAX = 20
INBOX_SLOTS = 12
BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS = 0.2, 30.0
DRAIN_SECONDS = 20
# Records wait and none is applied for so long, though nothing fails: only a new client cures a stuck one.
STUCK_SECONDS = 120


_MOVE = """
UPDATE cursors c SET next_offset = m.next, moved_at = now()
FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[]), CAST(:fences AS bigint[]),
  CAST(:positions AS bigint[]), CAST(:nexts AS bigint[])) AS m(topic, part, fence, position, next)
WHERE c.grp = :grp AND c.topic = m.topic AND c.part = m.part AND c.fence = m.fence
  AND c.next_offset IS NOT DISTINCT FROM m.position"""
# Cursors, inbox and parking in one way to the server: every batch of every service asks these three.
_ADMIT = f"""
WITH moved AS ({_MOVE} RETURNING 1),
fresh AS (
  INSERT INTO inbox (slot, grp, event_id, day)
  SELECT s, :grp, e, d
  FROM unnest(CAST(:slots AS smallint[]), CAST(:events AS uuid[]), CAST(:days AS date[])) AS i(s, e, d)
  ON CONFLICT DO NOTHING RETURNING event_id::text AS event_id),
parked AS ({parking.PARKED_KEYS})
SELECT (SELECT count(*) FROM moved) AS moved, ARRAY(SELECT event_id FROM fresh) AS fresh,
  ARRAY(SELECT agg_key FROM parked) AS parked"""  # noqa: S608 - constants of this file


class FenceLost(DunwellError):
    """Another member owns the partition now."""


class Consumer(ConsumerRebalanceListener):
    """One member of a service's group."""

    def __init__(
        self,
        database: Database,
        settings: KitSettings,
        handlers: Mapping[str, Handler],
        topics: Sequence[str] | None = None,
    ) -> None:
        """Make a member; without `topics` it reads those that the catalogue gives the service."""
        self._database, self._settings, self._handlers = database, settings, handlers
        self._topics = [topic.name for topic in read_by(settings.service)] if topics is None else list(topics)
        self._group = settings.group
        self._client = consumer(
            settings.kafka_bootstrap, self._group, settings.session_seconds, settings.linger_seconds
        )
        self._unclaimed: set[TopicPartition] = set()
        self._owned: dict[TopicPartition, int] = {}
        self._position: dict[TopicPartition, int | None] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._failures = 0
        self._poison_run = 0
        self._committed_at = self._moved_at = monotonic()
        self._applied: dict[str, Record] = {}

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Only flip flags: the client swallows what is raised here."""
        self._client.pause(*assigned)
        self._unclaimed |= set(assigned)
        for tp in assigned:
            self._owned.pop(tp, None)

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Let the batch in flight end, then forget the partitions."""
        self._unclaimed.clear()
        await asyncio.wait([asyncio.ensure_future(self._idle.wait())], timeout=DRAIN_SECONDS)
        self._owned.clear()
        # Somebody else tells the lag of what was taken from us.
        for topic in {tp.topic for tp in revoked}:
            metrics.LAG_MESSAGES.labels(topic).set(0)
            metrics.LAG_SECONDS.labels(topic).set(0)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until told to stop."""
        await started(self._client, "consumer")
        try:
            self._client.subscribe(self._topics, listener=self)
            while not stop.is_set():
                await self._turn()
                metrics.HEARTBEAT.labels("consumer").set(monotonic())
        finally:
            await asyncio.wait([asyncio.ensure_future(self._client.stop())], timeout=10)

    async def _turn(self) -> None:
        try:
            if self._unclaimed:
                await self._claim()
            fetched: Batch = await self._client.getmany(timeout_ms=500, max_records=BATCH_RECORDS)
            batch = {tp: records for tp, records in fetched.items() if tp in self._owned and records}
            if batch:
                self._idle.clear()
                try:
                    await self._apply(batch)
                finally:
                    self._idle.set()
            self._failures = 0
            await self._report()
        except FenceLost as lost:
            logger().warning("partition lost to another member", error=str(lost))
            self._owned.clear()
            self._unclaimed |= set(self._client.assignment())
        except NoOffsetForPartitionError:
            # Our cursors say where to start, not Kafka: the claim of the next turn seeks.
            self._unclaimed |= set(self._client.assignment()) - set(self._owned)
        except (KafkaError, OSError) as error:
            await self._back_off(error)
        except Exception as error:
            if not is_transient(error):
                raise
            await self._back_off(error)

    async def _back_off(self, error: BaseException) -> None:
        self._failures += 1
        most = min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2**self._failures)
        logger().warning("consumer waits", error_type=type(error).__name__, error=str(error)[:300], seconds=most)
        await asyncio.sleep(jitter() * most)
        # The client may have dropped records it had drained: start again from our own cursors.
        self._owned.clear()
        self._unclaimed |= set(self._client.assignment())

    async def _claim(self) -> None:
        claimed = sorted(self._unclaimed & set(self._client.assignment()))

        async def work(tx: Tx) -> Sequence[Row]:
            return await tx.rows(
                """INSERT INTO cursors (grp, topic, part) SELECT :grp, t, p
                   FROM unnest(CAST(:topics AS text[]), CAST(:parts AS int[])) AS c(t, p) ORDER BY t, p
                   ON CONFLICT (grp, topic, part) DO UPDATE SET fence = cursors.fence + 1
                   RETURNING topic, part, fence, next_offset""",
                grp=self._group,
                topics=[tp.topic for tp in claimed],
                parts=[tp.partition for tp in claimed],
            )

        rows = await self._database.transact(work) if claimed else []
        starts = await self._client.beginning_offsets(claimed) if claimed else {}
        ends = await self._client.end_offsets(claimed) if claimed else {}
        for row in rows:
            tp = TopicPartition(row["topic"], row["part"])
            _demand_kept(tp, row["next_offset"], starts[tp], ends[tp])
            self._position[tp] = row["next_offset"]
            self._client.seek(tp, starts[tp] if row["next_offset"] is None else row["next_offset"])
            self._owned[tp] = row["fence"]
        self._client.resume(*claimed)
        self._unclaimed -= set(claimed)

    async def _apply(self, batch: Batch) -> None:
        """Apply a batch: at once; else partition by partition; else message by message."""
        try:
            await self._transaction(batch)
            self._poison_run = 0
            return
        except FenceLost:
            raise
        except Exception as error:
            if is_transient(error):
                raise
        for tp, records in batch.items():
            for record in records:
                await self._apply_alone(tp, record)

    async def _apply_alone(self, tp: TopicPartition, record: Record) -> None:
        for left in range(POISON_TRIES - 1, -1, -1):
            try:
                await self._transaction({tp: [record]})
                self._poison_run = 0
                return
            except FenceLost:
                raise
            except Exception as error:
                if is_transient(error):
                    raise
                if not left:
                    await self._bury(tp, record, error)

    async def _bury(self, tp: TopicPartition, record: Record, error: Exception) -> None:
        self._poison_run += 1
        logger().error(
            "message dead-lettered", topic=tp.topic, partition=tp.partition, offset=record.offset,
            event_type=event_type(record), error_type=type(error).__name__, error=str(error)[:300],
        )  # fmt: skip
        if self._poison_run > POISON_RUN_MAX:
            raise Unavailable(
                f"{self._poison_run} messages in a row cannot be handled; the consumer stops: {error}"
            ) from error

        async def work(tx: Tx) -> None:
            moved = await tx.execute(_MOVE, **self._moves({tp: [record]}))
            _demand_moved(moved.rowcount, 1)
            await self._remember(tx, record)
            await parking.bury(tx, self._group, record, error)

        await self._database.transact(work)
        self._position[tp] = record.offset + 1
        metrics.DEAD_LETTERS.labels(tp.topic).inc()

    async def _transaction(self, batch: Batch) -> None:
        failpoint("consumer.before_transaction")
        # A record that does not say what it is cannot be passed over: it goes the way of the undecodable.
        wanted = [r for rs in batch.values() for r in rs if event_type(r) in self._handlers or not event_type(r)]
        duplicates = await self._handled(batch, wanted) if wanted else await self._passed_over(batch)
        failpoint("consumer.after_commit")
        self._moved_at = monotonic()
        for tp, records in batch.items():
            self._position[tp] = records[-1].offset + 1
            self._applied[tp.topic] = records[-1]
            metrics.CONSUMED.labels(tp.topic).inc(len(records))
        if duplicates:
            metrics.DUPLICATES.inc(duplicates)

    async def _passed_over(self, batch: Batch) -> int:
        """Move the cursors alone; should a crash of Postgres move them back, the same is passed over again."""
        moved = await self._database.mark(f"{_MOVE} RETURNING 1", **self._moves(batch))
        _demand_moved(len(moved), len(batch))
        return 0

    async def _handled(self, batch: Batch, wanted: Sequence[Record]) -> int:
        """Handle what is wanted in one transaction; returns how many were handled before."""

        async def work(tx: Tx) -> int:
            fresh, parked = await self._admit(tx, batch, wanted)
            free = await parking.park_waiting(tx, self._group, wanted, fresh, parked)
            for item in free:
                await self._handle(tx, item)
            failpoint("consumer.before_commit")
            return len(wanted) - len(fresh)

        return await self._database.transact(work)

    async def _handle(self, tx: Tx, item: Received) -> None:
        envelope = item.envelope
        tx.caused_by(envelope.id, envelope.correlation_id)
        if not tracing.followed(envelope.traceparent):
            await self._handlers[envelope.type](tx, item)
            return
        with tracing.continuing(
            f"process {item.topic}",
            SpanKind.CONSUMER,
            envelope.traceparent,
            envelope.time,
            tx.now,
            {
                tracing.SYSTEM: "kafka", tracing.DESTINATION: item.topic, tracing.EVENT_TYPE: envelope.type,
                tracing.EVENT_ID: envelope.id, tracing.CASE: envelope.correlation_id,
                tracing.TENANT: envelope.key.partition(":")[0],
            },
        ):  # fmt: skip
            await self._handlers[envelope.type](tx, item)

    async def _admit(self, tx: Tx, batch: Batch, wanted: Sequence[Record]) -> tuple[list[Received], set[str]]:
        """Move the fenced cursors, and tell which messages were not handled before and which keys are parked."""
        items = [received(record) for record in wanted]
        row = await tx.row(
            _ADMIT,
            **self._moves(batch),
            slots=[inbox_slot(item.envelope.time) for item in items],
            events=[item.envelope.id for item in items],
            days=[item.envelope.time.astimezone(UTC).date() for item in items],
            keys=sorted({key_of(record) for record in wanted}),
        )
        assert row is not None
        _demand_moved(row["moved"], len(batch))
        left = set(row["fresh"])
        found = []
        for item in items:
            if item.envelope.id in left:
                left.discard(item.envelope.id)
                found.append(item)
        return found, set(row["parked"])

    def _moves(self, batch: Batch) -> dict[str, object]:
        places = list(batch)
        return {
            "grp": self._group,
            "topics": [tp.topic for tp in places],
            "parts": [tp.partition for tp in places],
            "fences": [self._owned.get(tp, -1) for tp in places],
            "positions": [self._position.get(tp) for tp in places],
            "nexts": [batch[tp][-1].offset + 1 for tp in places],
        }

    async def _remember(self, tx: Tx, record: Record) -> None:
        """Put a dead letter into the inbox, if it has an id: the relay may publish it again, and it is parked once."""
        try:
            envelope = envelope_of(record.headers)
            event_id = str(UUID(envelope.id))
        except ValueError:
            return
        await tx.execute(
            "INSERT INTO inbox (slot, grp, event_id, day) VALUES (:slot, :grp, CAST(:event_id AS uuid), :day)"
            " ON CONFLICT DO NOTHING",
            slot=inbox_slot(envelope.time),
            grp=self._group,
            event_id=event_id,
            day=envelope.time.astimezone(UTC).date(),
        )

    async def _report(self) -> None:
        """Every few seconds tell Kafka where we are, as a gauge only, and measure the lag."""
        if monotonic() - self._committed_at < self._settings.commit_to_kafka_seconds or not self._owned:
            return
        self._committed_at = monotonic()
        offsets = {tp: at for tp, at in self._position.items() if at is not None and tp in self._owned}
        if offsets:
            # commit() retries without end, so it gets a deadline and its failure is of no consequence.
            await asyncio.wait([asyncio.ensure_future(self._quietly_commit(offsets))], timeout=5)
        ends = await self._client.end_offsets(list(self._owned))
        lag: dict[str, int] = {}
        for tp, end in ends.items():
            lag[tp.topic] = lag.get(tp.topic, 0) + max(0, end - (self._position.get(tp) or 0))
        for topic, count in lag.items():
            metrics.LAG_MESSAGES.labels(topic).set(count)
            metrics.LAG_SECONDS.labels(topic).set(self._age_of_applied(topic) if count else 0)
        if not sum(lag.values()):
            self._moved_at = monotonic()
        elif monotonic() - self._moved_at > STUCK_SECONDS:
            raise Unavailable(f"{sum(lag.values())} records wait and none was applied for {STUCK_SECONDS} s")

    def _age_of_applied(self, topic: str) -> float:
        """Business seconds since the event that was applied last; 0 before the first and for one without a time."""
        try:
            at = envelope_of(self._applied[topic].headers).time
        except (KeyError, ValueError):
            return 0.0
        return max(0.0, (self._database.clock.now() - at).total_seconds())

    async def _quietly_commit(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._client.commit(offsets)
        except KafkaError as error:
            logger().info("lag gauge not updated", error_type=type(error).__name__)


def _demand_moved(moved: int, wanted: int) -> None:
    if moved != wanted:
        raise FenceLost(f"{wanted - moved} of {wanted} cursors moved elsewhere")


def _demand_kept(tp: TopicPartition, position: int | None, first: int, end: int) -> None:
    """Refuse to go on where Kafka no longer has what comes next: a silent gap would be a lost payment."""
    if position is None or first <= position <= end:
        return
    place = f"{tp.topic} partition {tp.partition}"
    if position < first:
        raise Unavailable(
            f"{place}: records {position} to {first - 1} are past Kafka's retention and were never applied; "
            "restore them or set the cursor by hand (runbook DunwellConsumerStuck)"
        )
    raise Unavailable(
        f"{place}: applied up to {position} but Kafka ends at {end}; it has lost records or the topic was made anew "
        "(runbook DunwellConsumerStuck)"
    )


def inbox_slot(at: datetime) -> int:
    """Return the weekly slot of an event's time; equal for every redelivery of the event."""
    return int(at.timestamp() // 604_800) % INBOX_SLOTS


__all__ = ["Consumer", "FenceLost", "Undecodable", "UnknownType", "inbox_slot"]
