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
from dunwell_kit.testing import make_kit_tables


@pytest.fixture
async def kit_dsn(fresh_database: Callable[..., str]) -> str:
    """Address of a database with the kit's tables, its 16 shards, and a table `seen` for handlers."""
    dsn = fresh_database("kit")
    await make_kit_tables(dsn)
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, key text, what text)")
    await connection.close()
    return dsn


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
