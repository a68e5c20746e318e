"""The pool: connections of one database, each lent for one unit of work.

Owns: making connections, and never lending one again that was cut or left in the middle of something.
Refuses: statements; the borrower runs them on the driver itself, which costs well under half of the way through
SQLAlchemy's cursor (ADR 0003).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# Every constant statement of a service, so that none is planned twice on a connection.
STATEMENTS_KEPT = 512


class Pool:
    """Connections of one database.

    Args:
        durable: False lets a commit return before it is on disk. A crash of Postgres may then undo the last of
            them, whole and in order; only for what is done again at no harm.
    """

    def __init__(self, url: str, *, service: str, size: int, durable: bool = True) -> None:
        self._engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            # A unit of work ends its transaction itself, so there is nothing to roll back on return.
            pool_reset_on_return=None,
            # The connection used last knows its plans and has its pages at hand; in turn, all would have to.
            pool_use_lifo=True,
            connect_args={
                "server_settings": {
                    "application_name": f"dunwell-{service}",
                    "idle_in_transaction_session_timeout": "15000",
                    "statement_timeout": "10000",
                    "lock_timeout": "3000",
                    "timezone": "UTC",
                    "jit": "off",
                    **({} if durable else {"synchronous_commit": "off"}),
                },
                "timeout": 5,
                "statement_cache_size": STATEMENTS_KEPT,
            },
        )

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection; an error inside rolls back what is open and, if even that fails, throws it away."""
        # The pool alone is asked: SQLAlchemy's own connection around it would double the price of the shortest query.
        lease = await self._engine.raw_connection()
        try:
            connection: Any = lease.driver_connection
            if connection.is_closed():
                # Cut while it lay in the pool: nothing has been asked of it yet, so a new one does as well.
                lease.invalidate()
                lease.close()
                lease = await self._engine.raw_connection()
                connection = lease.driver_connection
            try:
                yield connection
            except BaseException as error:
                if isinstance(error, InternalClientError):
                    connection.terminate()
                await _abandon(connection)
                if connection.is_closed():
                    lease.invalidate()
                raise
        finally:
            lease.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def _abandon(connection: asyncpg.Connection) -> None:
    """Roll back; a connection on which even that fails is of no further use."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except (PostgresError, InterfaceError, InternalClientError, OSError):
        connection.terminate()


def asyncpg_url(url: str) -> str:
    """Return a URL that SQLAlchemy opens with asyncpg."""
    scheme, _, rest = url.partition("://")
    return url if "+" in scheme else f"postgresql+asyncpg://{rest}"
