"""The relay: outbox rows to Kafka, in full-snapshot windows, crash-only.

Owns: the outbox cursor. A window's upper snapshot is stored before the first send and kept to its end, so a
relay that dies in between sends the same rows again (the inbox removes them) and never skips or reorders one.
Every send has a deadline; past it the process ends and is started again, since an idempotent producer never
gives up by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from uuid import UUID

from aiokafka import AIOKafkaProducer
from opentelemetry.trace import SpanKind

from dunwell_kit import metrics, tracing
from dunwell_kit.clock import monotonic
from dunwell_kit.database import Database, Row, is_transient
from dunwell_kit.errors import Unavailable
from dunwell_kit.failpoints import failpoint
from dunwell_kit.kafka import producer, started
from dunwell_kit.outputs import SHARD_COUNT
from dunwell_kit.sending import Outgoing, send_all
from dunwell_kit.settings import KitSettings
from dunwell_kit.waiting import announced

SEND_DEADLINE_SECONDS = 30
# A window is read in pieces of this size per shard, to bound memory.
PIECE_ROWS = 500
# Without any new row `lo` still moves on once a minute, so that an idle shard does not pin old slots.
IDLE_ADVANCE_SECONDS = 60
ROTATION_SECONDS = 600

_TAKE = """
UPDATE outbox_cursor SET owner = CAST(:me AS uuid), lease_until = now() + make_interval(secs => :lease),
  fence = fence + 1
WHERE shard IN (SELECT shard FROM outbox_cursor WHERE lease_until < now() OR owner = CAST(:me AS uuid)
                FOR UPDATE SKIP LOCKED)
RETURNING shard"""
# Opens the windows of my shards that have something new and reads them, at one snapshot: a window's end is stored
# with the statement, before anything is sent. Transactions that were open at the window's beginning are looked up one
# by one: given as a list, the planner may read the whole slot and pick them out (OFFSET keeps it from joining freely).
_READ = """
WITH opened AS (
  UPDATE outbox_cursor c SET hi = pg_current_snapshot(), last_id = 0,
    lease_until = now() + make_interval(secs => :lease)
  WHERE owner = CAST(:me AS uuid) AND hi IS NULL AND shard = ANY(CAST(:shards AS smallint[])) AND (:idle OR EXISTS (
    SELECT 1 FROM outbox o WHERE o.shard = c.shard AND o.xid >= pg_snapshot_xmax(c.lo)
    UNION ALL
    SELECT 1 FROM pg_snapshot_xip(c.lo) AS late(xid) CROSS JOIN LATERAL (
      SELECT 1 FROM outbox o WHERE o.shard = c.shard AND o.xid = late.xid OFFSET 0) o))
  RETURNING shard, lo, hi, last_id),
windows AS (
  SELECT shard, lo, hi, last_id FROM opened
  UNION ALL
  -- as they were before this statement, so none of those opened by it
  SELECT shard, lo, hi, last_id FROM outbox_cursor WHERE owner = CAST(:me AS uuid) AND hi IS NOT NULL)
SELECT o.shard, o.id, o.topic, o.agg_key, o.headers::text AS headers, o.payload,
       extract(epoch FROM now() - o.created_at)::float8 AS age
FROM windows c CROSS JOIN LATERAL (
  SELECT * FROM (
    SELECT * FROM outbox r
    WHERE r.shard = c.shard AND r.xid >= pg_snapshot_xmax(c.lo) AND r.xid < pg_snapshot_xmax(c.hi)
    UNION ALL
    SELECT r.* FROM pg_snapshot_xip(c.lo) AS late(xid) CROSS JOIN LATERAL (
      SELECT * FROM outbox o WHERE o.shard = c.shard AND o.xid = late.xid OFFSET 0) r) w
  WHERE pg_visible_in_snapshot(w.xid, c.hi) AND w.id > c.last_id
  ORDER BY w.id LIMIT :piece) o
