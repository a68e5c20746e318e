"""Retry with its own database and role, over the real sandbox: a gateway with a scripted world, and a clock set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell_contracts import envelope as wire
from dunwell_contracts.values import stamp
from dunwell_gateways.charge import ChargeTransport, Timeouts
from dunwell_kit.app import make_app
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database
from dunwell_kit.effects import Effects
from dunwell_kit.failpoints import arm
from dunwell_kit.http import gateway_client
from dunwell_kit.ids import RandomIds
from dunwell_kit.messages import Received
from dunwell_kit.testing import emptied, envelope_for, migrated, settings_of, wait_until
from dunwell_kit.timers import Timers
from dunwell_retry.api import routes
from dunwell_retry.effects import Charger
from dunwell_retry.handlers import Recovery, consumed, timed
from dunwell_retry.main import classified
from dunwell_retry.outcomes import Outcomes
from dunwell_retry.planners import planner
from dunwell_retry.policies import Policy
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules import allow
from dunwell_sandbox.main import make_sandbox
from dunwell_sandbox.settings import FaultRates, SandboxSettings
from dunwell_stack.children import free_ports
from dunwell_worlds.protocol import AttemptResult, Decline, FailedInvoice, Instrument, PastPayment, PayerAction

# A Monday; every invoice of the scripted world fails at this instant.
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
POOR = Decline("insufficient_funds", "51", "24", "Your card has insufficient funds.")
POLICY = RetryPolicy(
    planners={"fixed": planner(Policy("fixed", 1, "fixed", days=(3, 5, 7), attempts_max=3))}, main_policy="fixed", holdout_policy="fixed", holdout_share=0.0,
    experiment="e", gate=allow, classify=classified, idempotency_secret=b"secret", merchant_country="US",
)  # fmt: skip


class ScriptedWorld:
    """Two invoices of one payer and one of another; each approves from an instant on and declines as written."""

    name = "scripted"
    horizon = timedelta(days=40)

    def __init__(self) -> None:
        self.approves_from: dict[str, datetime] = {}
        self.decline = POOR
        self.attempts: list[tuple[str, datetime, str, str]] = []

    def failures(self) -> list[FailedInvoice]:
        return [self._failure(0, "a"), self._failure(1, "a"), self._failure(2, "b")]

    def _failure(self, number: int, payer: str) -> FailedInvoice:
        card = Instrument(f"pm_{payer}", "card", "visa", "debit", "iss_1", "US", (2029, 5))
        past = PastPayment(START - timedelta(days=30), 1900, True, None)
        return FailedInvoice(
            f"in_{number}", f"pay_{payer}", "ten", 2000 + number, "USD", "Europe/Berlin", START, START, "stripe", ("stripe",),
            (card,), POOR, (past,),
        )  # fmt: skip

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        self.attempts.append((invoice_id.replace("_", ""), at, instrument_id, initiator))
        approved = at >= self.approves_from.get(invoice_id, START + timedelta(days=400))
        return AttemptResult(approved, None if approved else self.decline, 10)

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Messages change nobody here."""

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> list[PayerAction]:
        return []

    def next_action_at(self, invoice_id: str, after: datetime) -> datetime | None:
        return None


@pytest.fixture(scope="session")
async def retry_urls(postgres_dsn: str) -> AsyncIterator[tuple[str, str]]:
    """The addresses of one migrated retry database: the service's role's and the superuser's."""
    async with migrated(postgres_dsn, "retry") as urls:
        yield urls


@pytest.fixture
async def database(retry_urls: tuple[str, str]) -> AsyncIterator[Database]:
    """The empty database, opened as the service opens it."""
    await emptied(retry_urls[1])
    clock = ManualClock(START + timedelta(minutes=1))
    opened = Database(retry_urls[0], service="retry", clock=clock, ids=RandomIds(clock))
    yield opened
    await opened.close()


