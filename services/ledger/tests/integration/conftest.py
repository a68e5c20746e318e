"""A ledger database with the service's own role, its books, and a way to tell them events."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import asyncpg
import pytest
from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.envelope import Envelope, decode
from dunwell_contracts.values import stamp
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database
from dunwell_kit.ids import RandomIds
from dunwell_kit.messages import Received
from dunwell_kit.testing import envelope_for, migrated
from dunwell_ledger.handlers import Books, consumed
from dunwell_ledger.policy import LedgerPolicy

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
async def ledger_urls(postgres_dsn: str) -> AsyncIterator[tuple[str, str]]:
    """The addresses of one migrated ledger database: the service's role's and the superuser's."""
    async with migrated(postgres_dsn, "ledger") as urls:
        yield urls


@pytest.fixture
async def database(ledger_urls: tuple[str, str]) -> AsyncIterator[Database]:
    """The ledger's database, opened as the service opens it."""
    clock = ManualClock(START)
    opened = Database(ledger_urls[0], service="ledger", clock=clock, ids=RandomIds(clock))
    yield opened
    await opened.close()


@pytest.fixture
async def superuser(ledger_urls: tuple[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection that is refused by triggers alone, never by grants."""
    connection = await asyncpg.connect(ledger_urls[1])
    yield connection
    await connection.close()


class Told:
    """The books of one tenant and a way to tell them events."""

    def __init__(self, database: Database, policy: LedgerPolicy | None = None) -> None:
        self.database, self.tenant = database, f"t{secrets.token_hex(5)}"
        self.handlers = consumed(Books(policy or LedgerPolicy()))

    def origin(self, **more: object) -> payment_pb2.Origin:
        """Return where an event comes from."""
        known: dict[str, object] = {
            "tenant_id": self.tenant, "gateway": "stripe", "account": "acct", "payer_id": "cus_1", "invoice_id": "in_1",
            "occurred_at": stamp(START),
        }  # fmt: skip
        return payment_pb2.Origin(**{**known, **more})

    def money(self, minor: int, currency: str = "EUR") -> common_pb2.Money:
        """Return an amount for the wire."""
        return common_pb2.Money(currency_code=currency, minor_units=minor)

    def received(self, message: Message, event_id: str = "") -> Received:
        """Return a message as the consumer would hand it over."""
        envelope = envelope_for(message, event_id=event_id or str(self.database.ids.uuid()), key=f"{self.tenant}:cus_1")
        return Received(envelope, message, "topic", 0, 0)

    async def tell(self, *messages: Message) -> None:
        """Let the books hear events, each in its own transaction."""
        for message in messages:
            received = self.received(message)
            await self.database.transact(lambda tx, r=received: self.handlers[r.envelope.type](tx, r))  # type: ignore[misc]

    async def journals(self) -> list[tuple[str, str]]:
        """Return (kind, rule) of the tenant's journals in order."""
        rows = await self.database.read(
            "SELECT kind, rule FROM journals WHERE tenant_id=:t ORDER BY seq", t=self.tenant
        )
        return [(row["kind"], row["rule"]) for row in rows]

    async def balances(self) -> dict[str, int]:
        """Return what stands on each account, zero left out."""
        rows = await self.database.read(
            "SELECT a.name, b.posted FROM balances b JOIN accounts a USING (account_id)"
            " WHERE a.tenant_id=:t AND b.posted <> 0",
            t=self.tenant,
        )
        return {row["name"]: row["posted"] for row in rows}

    async def emitted(self) -> list[Message]:
        """Return the events of the tenant in order."""
        rows = await self.database.read(
            "SELECT headers->>'ce_type' AS type, payload FROM outbox WHERE agg_key LIKE :key ORDER BY id",
            key=f"{self.tenant}:%",
        )
        return [decode(Envelope("", row["type"], "", START, ""), bytes(row["payload"])) for row in rows]


@pytest.fixture
def books(database: Database) -> Told:
    """Books of a tenant that no other test uses."""
    return Told(database)


@pytest.fixture
def books_with(database: Database) -> Callable[[LedgerPolicy], Told]:
    """Make books of a policy."""
    return lambda policy: Told(database, policy)


@pytest.fixture
def books_of() -> Callable[[Database, str], Told]:
    """Make books of a tenant in a database of the test's own."""

    def made(database: Database, tenant: str) -> Told:
        told = Told(database)
        told.tenant = tenant
        return told

    return made
