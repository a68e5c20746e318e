"""Is the pipeline quiet? Asked of the stores themselves, since only they know what is under way.

Quiet means: every webhook read, every outbox row sent, every record consumed, no timer due, no effect open, and
nothing of it changed between two looks.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from dunwell_contracts.catalogue import topics
from dunwell_kit.errors import Unavailable

# Asked again and again while somebody works, so it looks at two indexes only.
_WORK = """
SELECT (SELECT count(*) FROM timers WHERE state IN ('pending', 'leased') AND due_at <= $1)
     + (SELECT count(*) FROM effects WHERE state IN ('pending', 'leased') AND not_before <= $1) AS work"""
# This slot and the one before: a time-lapse is over long before the rows of a third, three hours older, are looked for.
_SLOT = "((extract(epoch FROM now())::bigint / 10800 + {}) % 8)"
_RECENT = f"o.slot IN ({_SLOT.format(8)}, {_SLOT.format(7)})"
_BUSY = f"""
SELECT (SELECT count(*) FROM timers WHERE state IN ('pending', 'leased') AND due_at <= $1)
     + (SELECT count(*) FROM effects WHERE state IN ('pending', 'leased') AND not_before <= $1) AS work,
  EXISTS (SELECT 1 FROM outbox_cursor c WHERE hi IS NOT NULL
     OR EXISTS (SELECT 1 FROM outbox o WHERE o.shard = c.shard AND {_RECENT} AND o.xid >= pg_snapshot_xmax(c.lo))
     OR EXISTS (SELECT 1 FROM outbox o WHERE o.shard = c.shard AND {_RECENT}
       AND o.xid = ANY(ARRAY(SELECT pg_snapshot_xip(c.lo))))) AS unsent,
  (SELECT coalesce(sum(next_offset), 0) FROM cursors)::bigint AS consumed,
  (SELECT coalesce(max(id), 0) FROM effects) AS effects"""  # noqa: S608 - constants of this file
_NEW_DELIVERIES = "SELECT count(*) FROM deliveries WHERE state = 'new'"
_NEXT_TIMER = "SELECT min(due_at) FROM timers WHERE state = 'pending'"
_NEXT_EFFECT = "SELECT min(not_before) FROM effects WHERE state = 'pending' AND not_before > $1"
# A look costs the stores about a millisecond; looking more often would slow what is waited for.
LOOK_EVERY_SECONDS = 0.012


class Quiet:
    """Looks at the stores of a fleet."""

    def __init__(self, postgres_dsn: str, kafka_bootstrap: str, sandbox_url: str, services: tuple[str, ...]) -> None:
        self._dsn, self._bootstrap, self._sandbox_url = postgres_dsn, kafka_bootstrap, sandbox_url
        self._services = services
        self._connections: dict[str, asyncpg.Connection] = {}
        self._kafka = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap)
        self._http = httpx.AsyncClient(timeout=30, trust_env=False)  # noqa: DW-http - a checker on loopback
        # Longer than any lease, so that a killed process is waited for and a stuck one is not.
        self.seconds = 60.0
        self._busiest = services[0]
        self._partitions: dict[str, list[TopicPartition]] = {}
        self._all_partitions: list[TopicPartition] = []
        self._deliveries: asyncpg.Connection

    async def __aenter__(self) -> Quiet:
        base = self._dsn.rpartition("/")[0]
        for service in self._services:
            self._connections[service] = await asyncpg.connect(f"{base}/dunwell_{service}")
        await self._kafka.start()
        for service in self._services:
            read = [t for t in topics().values() if service in t.consumers]
            self._partitions[service] = [TopicPartition(t.name, p) for t in read for p in range(t.partitions_local)]
        self._all_partitions = sorted({tp for tps in self._partitions.values() for tp in tps})
        # A connection of its own, since one connection answers one question at a time.
        self._deliveries = await asyncpg.connect(f"{base}/dunwell_ingest")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self._kafka.stop()
        for connection in (self._deliveries, *self._connections.values()):
            await connection.close()

    async def wait(self, now: datetime) -> None:
        """Return when all is quiet at a virtual instant; Unavailable says what is still busy."""
        loop = asyncio.get_running_loop()
        end, before = loop.time() + self.seconds, None
        while True:
            busy, print_ = await self._look(now)
            if not busy and print_ == before:
                return
            # What moved from one store to another during a look is in the other by now: the second look is at once.
            again, before = not busy and before is None, print_ if not busy else None
            if again:
                continue
            if loop.time() > end:
                raise Unavailable(
                    f"after {self.seconds:g} s the pipeline is still busy: {', '.join(busy) or 'changing'}"
                )
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _look(self, now: datetime) -> tuple[list[str], tuple[int, ...]]:
        # Whoever was busy last is asked first and alone: while he still is, nobody else need be.
        busiest = self._connections[self._busiest]
        if work := await busiest.fetchval(_WORK, now):
            return [f"{self._busiest}: {work} due"], ()
        names = self._services
        pending, unread, ends, *rows = await asyncio.gather(
            self._http.get(f"{self._sandbox_url}/_sandbox/pending"),
            self._deliveries.fetchval(_NEW_DELIVERIES),
            self._kafka.end_offsets(self._all_partitions),
            *(self._connections[service].fetchrow(_BUSY, now) for service in names),
        )
        found = []
        if on_their_way := pending.json()["pending"]:
            found.append(f"{on_their_way} webhooks or messages on their way")
        if unread:
            found.append(f"ingest: {unread} deliveries unread")
        for service, row in zip(names, rows, strict=True):
            if row["work"] or row["unsent"]:
                self._busiest = service
                found.append(f"{service}: {row['work']} due, outbox {'un' if row['unsent'] else ''}sent")
            elif row["consumed"] < sum(ends[tp] for tp in self._partitions[service]):
                found.append(f"{service}: behind")
        return found, (sum(ends.values()), *(row["effects"] for row in rows))

    async def next_due(self, now: datetime) -> datetime | None:
        """Return when the next timer or postponed effect of any service is due."""
        timers = await asyncio.gather(*(c.fetchval(_NEXT_TIMER) for c in self._connections.values()))
        effects = await asyncio.gather(*(c.fetchval(_NEXT_EFFECT, now) for c in self._connections.values()))
        return min((at for at in (*timers, *effects) if at is not None), default=None)

    async def fetch(self, service: str, statement: str, *values: object) -> list[dict[str, Any]]:
        """Read from a service's store, for checks and reports."""
        return [dict(row) for row in await self._connections[service].fetch(statement, *values)]
