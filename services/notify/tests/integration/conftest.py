"""Notify with its own database and role, a mail server that does as it is told, and a clock set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.notice.v1 import notice_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts import envelope as wire
from dunwell_contracts.values import stamp
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database
from dunwell_kit.effects import Effects
from dunwell_kit.failpoints import arm
from dunwell_kit.ids import RandomIds
from dunwell_kit.messages import Received
from dunwell_kit.testing import emptied, envelope_for, migrated, settings_of
from dunwell_kit.timers import Timers
from dunwell_notify import store
from dunwell_notify.channels.email import SmtpChannel
from dunwell_notify.contacts import GatewayAccess, GatewayContacts
from dunwell_notify.effects import Messenger
from dunwell_notify.handlers import Notices, consumed, timed
from dunwell_notify.letters import Brand
from dunwell_notify.model import Contact, Payer
from dunwell_notify.policy import NotifyPolicy

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
BRAND = Brand("Acme Billing", "billing@acme.example", "help@acme.example", "https://pay.acme.example/{invoice}")


@pytest.fixture(scope="session")
async def notify_urls(postgres_dsn: str) -> AsyncIterator[tuple[str, str]]:
    """The addresses of one migrated notify database: the service's role's and the superuser's."""
    async with migrated(postgres_dsn, "notify") as urls:
        yield urls


@pytest.fixture
async def database(notify_urls: tuple[str, str]) -> AsyncIterator[Database]:
    """The empty database, opened as the service opens it."""
    await emptied(notify_urls[1])
    clock = ManualClock(START)
    opened = Database(notify_urls[0], service="notify", clock=clock, ids=RandomIds(clock))
    yield opened
    await opened.close()