ORDER BY o.shard, o.id"""
_MOVE = """
UPDATE outbox_cursor c SET last_id = m.last_id, lease_until = now() + make_interval(secs => :lease)
FROM unnest(CAST(:shards AS smallint[]), CAST(:lasts AS bigint[])) AS m(shard, last_id)
WHERE c.shard = m.shard AND c.owner = CAST(:me AS uuid) RETURNING c.shard"""
_CLOSE = """
UPDATE outbox_cursor SET lo = hi, hi = NULL, last_id = 0, lease_until = now() + make_interval(secs => :lease)
WHERE owner = CAST(:me AS uuid) AND hi IS NOT NULL AND NOT shard = ANY(CAST(:open AS smallint[]))"""


class Relay:
    """Publishes one database's outbox."""

    def __init__(self, database: Database, settings: KitSettings) -> None:
        self._database, self._settings = database, settings
        self._me: UUID = database.ids.uuid()
        self._lease = settings.lease_seconds
        self._producer: AIOKafkaProducer = producer(settings.kafka_bootstrap)
        self._resuming = True
        self._taken_at = self._advanced_at = self._rotated_at = self._looked_at = float("-inf")
        self._found_elsewhere = False

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until told to stop; ends the process's role by an exception when Kafka stays silent."""
        await started(self._producer, "relay")
        try:
            while not stop.is_set():
                self._database.wrote_events.clear()
                sent = await self.turn()
                metrics.HEARTBEAT.labels("relay").set(monotonic())
                if not sent:
                    await announced(self._database.wrote_events, self._settings.poll_seconds)
        finally:
            await self._release()
            # stop() waits for what is in flight and may hang while brokers are down.
            await asyncio.wait([asyncio.ensure_future(self._producer.stop())], timeout=10)

    async def turn(self) -> int:
        """Take shards, open windows, send a piece of each; returns the rows sent."""
        await self._take_now_and_then()
        shards: Iterable[int] = self._database.written_shards()
        # What this process wrote is announced; what others wrote is looked for at every poll, and as long as some is
        # found.
        everything = self._found_elsewhere or monotonic() - self._looked_at >= self._settings.poll_seconds
        if everything:
            self._looked_at = monotonic()
            shards = range(SHARD_COUNT)
        elif not shards and not self._resuming:
            return 0
        idle = everything and monotonic() - self._advanced_at > IDLE_ADVANCE_SECONDS
        if idle:
            self._advanced_at = monotonic()
        rows = await self._database.mark(
            _READ, me=str(self._me), lease=self._lease, piece=PIECE_ROWS, shards=list(shards), idle=idle
        )
        self._found_elsewhere = everything and bool(rows)
        failpoint("relay.window_opened")
        if rows:
            await self._send(rows)
        if rows or idle or self._resuming:
            await self._record(rows)
        else:
            await self._rotate_now_and_then()
        return len(rows)

    async def _take_now_and_then(self) -> None:
        # A third of the lease: two chances to renew before anybody else may take it.
        if monotonic() - self._taken_at > self._lease / 3:
            # A shard taken from a dead relay may hold a window that was opened and not read to its end.
            taken = await self._database.read(_TAKE, me=str(self._me), lease=self._lease)
            self._resuming = bool(taken) or self._resuming
            self._taken_at = monotonic()

    async def _send(self, rows: Sequence[Row]) -> None:
        failpoint("relay.before_send")
        records = [
            Outgoing(
                row["topic"],
                row["agg_key"].encode(),
                bytes(row["payload"]) if row["payload"] is not None else None,
                json.loads(row["headers"]),
            )
            for row in rows
        ]
        origins = [record.headers.get("traceparent", "") for record in records]
        links = [tracing.context_of(origin) for origin in origins if tracing.sampled(origin)]
        with tracing.span(
            f"send {rows[0]['topic']}",
            SpanKind.CLIENT,
            root=True,
            links=links[: tracing.LINKS_MAX],
            attributes={tracing.SYSTEM: "kafka", tracing.DESTINATION: rows[0]["topic"], tracing.BATCH_COUNT: len(rows)},
        ):
            await send_all(self._producer, records, SEND_DEADLINE_SECONDS)
        failpoint("relay.after_send")
        metrics.PUBLISHED.inc(len(rows))
        metrics.OUTBOX_WINDOW.observe(len(rows))
        metrics.OUTBOX_AGE.set(max(row["age"] for row in rows))

    async def _record(self, rows: Sequence[Row]) -> None:
        counts: dict[int, int] = {}
        lasts: dict[int, int] = {}
        for row in rows:
            counts[row["shard"]] = counts.get(row["shard"], 0) + 1
            lasts[row["shard"]] = row["id"]
        full = {shard: lasts[shard] for shard, count in counts.items() if count == PIECE_ROWS}

        if full:
            moved = await self._database.mark(
                _MOVE, me=str(self._me), lease=self._lease, shards=list(full), lasts=list(full.values())
            )
            if len(moved) != len(full):
                raise Unavailable("another relay took a shard over; this one stops")
        await self._database.mark(_CLOSE, me=str(self._me), lease=self._lease, open=list(full))
        self._resuming = bool(full)
        failpoint("relay.after_cursor")

    async def _rotate_now_and_then(self) -> None:
        if monotonic() - self._rotated_at < ROTATION_SECONDS:
            return
        self._rotated_at = monotonic()
        for row in await self._database.read(
            "SELECT k FROM generate_series(0, 7) k"
            " WHERE (((extract(epoch FROM now())::bigint / 10800) % 8) - k + 8) % 8 BETWEEN 2 AND 6"
        ):
            try:
                await self._database.read("SELECT rotate_outbox(CAST(:k AS int))", k=row["k"])
            except Exception as error:
                # Somebody reads the slot just now; the next round is soon enough.
                if not is_transient(error):
                    raise

    async def _release(self) -> None:
        await self._database.read(
            "UPDATE outbox_cursor SET lease_until='-infinity' WHERE owner=CAST(:me AS uuid)", me=str(self._me)
        )
