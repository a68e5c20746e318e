"""A fresh kit database and the catalogue's topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import asyncpg
import pytest

from dunwell_kit.clock import SystemClock
from dunwell_kit.database import Database
from dunwell_kit.failpoints import arm
from dunwell_kit.ids import RandomIds
from dunwell_kit.kafka import ensure_topics
from dunwell_kit.testing import SHARDS_NOW, make_kit_tables


@pytest.fixture(scope="session")
async def kit_tables(fresh_database: Callable[..., str]) -> str:
    """Address of one database for the session: making and dropping one for each test would take longer than they do."""
    dsn = fresh_database("kit")
    await make_kit_tables(dsn)
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, key text, what text)")
    await connection.close()
    return dsn


@pytest.fixture
async def kit_dsn(kit_tables: str) -> str:
    """Address of a database with the kit's tables, empty, its 16 shards, and a table `seen` for handlers."""
    connection = await asyncpg.connect(kit_tables)
    tables = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    await connection.execute(f"TRUNCATE {', '.join(row['relname'] for row in tables)} RESTART IDENTITY")
    await connection.execute(SHARDS_NOW)
    await connection.close()
    return kit_tables


@pytest.fixture
async def kit_database(kit_dsn: str) -> AsyncIterator[Database]:
    """A kit database that is open."""
    clock = SystemClock()
    database = Database(kit_dsn, service="test", clock=clock, ids=RandomIds(clock))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def catalogue_on_kafka(kafka_bootstrap: str) -> str:
    """Address of a Kafka that has the catalogue's topics."""
    await ensure_topics(kafka_bootstrap)
    return kafka_bootstrap


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Leave no failpoint armed."""
    yield
    arm("")
