"""A database with the kit's tables alone, and outboxes filled the way services fill them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from google.protobuf.message import Message

from bench.bodies import PAYERS
from bench.parts import Parts
from dunwell_kit.database import Database, Tx
from dunwell_kit.testing import make_kit_tables


@asynccontextmanager
async def kit_database(parts: Parts) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Make a database with the kit's tables; yields (its URL, a connection to look at it)."""
    admin = await asyncpg.connect(parts.stack.postgres_dsn)
    name = f"bench_{secrets.token_hex(6)}"
    await admin.execute(f'CREATE DATABASE "{name}"')
    url = urlunsplit(urlsplit(parts.stack.postgres_dsn)._replace(path=f"/{name}"))
    await make_kit_tables(url)
    connection = await asyncpg.connect(url)
    try:
        yield url, connection
    finally:
        await connection.close()
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


async def emit_many(database: Database, message: Message, number: int) -> list[str]:
    """Commit so many events to the outbox in one unit of work; returns their ids."""

    async def work(tx: Tx) -> list[str]:
        return [tx.emit(message, key=f"default:cus_{n % PAYERS}", correlation_id="dlv_1") for n in range(number)]

    return await database.transact(work)