class Mailbox:
    """A real mail server: `mode` is accept, refuse, later, or die (after it has taken the message)."""

    def __init__(self) -> None:
        self.mode, self.port = "accept", 0
        self.messages: list[tuple[list[str], str]] = []

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        if self.mode == "refuse":
            return "550 nobody of that name here"
        if self.mode == "later":
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        content = envelope.content
        self.messages.append(
            (list(envelope.rcpt_tos), content.decode() if isinstance(content, bytes) else str(content))
        )
        if self.mode == "die":
            assert server.transport is not None
            server.transport.abort()
        return "250 taken"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A mail server on a port of this machine."""
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, hostname="mail.test"), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    yield box
    server.close()


class Gateway:
    """What the gateway says of customers: a customer, None for no such one, or no answer at all."""

    def __init__(self) -> None:
        self.customers: dict[str, dict[str, Any] | None] = {}
        self.asked: list[str] = []
        self.down = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        customer = request.url.path.rpartition("/")[2]
        self.asked.append(customer)
        if self.down:
            raise httpx.ConnectError("the gateway is away")
        found = self.customers.get(customer)
        return httpx.Response(404, json={"error": {}}) if found is None else httpx.Response(200, json=found)


class Notify:
    """The service without its loops: events go in, timers and effects run when asked."""

    def __init__(self, database: Database, mailbox: Mailbox, client: httpx.AsyncClient, policy: NotifyPolicy) -> None:
        self.database, self.mailbox = database, mailbox
        notices = Notices(policy)
        contacts = GatewayContacts(client, {"stripe": GatewayAccess("http://gateway", "sk_test_sandbox")})
        channel = SmtpChannel("127.0.0.1", mailbox.port, BRAND.sender_email, seconds=2)
        messenger = Messenger(database, channel, contacts, BRAND, b"secret")
        settings = settings_of("notify", "", "", lease_seconds=0)
        self.handlers = consumed(notices)
        self.timers = Timers(database, settings, timed(notices))
        performers = {"send_notice": messenger.send_notice, "fetch_contact": messenger.fetch_contact}
        self.effects = Effects(database, settings, performers)

    @property
    def clock(self) -> ManualClock:
        """The clock set by hand."""
        assert isinstance(self.database.clock, ManualClock)
        return self.database.clock

    def case(self, case_id: str = "rec_1", **more: str) -> recovery_pb2.CaseRef:
        """Return which case an event is about; its invoice is `in_` and the case's number."""
        known = {
            "case_id": case_id, "tenant_id": "default", "gateway": "stripe", "account": "acct", "payer_id": "cus_1",
            "invoice_id": case_id.replace("rec", "in"), "subscription_id": "sub_1",
        }  # fmt: skip
        return recovery_pb2.CaseRef(**{**known, **more})

    def origin(self, case_id: str = "rec_1", **more: str) -> payment_pb2.Origin:
        """Return where a gateway's event about a case's invoice comes from."""
        ref = self.case(case_id)
        known = {
            "tenant_id": ref.tenant_id, "gateway": ref.gateway, "account": ref.account, "payer_id": ref.payer_id,
            "invoice_id": ref.invoice_id, "subscription_id": ref.subscription_id,
        }  # fmt: skip
        return payment_pb2.Origin(**{**known, **more})

    async def tell(self, *messages: Message) -> list[str]:
        """Let the service hear events, each in its own transaction; returns their ids."""
        ids = []
        for message in messages:
            event_id = str(self.database.ids.uuid())
            envelope = envelope_for(message, event_id=event_id, key="default:cus_1", at=self.clock.now())
            received = Received(envelope, message, "topic", 0, 0)
            await self.database.transact(lambda tx, r=received: self.handlers[r.envelope.type](tx, r))  # type: ignore[misc]
            ids.append(event_id)
        return ids

    async def open(
        self,
        case_id: str = "rec_1",
        action: recovery_pb2.PayerAction = recovery_pb2.PAYER_ACTION_UPDATE_METHOD,
        deadline_days: int = 28,
        **more: str,
    ) -> None:
        """Let a case be opened and planned."""
        await self.tell(
            recovery_pb2.RecoveryOpened(
                case=self.case(case_id, **more),
                amount=common_pb2.Money(currency_code="EUR", minor_units=2000),
                decline=payment_pb2.Decline(reason="expired"),
                failed_at=stamp(self.clock.now()),
            ),
            self.planned(case_id, action, deadline_days, **more),
        )

    def planned(
        self, case_id: str, action: recovery_pb2.PayerAction, deadline_days: int = 28, **more: str
    ) -> recovery_pb2.RecoveryPlanned:
        """Return retry's plan of a case."""
        return recovery_pb2.RecoveryPlanned(
            case=self.case(case_id, **more),
            payer_action=action,
            silent_until=stamp(self.clock.now() + timedelta(days=3)),
            deadline_at=stamp(self.clock.now() + timedelta(days=deadline_days)),
            amount=common_pb2.Money(currency_code="EUR", minor_units=2000),
        )

    async def know(self, payer_id: str = "cus_1", email: str | None = "ada@payer.example", zone: str = "UTC") -> None:
        """Put a payer into the contact book."""
        contact = Contact(email, "Ada", "en", zone, "DE")
        payer = Payer("default", "stripe", "acct", payer_id)
        await self.database.transact(lambda tx: store.save_contact(tx, payer, contact, "api"))

    async def run(self) -> None:
        """Fire and perform until nothing is due."""
        while await self.timers.turn() + await self.effects.turn():
            pass

    async def run_until(self, at: datetime) -> None:
        """Step from due instant to due instant until `at`."""
        while True:
            await self.run()
            rows = await self.database.read(
                """SELECT min(at) AS at FROM (SELECT due_at AS at FROM timers WHERE state='pending'
                     UNION ALL SELECT not_before FROM effects WHERE state='pending') x WHERE at > :now AND at <= :until""",
                now=self.clock.now(),
                until=at,
            )
            if rows[0]["at"] is None:
                break
            self.clock.set(rows[0]["at"])
        self.clock.set(at)

    async def notices(self) -> list[tuple[str, str, str]]:
        """Return (case, step, state) of every notice in order of its step's turn."""
        rows = await self.database.read("SELECT case_ids[1] AS c, step, state FROM notices ORDER BY due_at, notice_id")
        return [(row["c"], row["step"], row["state"]) for row in rows]

    async def emitted(self, *kinds: type[Message]) -> list[Any]:
        """Return the events of some kinds in order."""
        rows = await self.database.read("SELECT headers->>'ce_type' AS type, payload FROM outbox ORDER BY id")
        found = [wire.decode(wire.Envelope("", row["type"], "", START, ""), bytes(row["payload"])) for row in rows]
        return [event for event in found if isinstance(event, kinds)]

    async def suppressed(self) -> list[tuple[str, str, list[str]]]:
        """Return (step, rule, evidence) of what was said not to be sent."""
        told = await self.emitted(notice_pb2.NoticeSuppressed)
        return [(event.notice.step, event.reason.rule, list(event.reason.evidence)) for event in told]


@pytest.fixture
def gateway() -> Gateway:
    """A gateway that knows nobody yet."""
    return Gateway()


@pytest.fixture
async def notify(database: Database, mailbox: Mailbox, gateway: Gateway) -> AsyncIterator[Notify]:
    """The service over an empty database."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(gateway.answer)) as client:
        yield Notify(database, mailbox, client, NotifyPolicy())
    arm("")


@pytest.fixture
def notify_over(database: Database, mailbox: Mailbox) -> Callable[[httpx.AsyncClient], Notify]:
    """Make the service over another gateway."""
    return lambda client: Notify(database, mailbox, client, NotifyPolicy())


@pytest.fixture
def serving() -> Callable[[Any], Any]:
    """Return a client of an ASGI app that does not raise what the app raises."""

    @asynccontextmanager
    async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://notify") as opened:
            yield opened

    return client
