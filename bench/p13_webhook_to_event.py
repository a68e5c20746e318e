"""P13: how long after its acknowledgement a webhook is readable as a public event, at a quarter of full load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.bodies import paid_event
from bench.contest import Contest, Metric, Verified, exactly_once
from bench.edges import REAL, EdgeUnderLoad, edge, ingest_database
from bench.pairs import Gate, Quartiles, Reading
from bench.parts import Deadline, Parts
from bench.records import POLL_SECONDS, WAIT_SECONDS, new_topic, sendables
from dunwell_contracts.catalogue import carried_message
from dunwell_kit.chance import rng
from dunwell_kit.clock import monotonic
from dunwell_kit.kafka import ensure_topics, producer

LOAD_SHARE = 0.25
# A burst that takes the whole path some seconds: long enough for steady turns, short enough for the run.
BURST = 1_500


class Arrivals:
    """Notes when each record of some topics became readable."""

    def __init__(self, client: AIOKafkaConsumer, events: str) -> None:
        self._client, self._events = client, events
        self.at: dict[str, float] = {}
        self.order: list[str] = []

    async def run(self) -> None:
        """Read until cancelled; a record is known by its delivery for events, else by its own id."""
        while True:
            batch = await self._client.getmany(timeout_ms=1000)
            now = monotonic()
            for records in batch.values():
                for record in records:
                    headers = dict(record.headers)
                    name = headers["ce_correlationid" if record.topic == self._events else "ce_id"].decode()
                    self.at.setdefault(name, now)
                    self.order.append(name)

    async def wait_for(self, names: Sequence[str]) -> None:
        """Return when all are readable."""
        deadline = Deadline(WAIT_SECONDS, f"{len(names)} events")
        while not all(name in self.at for name in names):
            deadline.check()
            await asyncio.sleep(POLL_SECONDS)


def gaps(rate: float, seconds: float, number: int) -> list[float]:
    """Return the gaps of a Poisson arrival of so many a second; the same for the same number of slice."""
    chance = rng("bench", "arrivals", number)
    return [chance.expovariate(rate) for _ in range(max(1, int(rate * seconds)))]


def p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds, by nearest rank."""
    ordered = sorted(values)
    return ordered[-(len(ordered) // 100) - 1]


class _Path:
    """The whole of ingest, and beside it a plain produce and consume at the same rate."""

    def __init__(self, ingest: EdgeUnderLoad, writer: AIOKafkaProducer, echo: str, arrivals: Arrivals) -> None:
        self._ingest, self._writer, self._echo, self._arrivals = ingest, writer, echo, arrivals
        self._message, self._slices = paid_event(), 0
        self._rate = 0.0
        self.accepted: list[str] = []
        self.since_accepted: list[float] = []
        self.since_due: list[float] = []
        self.echoed: list[float] = []

    async def find_rate(self) -> tuple[float, float]:
        """Return (what the whole path sustains, the rate of the slices), in webhooks a second."""
        seen, begun = len(self._arrivals.order), monotonic()
        await self._ingest.load.closed_loop(most=BURST)
        deadline = Deadline(WAIT_SECONDS, "the burst")
        while len(self._arrivals.order) < seen + BURST:
            deadline.check()
            await asyncio.sleep(POLL_SECONDS)
        sustained = BURST / (monotonic() - begun)
        self._rate = sustained * LOAD_SHARE
        return sustained, self._rate

    async def ours(self, seconds: float) -> Reading:
        """Post in an open loop, and wait until all that was accepted is readable."""
        self._slices += 1
        answered: list[tuple[float, float, str]] = []
        await self._ingest.load.open_loop(
            gaps(self._rate, seconds, self._slices),
            lambda due, at, body: answered.append((due, at, json.loads(body)["delivery_id"])),
        )
        names = [name for _, _, name in answered]
        await self._arrivals.wait_for(names)
        self.accepted += names
        waits = [max(0.0, self._arrivals.at[name] - at) * 1e3 for _, at, name in answered]
        self.since_accepted += waits
        self.since_due += [(self._arrivals.at[name] - due) * 1e3 for due, _, name in answered]
        return Reading(p99(waits), len(waits), seconds)

    async def bare(self, seconds: float) -> Reading:
        """Produce single records in the same open loop, and wait until all are readable."""
        when = gaps(self._rate, seconds, self._slices)
        records, sent, acks = sendables(self._message, len(when)), [], []
        due = monotonic()
        for gap, record in zip(when, records, strict=True):
            due += gap
            await asyncio.sleep(max(0.0, due - monotonic()))
            sent.append(monotonic())
            acks.append(await self._writer.send(self._echo, record.value, key=record.key, headers=record.headers))
        await asyncio.gather(*acks)
        await self._arrivals.wait_for([record.event_id for record in records])
        waits = [(self._arrivals.at[r.event_id] - at) * 1e3 for r, at in zip(records, sent, strict=True)]
        self.echoed += waits
        return Reading(p99(waits), len(waits), seconds)

    async def verify(self) -> Verified:
        """Each accepted delivery is the origin of one event."""
        return exactly_once(self.accepted, self._arrivals.order)


@asynccontextmanager
async def _listening(bootstrap: str, events: str, echo: str) -> AsyncIterator[Arrivals]:
    client = AIOKafkaConsumer(events, echo, bootstrap_servers=bootstrap, enable_auto_commit=False)
    await client.start()
    # Assigned at once, without a group; read from here on.
    places = list(client.assignment())
    for place, end in (await client.end_offsets(places)).items():
        client.seek(place, end)
    arrivals = Arrivals(client, events)
    task = asyncio.ensure_future(arrivals.run())
    try:
        yield arrivals
    finally:
        task.cancel()
        await asyncio.wait([task])
        await client.stop()


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run ingest with all its roles, and find out what it sustains."""
    bootstrap = parts.stack.kafka_bootstrap
    await ensure_topics(bootstrap)
    echo = await new_topic(bootstrap, "echo")
    writer = producer(bootstrap)
    await writer.start()
    try:
        async with (
            ingest_database(parts) as (url, _),
            _listening(bootstrap, carried_message(paid_event()).topic, echo) as arrivals,
            edge(parts, REAL, url, roles="api,consumer,timers,effects,relay") as ingest,
        ):
            path = _Path(ingest, writer, echo, arrivals)
            await path.find_rate()  # the first burst only warms up
            sustained, rate = await path.find_rate()
            extra: dict[str, object] = {"sustained_per_second": round(sustained), "rate_per_second": round(rate)}

            async def verify() -> Verified:
                for name, waits in (("accepted", path.since_accepted), ("due", path.since_due), ("bare", path.echoed)):
                    extra[f"p50_ms_since_{name}"] = round(Quartiles.of(waits).median, 1)
                    extra[f"p99_ms_since_{name}"] = round(p99(waits), 1)
                return await path.verify()

            yield Contest(path.ours, path.bare, verify, extra)
    finally:
        await writer.stop()


METRIC = Metric(
    id="P13",
    title="webhook accepted -> public event readable, p99 at 25 % of what the path sustains",
    subject="ingest with all roles, open loop",
    anchor="Kafka produce -> consume, same rate",
    unit="ms",
    gate=Gate(bound=20, stretch=8, figure_max=500),
    opened=opened,
)