class Retry:
    """The service without its loops: events go in, timers and effects run when asked, charges reach the sandbox."""

    def __init__(
        self, database: Database, world: ScriptedWorld, sandbox: httpx.AsyncClient, stripe: ChargeTransport,
        policy: RetryPolicy,
    ) -> None:  # fmt: skip
        self.database, self.world, self.sandbox = database, world, sandbox
        self.policy, self.stripe = policy, stripe
        timeouts = Timeouts(connect_seconds=1, read_seconds=0.4, total_seconds=1)
        recovery, outcomes = Recovery(policy), Outcomes(policy)
        charger = Charger(database, {"stripe": self.stripe}, recovery, outcomes, timeouts)
        settings = settings_of("retry", "", "", lease_seconds=0)
        self.handlers = consumed(recovery)
        self.timers = Timers(database, settings, {**timed(recovery), "reconcile": outcomes.on_reconcile_due})
        performers = {"charge": charger.charge, "reconcile": charger.reconcile, "fetch_payer": charger.fetch_payer}
        self.effects = Effects(database, settings, performers)
        app = make_app("retry", database, (routes(database, recovery),), {}, list)
        self.api = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://retry"
        )

    @property
    def clock(self) -> ManualClock:
        """The clock set by hand, which the sandbox shares."""
        assert isinstance(self.database.clock, ManualClock)
        return self.database.clock

    def origin(self, number: int = 0, **more: Any) -> payment_pb2.Origin:
        """Return where a gateway's event about an invoice comes from."""
        payer = "b" if number == 2 else "a"
        known = {
            "tenant_id": "default", "gateway": "stripe", "account": "acct", "payer_id": f"cus_{payer}",
            "invoice_id": f"in_{number}", "subscription_id": "sub_1", "payment_id": f"pi_{number}",
            "charge_id": f"ch_{number}n1", "instrument_id": f"pm_{payer}", "occurred_at": stamp(self.clock.now()),
        }  # fmt: skip
        return payment_pb2.Origin(**{**known, **more})

    def failed(self, number: int = 0, reason: str = "insufficient_funds", **origin: Any) -> payment_pb2.PaymentFailed:
        """Return the first failure of an invoice."""
        return payment_pb2.PaymentFailed(
            origin=self.origin(number, occurred_at=stamp(START), **origin),
            amount=common_pb2.Money(currency_code="USD", minor_units=2000 + number),
            attempt_number=1,
            trigger=payment_pb2.TRIGGER_SCHEDULE,
            decline=payment_pb2.Decline(gateway_code="insufficient_funds", network_code="51", reason=reason),
            instrument=payment_pb2.InstrumentFacts(
                kind="card", network="visa", funding="debit", country="US", account_reference="fp_1"
            ),
        )

    async def tell(self, *messages: Message) -> list[str]:
        """Let the service hear events, each in its own transaction; returns their ids."""
        ids = []
        for message in messages:
            event_id = str(self.database.ids.uuid())
            envelope = envelope_for(message, event_id=event_id, key="default:payer", at=self.clock.now())
            received = Received(envelope, message, "topic", 0, 0)
            await self.database.transact(lambda tx, r=received: self.handlers[r.envelope.type](tx, r))  # type: ignore[misc]
            ids.append(event_id)
        return ids

    async def open(self, number: int = 0, **more: Any) -> str:
        """Let an invoice fail and its case be planned; returns the case's id."""
        await self.tell(self.failed(number, **more))
        await self.run()
        return str((await self.row("SELECT case_id FROM cases WHERE invoice_id=:i", i=f"in_{number}"))["case_id"])

    async def run(self) -> None:
        """Fire and perform until nothing is due."""
        while await self.timers.turn() + await self.effects.turn():
            pass

    async def run_until(self, at: datetime) -> None:
        """Step from due instant to due instant until `at`."""
        while True:
            await self.run()
            due = await self.row(
                """SELECT min(at) AS at FROM (SELECT due_at AS at FROM timers WHERE state='pending'
                     UNION ALL SELECT not_before FROM effects WHERE state='pending') x WHERE at > :now AND at <= :until""",
                now=self.clock.now(),
                until=at,
            )
            if due["at"] is None:
                break
            self.clock.set(due["at"])
        self.clock.set(at)

    async def recover_leases(self) -> None:
        """Let the leases of crashed effects end, as time would."""
        await self.database.transact(lambda tx: tx.execute("UPDATE effects SET lease_until = now() - interval '1 s'"))

    async def row(self, statement: str, **parameters: Any) -> Any:
        """Return the only row of a query."""
        (found,) = await self.database.read(statement, **parameters)
        return found

    async def state(self, number: int = 0) -> str:
        """Return the state of an invoice's newest case."""
        found = await self.database.read(
            "SELECT state FROM cases WHERE invoice_id=:i ORDER BY opened_at DESC, case_id DESC LIMIT 1",
            i=f"in_{number}",
        )
        return str(found[0]["state"])

    async def attempts(self, number: int = 0) -> list[str]:
        """Return the states of an invoice's attempts in order."""
        rows = await self.database.read(
            "SELECT state FROM charge_attempts WHERE invoice_id=:i ORDER BY intended_at, attempt_number",
            i=f"in_{number}",
        )
        return [row["state"] for row in rows]

    async def truth(self) -> list[dict[str, Any]]:
        """Return every charge the gateway really tried."""
        found: list[dict[str, Any]] = (await self.sandbox.get("/_sandbox/truth")).json()["charges"]
        return found

    async def emitted(self, *kinds: type[Message]) -> list[Any]:
        """Return the events (of some kinds) in order."""
        rows = await self.database.read("SELECT headers->>'ce_type' AS type, payload FROM outbox ORDER BY id")
        found = [wire.decode(wire.Envelope("", row["type"], "", START, ""), bytes(row["payload"])) for row in rows]
        return [event for event in found if not kinds or isinstance(event, kinds)]

    async def close(self) -> None:
        """Close what was opened."""
        await self.stripe.close()
        await self.api.aclose()


