"""Analytics with its own database and role, and a way to tell it events."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from google.protobuf.message import Message

from dunwell_analytics.api import routes
from dunwell_analytics.handlers import consumed, recompute
from dunwell_kit.app import make_app
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database, Tx
from dunwell_kit.ids import RandomIds
from dunwell_kit.messages import Received
from dunwell_kit.testing import envelope_for, migrated

NOW = datetime(2026, 6, 1, 10, tzinfo=UTC)


@pytest.fixture(scope="session")
async def analytics_urls(postgres_dsn: str) -> AsyncIterator[tuple[str, str]]:
    """The addresses of one migrated analytics database: the service's role's and the superuser's."""
    async with migrated(postgres_dsn, "analytics") as urls:
        yield urls


@pytest.fixture
async def database(analytics_urls: tuple[str, str]) -> AsyncIterator[Database]:
    """The database, opened as the service opens it; every test has a tenant of its own."""
    clock = ManualClock(NOW)
    opened = Database(analytics_urls[0], service="analytics", clock=clock, ids=RandomIds(clock))
    yield opened
    await opened.close()


class Analytics:
    """The service without its loops, for one tenant."""

    def __init__(self, database: Database, client: httpx.AsyncClient) -> None:
        self.database, self.client, self.tenant = database, client, f"t{secrets.token_hex(5)}"

    async def hear(
        self, message: Message, at: datetime, event_id: str = "", payer: str = "cus_1",
        may_commit: asyncio.Event | None = None, written: asyncio.Event | None = None,
    ) -> str:  # fmt: skip
        """Let one event be heard; returns its id.

        Args:
            may_commit: Waited for before the commit, once all is written and `written` is set.
        """
        event_id = event_id or str(self.database.ids.uuid())
        envelope = envelope_for(message, event_id=event_id, key=f"{self.tenant}:{payer}", at=at)
        received = Received(envelope, message, "topic", 0, 0)

        async def work(tx: Tx) -> None:
            await consumed()[envelope.type](tx, received)
            if may_commit is not None and written is not None:
                await tx.flush()
                written.set()
                await may_commit.wait()

        await self.database.transact(work)
        return event_id

    async def recompute(self, turns: int | None = None) -> None:
        """Bring the read models up to date, or as far as some turns get."""
        while turns != 0 and await self.database.transact(recompute):
            turns = None if turns is None else turns - 1

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the tenant's rows of a read model."""
        found = await self.database.read(f"SELECT * FROM {table} x WHERE tenant_id=:t ORDER BY x::text", t=self.tenant)
        return [dict(row) for row in found]

    async def get(self, path: str, **params: Any) -> Any:
        """Return a good answer's document."""
        answer = await self.client.get(path, params={"tenant": self.tenant, **params})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def analytics(database: Database) -> AsyncIterator[Analytics]:
    """The service with its real app."""
    app = make_app("analytics", database, (routes(database),), {}, list)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://analytics") as client:
        yield Analytics(database, client)
