"""P9: what the outbox's relay costs above sending ready-made batches, in CPU time of the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.bodies import paid_event
from bench.contest import Contest, Metric, Verified, exactly_once
from bench.cores import Cores, pinned
from bench.outboxes import emit_many, kit_database
from bench.pairs import Gate, Reading
from bench.parts import Deadline, Parts, Process
from bench.records import POLL_SECONDS, WAIT_SECONDS, Topics, new_topic, sendables
from dunwell_contracts.catalogue import carried_message
from dunwell_kit.clock import SystemClock
from dunwell_kit.database import Database
from dunwell_kit.ids import RandomIds
from dunwell_kit.kafka import ensure_topics

# What a busy service writes in a window or two; a backlog of hours is not the case to measure. A slice is several.
EVENTS, ROUNDS = 2_000, 8


class _Relays:
    """The relay as a process, and the bare sender in this one."""

    def __init__(
        self, topics: Topics, batches: str, database: Database, watch: asyncpg.Connection, relay: Process, cores: Cores
    ) -> None:
        self._topics, self._database, self._watch, self._relay = topics, database, watch, relay
        self._message, self._cores, self._batches, self._before = paid_event(), cores, batches, 0
        self._topic = carried_message(self._message).topic
        self._given: list[str] = []

    async def ours(self, seconds: float) -> Reading:
        """Fill the outbox some times, and take the relay's CPU time until all is published."""
        rounds = max(1, int(ROUNDS * seconds))
        used = sum([await self._relayed() for _ in range(rounds)])
        return Reading(used / (rounds * EVENTS) * 1e6, rounds * EVENTS, used)

    async def _relayed(self) -> float:
        """Return the relay's CPU time for one filling, to the end of its window."""
        with self._relay.held():
            self._given += await emit_many(self._database, self._message, EVENTS)
            before = self._relay.cpu_seconds()
        await self._topics.wait_for(self._topic, self._before + len(self._given))
        deadline = Deadline(WAIT_SECONDS, "the relay's window")
        while not await self._watch.fetchval("SELECT bool_and(hi IS NULL) FROM outbox_cursor"):
            deadline.check()
            await asyncio.sleep(POLL_SECONDS)
        return self._relay.cpu_seconds() - before

    async def bare(self, seconds: float) -> Reading:
        """Send the same records from memory as batches, as often, on the core that the relay has."""
        rounds, used = max(1, int(ROUNDS * seconds)), 0.0
        for _ in range(rounds):
            records = sendables(self._message, EVENTS)
            with self._relay.held(), pinned(self._cores.subject):
                before = time.process_time()
                await self._topics.write_batches(self._batches, records)
                used += time.process_time() - before
        return Reading(used / (rounds * EVENTS) * 1e6, rounds * EVENTS, used)

    async def look_back(self) -> None:
        """Remember what the topic held before."""
        self._before = await self._topics.count(self._topic)

    async def verify(self) -> Verified:
        """Each event of the outbox is one record of its topic."""
        return exactly_once(self._given, await self._topics.ids(self._topic))


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run the relay over an outbox of its own."""
    bootstrap, clock = parts.stack.kafka_bootstrap, SystemClock()
    await ensure_topics(bootstrap)
    batches = await new_topic(bootstrap, "batches")
    async with kit_database(parts) as (url, watch), Topics.opened(bootstrap) as topics:
        database = Database(url, service="bench", clock=clock, ids=RandomIds(clock))
        addresses = {"DUNWELL_BENCH_DATABASE_URL": url, "DUNWELL_KAFKA_BOOTSTRAP": bootstrap}
        with parts.process("-m", "bench.subjects", "relay", **addresses) as relay:
            both = _Relays(topics, batches, database, watch, relay, parts.cores)
            await both.look_back()
            yield Contest(both.ours, both.bare, both.verify)
        await database.close()


METRIC = Metric(
    id="P9",
    title="relay CPU per event",
    subject="the kit's relay, outbox to Kafka",
    anchor="bare send_batch of the same records",
    unit="us",
    gate=Gate(bound=3, stretch=2),
    opened=opened,
)
