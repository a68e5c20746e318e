"""Is the pipeline quiet? Asked of the stores themselves, since only they know what is under way.

Quiet means: every webhook read, every outbox row sent, every record consumed, no timer due, no effect open, and
nothing of it changed between two looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from dunwell_cli.demo.bustle import Bustle
from dunwell_contracts.catalogue import topics
from dunwell_kit.errors import Unavailable

# This slot and the one before: a time-lapse is over long before the rows of a third, three hours older, are looked for.
_SLOT = "((extract(epoch FROM now())::bigint / 10800 + {}) % 8)"
_RECENT = f"o.slot IN ({_SLOT.format(8)}, {_SLOT.format(7)})"
# Sequences move with every row that is added, by whoever: they tell that somebody did something since.
_WORK = """
SELECT (SELECT count(*) FROM timers WHERE state IN ('pending', 'leased') AND due_at <= $1)
     + (SELECT count(*) FROM effects WHERE state IN ('pending', 'leased') AND not_before <= $1)
     + {unread} AS work,
  (SELECT coalesce(sum(next_offset), 0) FROM cursors)::bigint AS consumed,
  (SELECT last_value FROM outbox_id_seq) + (SELECT last_value FROM timers_id_seq)
     + (SELECT last_value FROM effects_id_seq) AS added"""
# Opens every partition of the outbox, so it is asked only of those who have no work left.
_UNSENT = f"""
SELECT EXISTS (SELECT 1 FROM outbox_cursor c WHERE hi IS NOT NULL
  OR EXISTS (SELECT 1 FROM outbox o WHERE o.shard = c.shard AND {_RECENT} AND o.xid >= pg_snapshot_xmax(c.lo))
  OR EXISTS (SELECT 1 FROM pg_snapshot_xip(c.lo) AS late(xid) CROSS JOIN LATERAL (
    SELECT 1 FROM outbox o WHERE o.shard = c.shard AND {_RECENT} AND o.xid = late.xid OFFSET 0) o))"""  # noqa: S608 - constants of this file
# Ingest alone has something to read that neither Kafka nor a timer knows of.
_UNREAD = {"ingest": "(SELECT count(*) FROM deliveries WHERE state = 'new')"}
_NEXT_DUE = """
SELECT least((SELECT min(due_at) FROM timers WHERE state = 'pending'),
             (SELECT min(not_before) FROM effects WHERE state = 'pending' AND not_before > $1))"""
# They listen and never act, so between two steps nobody waits for them; at the end everybody is waited for.
LISTENERS = frozenset({"analytics"})


@dataclass(slots=True)
class _Look:
    """What one look found so far: by service, what it has consumed and added."""

    now: datetime
    services: tuple[str, ...]
    print: dict[str, tuple[int, int]] = field(default_factory=dict)


# Says what is busy, or nothing.
Probe = Callable[[_Look], Awaitable[str]]


class Quiet:
    """Looks at the stores of a fleet."""

    def __init__(
        self, postgres_dsn: str, kafka_bootstrap: str, sandbox_url: str, services: tuple[str, ...], bustle: Bustle
    ) -> None:
        self._dsn, self._bootstrap, self._sandbox_url = postgres_dsn, kafka_bootstrap, sandbox_url
        self._services, self._bustle = services, bustle
        self._acting = tuple(service for service in services if service not in LISTENERS)
        self._connections: dict[str, asyncpg.Connection] = {}
        self._kafka = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap)
        # Asked some thousand times while two cores do the work, by the cheapest of clients.
        self._http = aiohttp.ClientSession()
        # Longer than any lease, so that a killed process is waited for and a stuck one is not.
        self.seconds = 60.0
        self._probes: list[Probe] = []
        self._works = {service: _WORK.format(unread=_UNREAD.get(service, "0")) for service in services}
        self._partitions: dict[str, list[TopicPartition]] = {}
        self._all_partitions: list[TopicPartition] = []

    async def __aenter__(self) -> Quiet:
        base = self._dsn.rpartition("/")[0]
        for service in self._services:
            self._connections[service] = await asyncpg.connect(f"{base}/dunwell_{service}")
        await self._kafka.start()
        for service in self._services:
            read = [t for t in topics().values() if service in t.consumers]
            self._partitions[service] = [TopicPartition(t.name, p) for t in read for p in range(t.partitions_local)]
        self._all_partitions = sorted({tp for tps in self._partitions.values() for tp in tps})
        # At first in the order in which work moves on.
        self._probes = [self._gateway, *(partial(self._store, service) for service in self._acting)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._kafka.stop()
        for connection in self._connections.values():
            await connection.close()

    async def wait(self, now: datetime, *, listeners: bool = False) -> None:
        """Return when all is quiet at a virtual instant; Unavailable says what is still busy.

        Args:
            listeners: Wait also for those who only listen.
        """
        services = self._services if listeners else self._acting
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        while True:
            await self._bustle.settled()
            look = _Look(now, services)
            busy = await self._first_busy(look) or await self._behind(look)
            # What moved from one store to another during a look is in the other by now: the second look is at once.
            if not busy and await self._stands(look):
                return
            if loop.time() > end:
                raise Unavailable(f"after {self.seconds:g} s the pipeline is still busy: {busy or 'changing'}")

    async def _first_busy(self, look: _Look) -> str:
        likely, *others = self._probes
        if busy := await likely(look):
            return busy
        # While all may be quiet nobody is kept from work by being asked at once.
        answers = await asyncio.gather(*(probe(look) for probe in others))
        for probe, busy in zip(others, answers, strict=True):
            if busy:
                # Asked first the next time, for it is likely to be busy still.
                self._probes = [probe, *(other for other in self._probes if other != probe)]
                return busy
        return ""

    async def _stands(self, first: _Look) -> bool:
        """Whether nobody did anything since a look that found nobody busy.

        All that was written was sent and consumed then, so without a new row nothing new can be on its way.
        """
        again = _Look(first.now, first.services)
        answers = await asyncio.gather(self._gateway(again), *(self._work(each, again) for each in first.services))
        return not any(answers) and again.print == first.print

    async def _gateway(self, look: _Look) -> str:
        async with self._http.get(f"{self._sandbox_url}/_sandbox/pending") as answer:
            pending = (await answer.json())["pending"]
        return f"{pending} webhooks or messages on their way" if pending else ""

    async def _work(self, service: str, look: _Look) -> str:
        row = await self._connections[service].fetchrow(self._works[service], look.now)
        assert row is not None
        look.print[service] = row["consumed"], row["added"]
        return f"{service}: {row['work']} due or unread" if row["work"] else ""

    async def _store(self, service: str, look: _Look) -> str:
        if busy := await self._work(service, look):
            return busy
        return f"{service}: outbox unsent" if await self._connections[service].fetchval(_UNSENT) else ""

    async def _behind(self, look: _Look) -> str:
        for service in look.services:
            # Those who only listen are no probe of every look.
            if service not in look.print and (busy := await self._store(service, look)):
                return busy
        ends = await self._kafka.end_offsets(self._all_partitions)
        for service in look.services:
            consumed, _ = look.print[service]
            if consumed < sum(ends[tp] for tp in self._partitions[service]):
                return f"{service}: behind"
        return ""

    async def next_due(self, now: datetime) -> datetime | None:
        """Return when the next timer or postponed effect of any service is due."""
        acting = [self._connections[service] for service in self._acting]
        found = await asyncio.gather(*(connection.fetchval(_NEXT_DUE, now) for connection in acting))
        return min((at for at in found if at is not None), default=None)

    async def fetch(self, service: str, statement: str, *values: object) -> list[dict[str, Any]]:
        """Read from a service's store, for checks and reports."""
        return [dict(row) for row in await self._connections[service].fetch(statement, *values)]
