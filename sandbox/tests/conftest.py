"""A world whose answers a test writes down, and a sandbox over it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn

from dunwell_kit.clock import ManualClock
from dunwell_sandbox.main import make_sandbox
from dunwell_sandbox.settings import SandboxSettings
from dunwell_stack.children import free_ports
from dunwell_worlds.protocol import AttemptResult, Decline, FailedInvoice, Instrument, PastPayment

T0 = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
POOR = Decline("insufficient_funds", "51", "24", "Your card has insufficient funds.")


class ScriptedWorld:
    """Approves from an instant on; payers act as written. Foresees, as the base world does."""

    name = "scripted"
    horizon = timedelta(days=30)

    def __init__(self, count=3):
        self.approves_from = dict.fromkeys(range(count), T0 + timedelta(days=400))
        self.doings = {}
        self.attempts = []
        self.delivered = []
        self.count = count

    def failures(self):
        return [self._failure(number) for number in range(self.count)]

    def _failure(self, number):
        card = Instrument(f"pm_1_{number}", "card", "visa", "debit", "iss_1", "DE", (2027, 5))
        past = PastPayment(T0 - timedelta(days=30), 1900, True, None)
        at = T0 + timedelta(hours=number)
        return FailedInvoice(
            f"in_1_{number}", f"pay_1_{number}", "ten", 1900 + number, "EUR", "Europe/Berlin", at, at,
            "stripe", ("stripe",), (card,), POOR, (past,),
        )  # fmt: skip

    def attempt(self, invoice_id, at, instrument_id, route, initiator):
        self.attempts.append((invoice_id, at, instrument_id, route, initiator))
        approved = at >= self.approves_from[int(invoice_id.rpartition("_")[2])]
        return AttemptResult(approved, None if approved else POOR, 10)

    def deliver(self, invoice_id, at, channel, tone, kind):
        self.delivered.append((invoice_id, at, channel, tone, kind))

    def payer_actions(self, invoice_id, after, until):
        return [each for each in self.doings.get(invoice_id, ()) if after < each.at <= until]

    def next_action_at(self, invoice_id, after):
        return next((each.at for each in self.doings.get(invoice_id, ()) if each.at > after), None)


@asynccontextmanager
async def serve(app, port):
    """Run an ASGI app on a port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve())
        while not server.started:
            assert not task.done()
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = True


@pytest.fixture
def serving():
    """Return the context manager that runs an app."""
    return serve


class Running:
    """A sandbox that serves, its world, its clock, and a client with the right key."""

    def __init__(self, settings, world, clock, client):
        self.settings, self.world, self.clock, self.client = settings, world, clock, client

    async def open(self, until):
        answer = await self.client.post("/_sandbox/open", json={"until": until.isoformat()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def pay(self, invoice, key=None, **fields):
        headers = {"Idempotency-Key": key} if key else {}
        return await self.client.post(f"/v1/invoices/{invoice}/pay", data=fields, headers=headers)

    async def get(self, path, **params):
        answer = await self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def sandbox(tmp_path):
    """Return a context manager that runs a sandbox; settings can be changed by keyword."""

    @asynccontextmanager
    async def run(world=None, clock=None, **changes):
        port, smtp_port = free_ports(2)
        settings = replace(SandboxSettings(tmp_path / "sandbox", port=port, smtp_port=smtp_port), **changes)
        world, clock = world or ScriptedWorld(), clock or ManualClock(T0 + timedelta(days=1))
        headers = {"Authorization": f"Bearer {settings.api_key}"}
        async with (
            serve(make_sandbox(settings, clock, world), port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client,
        ):
            yield Running(settings, world, clock, client)

    return run
