"""Ingest with its own database and role, its real app, and a gateway that answers which payment is of which invoice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from google.protobuf.message import Message

from dunwell_contracts import envelope as wire
from dunwell_gateways.charge import ChargeTransport
from dunwell_gateways.stripe.signing import HEADER, sign
from dunwell_gateways.stripe.specimens import NOW
from dunwell_ingest.api import routes
from dunwell_ingest.edge import Edge
from dunwell_ingest.effects import LinkFetcher
from dunwell_ingest.handlers import Reader
from dunwell_ingest.main import reason_of
from dunwell_kit.app import make_app
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database
from dunwell_kit.effects import Effects
from dunwell_kit.failpoints import arm
from dunwell_kit.ids import RandomIds
from dunwell_kit.testing import emptied, migrated, running, settings_of, wait_until
from dunwell_kit.timers import Timers

SECRET = "whsec_for_tests"


@pytest.fixture(scope="session")
async def ingest_urls(postgres_dsn: str) -> AsyncIterator[tuple[str, str]]:
    """The addresses of one migrated ingest database: the service's role's and the superuser's."""
    async with migrated(postgres_dsn, "ingest") as urls:
        yield urls


@pytest.fixture
async def database(ingest_urls: tuple[str, str]) -> AsyncIterator[Database]:
    """The empty database, opened as the service opens it."""
    await emptied(ingest_urls[1])
    clock = ManualClock(NOW)
    opened = Database(ingest_urls[0], service="ingest", clock=clock, ids=RandomIds(clock))
    yield opened
    await opened.close()


class Gateway:
    """Answers which payment belongs to which invoice, or not at all."""

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self.asked: list[str] = []
        self.down = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one call as Stripe's list of invoice payments does."""
        query = parse_qs(request.url.query.decode())
        payment = query.get("payment[payment_intent]", [""])[0]
        invoice = query.get("invoice", [""])[0]
        self.asked.append(payment or invoice)
        if self.down:
            raise httpx.ConnectError("the gateway is away")
        found = [
            {"id": f"inpay_{p}", "invoice": i, "payment": {"type": "payment_intent", "payment_intent": p}}
            for p, i in self.links.items()
            if payment == p or invoice == i
        ]
        return httpx.Response(200, json={"object": "list", "data": found})


class Ingest:
    """The service without its loops: posts go to the real app, the reader runs until all is read."""

    def __init__(self, database: Database, gateway: Gateway, client: httpx.AsyncClient) -> None:
        self.database, self.client, self.url = database, client, ""
        self.edge = Edge(database)
        self.reader = Reader(database, self.edge.commits.inserted, reason_of, 0.01)
        transport = ChargeTransport(
            lambda: httpx.AsyncClient(transport=httpx.MockTransport(gateway.answer)), "http://gateway", {}
        )
        fetcher = LinkFetcher({"stripe": transport}, self.reader, database.clock)
        settings = settings_of("ingest", "", "", lease_seconds=0)
        self.timers = Timers(database, settings, {"join": self.reader.on_join_due})
        self.effects = Effects(database, settings, {"fetch_links": fetcher.fetch_links})

    @property
    def clock(self) -> ManualClock:
        """The clock set by hand."""
        assert isinstance(self.database.clock, ManualClock)
        return self.database.clock

    async def add_endpoint(self, **more: str) -> httpx.Response:
        """Ask for an endpoint."""
        wanted = {"gateway": "stripe", "account": "acct_1", "secret": SECRET, **more}
        answer = await self.client.post("/v1/endpoints", json=wanted)
        if answer.status_code == 201:
            self.url = urlsplit(answer.json()["url"]).path
        return answer

    async def post(self, body: bytes, *, header: str | None = None, url: str = "") -> httpx.Response:
        """Post a body, signed now with the endpoint's secret unless a header is given."""
        signature = sign(body, SECRET, self.clock.now()) if header is None else header
        return await self.client.post(url or self.url, content=body, headers={HEADER: signature} if signature else {})

    async def read(self) -> None:
        """Let everything posted be read."""

        async def all_read() -> bool:
            return not (await self.database.read("SELECT 1 FROM deliveries WHERE state='new' LIMIT 1"))

        async with running(self.reader):
            await wait_until(all_read)

    async def settle(self, wait: timedelta = timedelta(minutes=2)) -> None:
        """Read, ask the gateway, and let patience end."""
        await self.read()
        while await self.effects.turn():
            pass
        self.clock.advance(wait)
        while await self.timers.turn() + await self.effects.turn():
            pass

    async def states(self) -> list[tuple[str, str]]:
        """Return (event type, state) of every delivery in order of arrival."""
        rows = await self.database.read("SELECT event_type, state FROM deliveries ORDER BY seq")
        return [(row["event_type"], row["state"]) for row in rows]

    async def emitted(self, *kinds: type[Message]) -> list[Any]:
        """Return the events (of some kinds) in order."""
        rows = await self.database.read("SELECT headers->>'ce_type' AS type, payload FROM outbox ORDER BY id")
        found = [wire.decode(wire.Envelope("", row["type"], "", NOW, ""), bytes(row["payload"])) for row in rows]
        return [event for event in found if not kinds or isinstance(event, kinds)]


@pytest.fixture
def gateway() -> Gateway:
    """A gateway without any links."""
    return Gateway()


@asynccontextmanager
async def _opened(database: Database, gateway: Gateway) -> AsyncIterator[Ingest]:
    async with httpx.AsyncClient(base_url="http://ingest") as client:
        made = Ingest(database, gateway, client)
        app = make_app("ingest", database, (routes(database, made.edge, "http://ingest"),), {}, list)
        client._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield made


@pytest.fixture
async def ingest(database: Database, gateway: Gateway) -> AsyncIterator[Ingest]:
    """The service over an empty database, with one endpoint."""
    async with _opened(database, gateway) as made:
        await made.add_endpoint()
        yield made
    arm("")


@pytest.fixture
def ingest_over(gateway: Gateway) -> Callable[[Database], Any]:
    """Open the service over another database."""
    return lambda database: _opened(database, gateway)


@pytest.fixture
async def no_database(unused_tcp_port: int) -> AsyncIterator[Database]:
    """A database that is not there."""
    clock = ManualClock(NOW)
    opened = Database(
        f"postgresql://x:y@127.0.0.1:{unused_tcp_port}/z", service="ingest", clock=clock, ids=RandomIds(clock)
    )
    yield opened
    await opened.close()
