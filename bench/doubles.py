"""Variants of ingest that a metric is compared with: without its store, and with one INSERT for each request.

Owns: what is left away. Everything else is the product's own code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from bench.bodies import ACCOUNT, SECRET
from dunwell_ingest import store
from dunwell_ingest.edge import Edge, GroupCommit
from dunwell_ingest.model import Arrived
from dunwell_kit.clock import SystemClock
from dunwell_kit.database import Database, Row, Tx
from dunwell_kit.ids import RandomIds

T = TypeVar("T")
_ENDPOINT = {
    "endpoint_id": "end_bench", "tenant_id": "default", "gateway": "stripe", "account": ACCOUNT, "secrets": [SECRET],
}  # fmt: skip


class _Nowhere:
    """A unit of work without a database: statements do nothing, and the only row there is is the endpoint."""

    async def execute(self, _statement: str, **_parameters: Any) -> SimpleNamespace:
        """Do nothing."""
        return SimpleNamespace(rowcount=1)

    async def row(self, _statement: str, **_parameters: Any) -> dict[str, Any]:
        """Return the endpoint."""
        return _ENDPOINT


class NoStore(Database):
    """The store's edge without what lies behind: SQLAlchemy, driver, network and Postgres."""

    def __init__(self) -> None:
        self.service = "ingest"
        self.clock = SystemClock()
        self.ids = RandomIds(self.clock)

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run the unit of work; its statements reach nobody."""
        return await work(cast("Tx", _Nowhere()))

    async def read(self, statement: str, **parameters: Any) -> list[Row]:
        """Do nothing, and find nothing."""
        return []


class OneInsertEach(GroupCommit):
    """What group commit is measured against: each request commits its own row."""

    async def put(self, arrived: Arrived) -> None:
        """Return when the delivery is committed."""
        await store.add_deliveries(self._database, [arrived])
        self.inserted.set()


def edge_with_one_insert_each(database: Database) -> Edge:
    """Return an edge without group commit."""
    edge = Edge(database)
    edge.commits = OneInsertEach(database)
    return edge
