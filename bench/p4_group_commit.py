"""P4: what group commit is worth against one INSERT and COMMIT for each request, on the pool that the service has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.contest import Contest, Metric, Verified
from bench.edges import ONE_INSERT_EACH, REAL, edge, ingest_database, kept
from bench.pairs import Gate
from bench.parts import Parts


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run both edges over one database."""
    async with (
        ingest_database(parts) as (url, superuser_url),
        edge(parts, REAL, url) as grouped,
        edge(parts, ONE_INSERT_EACH, url) as single,
    ):

        async def verify() -> Verified:
            return await kept(superuser_url, grouped.accepted + single.accepted)

        yield Contest(grouped.measured, single.measured, verify)


METRIC = Metric(
    id="P4",
    title="durable acknowledgements a second, group commit",
    subject="the ingest process as it is, closed loop",
    anchor="the same with one INSERT and COMMIT a request",
    unit="1/s",
    gate=Gate(bound=1.3, stretch=2, at_least=True),
    opened=opened,
)