@asynccontextmanager
async def _served(app: Any, port: int) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
    task = asyncio.ensure_future(server.serve())
    await wait_until(lambda: server.started or task.done())
    try:
        yield
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def retry_with(database: Database, tmp_path: Path) -> Callable[..., Any]:
    """Open the service over a sandbox, one that is `down`, or one that meets requests with `faults`."""

    @asynccontextmanager
    async def opened(
        *, policy: RetryPolicy = POLICY, down: bool = False, faults: FaultRates | None = None
    ) -> AsyncIterator[Retry]:
        port, smtp_port = free_ports(2)
        settings = SandboxSettings(
            tmp_path / "sandbox", port=port, smtp_port=smtp_port, hold_seconds=0.6, faults=faults or FaultRates()
        )
        world = ScriptedWorld()
        app = make_sandbox(settings, database.clock, world)
        secret = {"Authorization": f"Bearer {settings.api_key}"}
        async with AsyncExitStack() as stack:
            inside = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=secret)
            sandbox = await stack.enter_async_context(inside)
            if down:
                stripe = ChargeTransport(lambda: gateway_client(0.4), "http://127.0.0.1:1", secret)
            elif faults is None:
                # Without faults to meet on the wire, the calls need none.
                client = httpx.AsyncClient(transport=httpx.ASGITransport(app))
                stripe = ChargeTransport(lambda: client, "http://gateway", secret)
            else:
                await stack.enter_async_context(_served(app, port))
                stripe = ChargeTransport(lambda: gateway_client(0.4), f"http://127.0.0.1:{port}", secret)
            await sandbox.post("/_sandbox/open", json={"until": database.clock.now().isoformat()})
            made = Retry(database, world, sandbox, stripe, policy)
            stack.push_async_callback(made.close)
            stack.callback(arm, "")
            yield made

    return opened


@pytest.fixture
async def retry(retry_with: Callable[..., Any]) -> AsyncIterator[Retry]:
    """The service over a sandbox that does as it should."""
    async with retry_with() as made:
        yield made
