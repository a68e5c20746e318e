"""P7: what an inbox and an outbox cost a consumer above handing each record on, in CPU time of the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from bench.bodies import paid_event
from bench.contest import Contest, Metric, Verified, exactly_once
from bench.outboxes import kit_database
from bench.pairs import Gate, Reading
from bench.parts import Deadline, Parts, Process
from bench.records import PARTITIONS, POLL_SECONDS, WAIT_SECONDS, Topics, new_topic, sendables
from dunwell_contracts.catalogue import carried_message

# Some thirty full polls: the first and the last, which may be smaller, weigh little.
EVENTS = 8_000


class _Consumers:
    """Both loops as processes, each with a topic of its own, and what they were given."""

    def __init__(
        self, topics: Topics, names: Sequence[str], database: asyncpg.Connection, ours: Process, bare: Process
    ) -> None:
        self._topics, self._database, self._ours, self._bare = topics, database, ours, bare
        self._to_ours, self._to_bare, self._handed_on = names
        self._message = paid_event()
        self._given: list[str] = []
        self._given_bare = 0

    async def ours(self, seconds: float) -> Reading:
        """Give our consumer a backlog, and take its CPU time until its cursors have passed it."""
        records = sendables(self._message, int(EVENTS * seconds))
        with self._ours.held():
            await self._topics.write(self._to_ours, records)
            before = self._ours.cpu_seconds()
        self._given += [record.event_id for record in records]
        deadline = Deadline(WAIT_SECONDS, "the consumer")
        while await self._database.fetchval("SELECT sum(next_offset) FROM cursors") != len(self._given):
            deadline.check()
            await asyncio.sleep(POLL_SECONDS)
        used = self._ours.cpu_seconds() - before
        return Reading(used / len(records) * 1e6, len(records), used)

    async def bare(self, seconds: float) -> Reading:
        """Give the bare loop the same backlog, and take its CPU time until all is handed on."""
        records = sendables(self._message, int(EVENTS * seconds))
        with self._bare.held():
            await self._topics.write(self._to_bare, records)
            before = self._bare.cpu_seconds()
        self._given_bare += len(records)
        await self._topics.wait_for(self._handed_on, self._given_bare)
        used = self._bare.cpu_seconds() - before
        return Reading(used / len(records) * 1e6, len(records), used)

    async def ready(self) -> None:
        """Return when both have joined and handled a first record of each partition."""
        for measure in (self.ours, self.bare):
            await measure(PARTITIONS * 10 / EVENTS)

    async def verify(self) -> Verified:
        """Each event given is the cause of one event in the outbox."""
        rows = await self._database.fetch("SELECT headers->>'ce_causationid' AS cause FROM outbox")
        return exactly_once(self._given, (row["cause"] for row in rows))


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run both consumers."""
    bootstrap = parts.stack.kafka_bootstrap
    names = [await new_topic(bootstrap, name) for name in ("consumer", "bare", "handed-on")]
    async with kit_database(parts) as (url, connection), Topics.opened(bootstrap) as topics:
        addresses = {"DUNWELL_BENCH_DATABASE_URL": url, "DUNWELL_KAFKA_BOOTSTRAP": bootstrap}
        event_type = carried_message(paid_event()).type
        with (
            parts.process("-m", "bench.subjects", "consumer", names[0], event_type, **addresses) as ours,
            parts.process("-m", "bench.subjects", "bare-loop", *names[1:], **addresses) as bare,
        ):
            both = _Consumers(topics, names, connection, ours, bare)
            await both.ready()
            yield Contest(both.ours, both.bare, both.verify)


METRIC = Metric(
    id="P7",
    title="consumer CPU per event, inbox and outbox, no domain",
    subject="the kit's consumer, one event out for each in",
    anchor="bare getmany -> send loop",
    unit="us",
    gate=Gate(bound=2.0, stretch=1.4),
    opened=opened,
)
