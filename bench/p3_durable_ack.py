"""P3: how much of the edge's rate is left when every acknowledged webhook is committed first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.contest import Contest, Metric, Verified
from bench.edges import REAL, WITHOUT_STORE, edge, ingest_database, kept
from bench.pairs import Gate
from bench.parts import Parts


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run both edges; the one that waits its turn uses no CPU."""
    async with (
        ingest_database(parts) as (url, superuser_url),
        edge(parts, REAL, url) as real,
        edge(parts, WITHOUT_STORE, url) as without,
    ):

        async def verify() -> Verified:
            return await kept(superuser_url, real.accepted)

        yield Contest(real.measured, without.measured, verify)


METRIC = Metric(
    id="P3",
    title="durable acknowledgements a second",
    subject="the ingest process on Postgres, closed loop",
    anchor="the same process without a store",
    unit="1/s",
    gate=Gate(bound=0.40, stretch=0.55, at_least=True),
    opened=opened,
)
