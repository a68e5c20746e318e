"""Running ingest's HTTP edge as a process, with an endpoint to post to, and the proof that it kept what it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from bench.bodies import ACCOUNT, SECRET
from bench.contest import Verified, exactly_once
from bench.load import Load
from bench.pairs import Reading
from bench.parts import Parts, Process, free_port
from dunwell_kit.http import gateway_client
from dunwell_kit.testing import migrated
from dunwell_stack import wait_http_ready

# Enough that the server always has work waiting, few enough that the queue is not what is measured.
CONNECTIONS = 64
REAL = ("-m", "dunwell_ingest")
WITHOUT_STORE = ("-m", "bench.subjects", "ingest-without-store")
ONE_INSERT_EACH = ("-m", "bench.subjects", "ingest-one-insert-each")


class EdgeUnderLoad:
    """One running edge, and what it has accepted."""

    def __init__(self, process: Process, load: Load) -> None:
        self.process, self.load = process, load
        self.accepted: list[str] = []

    async def measured(self, seconds: float) -> Reading:
        """Return acknowledged requests a second, every connection always busy."""
        tally = await self.load.closed_loop(seconds)
        self.accepted += tally.accepted
        return Reading(tally.in_time / seconds, len(tally.accepted), seconds)


@asynccontextmanager
async def ingest_database(parts: Parts) -> AsyncIterator[tuple[str, str]]:
    """Make a migrated database; yields (the service's URL, a superuser's URL)."""
    async with migrated(parts.stack.postgres_dsn, "ingest") as urls:
        yield urls


@asynccontextmanager
async def edge(
    parts: Parts, program: Sequence[str], database_url: str, *, roles: str = "api", connections: int = CONNECTIONS
) -> AsyncIterator[EdgeUnderLoad]:
    """Run an edge on the subject's core, and open connections to a new endpoint of it."""
    port = free_port()
    with parts.process(
        *program,
        DUNWELL_INGEST_DATABASE_URL=database_url,
        DUNWELL_KAFKA_BOOTSTRAP=parts.stack.kafka_bootstrap,
        DUNWELL_INGEST_HTTP_PORT=str(port),
        DUNWELL_ROLES=roles,
    ) as process:
        await asyncio.to_thread(wait_http_ready, f"http://127.0.0.1:{port}/health/live", seconds=30)
        yield EdgeUnderLoad(process, Load(port, await _endpoint(port), connections))


async def _endpoint(port: int) -> str:
    async with gateway_client() as client:
        wanted = {"gateway": "stripe", "account": ACCOUNT, "secret": SECRET}
        answer = await client.post(f"http://127.0.0.1:{port}/v1/endpoints", json=wanted)
        answer.raise_for_status()
        return urlsplit(str(answer.json()["url"])).path


async def kept(superuser_url: str, accepted: Sequence[str]) -> Verified:
    """Compare what was acknowledged with the rows of the store."""
    connection = await asyncpg.connect(superuser_url)
    try:
        rows = await connection.fetch("SELECT event_id FROM deliveries")
    finally:
        await connection.close()
    return exactly_once(accepted, (row["event_id"] for row in rows))
