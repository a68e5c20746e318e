import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import aiosmtplib
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from dunwell_kit.clock import ManualClock
from dunwell_sandbox.webhooks import signature
from dunwell_stack.children import free_ports
from dunwell_worlds import base
from dunwell_worlds.protocol import ActionKind, PayerAction

pytestmark = pytest.mark.integration

T0 = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Receiver:
    """Takes webhooks; refuses the first so many."""

    def __init__(self, refuse=0):
        self.refuse, self.got, self.order = refuse, [], []
        self.app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])

    async def _take(self, request):
        body, header = await request.body(), request.headers["stripe-signature"]
        second = int(header.split(",")[0].removeprefix("t="))
        assert header == signature(body, ["whsec_1"], second)
        if self.refuse:
            self.refuse -= 1
            return Response(status_code=500)
        self.got.append(json.loads(body))
        return Response(status_code=200)


async def settled(box):
    """Wait until every event is acknowledged."""
    async with asyncio.timeout(15):
        while (await box.get("/_sandbox/pending"))["pending"]:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.02)


async def listening(box, receiver_port):
    answer = await box.client.post(
        "/_sandbox/endpoint", json={"url": f"http://127.0.0.1:{receiver_port}/hook", "secret": "whsec_1"}
    )
    assert answer.status_code == 200


async def test_one_failure_is_told_by_several_events_until_they_are_taken(sandbox, serving):
    receiver, (port,) = Receiver(refuse=3), free_ports(1)
    async with sandbox() as box, serving(receiver.app, port):
        await box.open(T0)
        assert (await box.get("/_sandbox/pending"))["pending"] == 3
        await listening(box, port)
        await settled(box)
        assert sorted(each["type"] for each in receiver.got) == [
            "charge.failed",
            "invoice.payment_failed",
            "payment_intent.payment_failed",
        ]
        assert {each["api_version"] for each in receiver.got} == {"2025-03-31.basil"}
        assert {each["created"] for each in receiver.got} == {int(T0.timestamp())}
        stats = await box.get("/_sandbox/stats")
        assert (stats["posted"], stats["accepted"], stats["rejected"]) == (6, 3, 3)


async def test_a_receiver_that_is_away_misses_nothing(sandbox, serving):
    receiver, (port,) = Receiver(), free_ports(1)
    async with sandbox() as box:
        await listening(box, port)
        await box.open(T0 + HOUR)
        await asyncio.sleep(0.1)
        async with serving(receiver.app, port):
            await settled(box)
    assert len(receiver.got) == 6


async def test_duplicates_and_disorder_come_on_request(sandbox, serving):
    receiver, (port,) = Receiver(), free_ports(1)
    async with sandbox(duplicate_rate=1.0, disorder_rate=0.5) as box, serving(receiver.app, port):
        await listening(box, port)
        await box.open(T0 + 2 * HOUR)
        await settled(box)
        written = [each["id"] for each in (await box.get("/v1/events", limit=100))["data"]][::-1]
        arrived = [each["id"] for each in receiver.got]
        assert sorted(arrived) == sorted(written * 2)
        assert list(dict.fromkeys(arrived)) != written
        assert (await box.get("/_sandbox/stats"))["duplicates"] == 9


async def test_the_world_tells_when_it_goes_on(sandbox):
    async with sandbox(clock=ManualClock(T0)) as box:
        box.world.doings = {"in_1_0": [PayerAction(ActionKind.PAID, T0 + 3 * HOUR)]}
        assert (await box.get("/_sandbox/next"))["at"] == T0.isoformat()
        assert await box.open(T0) == {"failed": 1, "acted": 0}
        assert (await box.get("/_sandbox/next"))["at"] == (T0 + HOUR).isoformat()
        await box.open(T0 + 2 * HOUR)
        assert (await box.get("/_sandbox/next"))["at"] == (T0 + 3 * HOUR).isoformat()
        assert await box.open(T0 + 3 * HOUR) == {"failed": 0, "acted": 1}
        assert await box.open(T0 + 3 * HOUR) == {"failed": 0, "acted": 0}
        assert (await box.get("/_sandbox/next"))["at"] is None
        assert (await box.get("/v1/invoices/in_1x0"))["status"] == "paid"
        (truth,) = (await box.get("/_sandbox/truth"))["charges"]
        assert (truth["origin"], truth["idempotency_key"], truth["approved"]) == ("payer", None, True)


async def test_every_act_of_a_payer_is_told_as_stripe_tells_it(sandbox):
    async with sandbox(clock=ManualClock(T0 + 9 * HOUR)) as box:
        box.world.doings = {
            "in_1_0": [PayerAction(ActionKind.FIXED_METHOD, T0 + 3 * HOUR)],
            "in_1_1": [
                PayerAction(ActionKind.COMPLAINED, T0 + 4 * HOUR),
                PayerAction(ActionKind.OPTED_OUT, T0 + 4 * HOUR),
            ],
            "in_1_2": [PayerAction(ActionKind.CANCELED, T0 + 5 * HOUR)],
        }
        await box.open(T0 + 2 * HOUR)
        assert (await box.open(T0 + 9 * HOUR))["acted"] == 4
        types = [each["type"] for each in (await box.get("/v1/events", limit=4))["data"]][::-1]
        assert types == [
            "payment_method.attached",
            "customer.updated",
            "customer.subscription.deleted",
            "invoice.voided",
        ]
        customer = await box.get("/v1/customers/cus_1x0")
        assert customer["invoice_settings"]["default_payment_method"] == "pm_1x0u1"
        assert (await box.get("/v1/payment_methods/pm_1x0u1"))["card"]["exp_year"] == 2031
        await box.pay("in_1x0", payment_method="pm_1x0u1")
        assert box.world.attempts[-1][2] == "pm_1_0"
        assert (await box.get("/_sandbox/stats"))["actions"] == {
            "fixed_method": 1,
            "complained": 1,
            "opted_out": 1,
            "canceled": 1,
        }


async def test_an_answer_does_not_depend_on_who_asks_first(sandbox):
    async with sandbox(clock=ManualClock(T0 + 5 * HOUR)) as box:
        box.world.doings = {"in_1_0": [PayerAction(ActionKind.PAID, T0 + 3 * HOUR)]}
        await box.open(T0)
        # The payer paid two hours ago, though nobody has let the world go on since.
        answer = await box.pay("in_1x0", key="k")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invoice_already_paid")
        assert box.world.attempts == []


async def test_a_message_reaches_the_payer_once(sandbox):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.net", "payer-0001@example.com", "Zahlung"
    message["Message-ID"], message["X-Dunwell-Kind"], message["X-Dunwell-Tone"] = "<1@x>", "reminder_1", "firm"
    message["X-Dunwell-Invoices"] = "in_1x0,in_1x1,in_unknown"
    message.set_content("Bitte zahlen: https://pay.example.com/i/in_1x0 — danke")
    message.add_alternative("<p>Bitte zahlen</p>", subtype="html")
    plain = EmailMessage()
    plain["From"], plain["To"], plain["Subject"] = "a@example.net", "b@example.com", "hello"
    plain.set_content("no headers of ours")
    async with sandbox() as box:
        await box.open(box.clock.now())
        for each in (message, message, plain):
            await aiosmtplib.send(each, hostname="127.0.0.1", port=box.settings.smtp_port, start_tls=False)
        now = box.clock.now()
        assert box.world.delivered == [
            ("in_1_0", now, "email", "firm", "reminder_1"),
            ("in_1_1", now, "email", "firm", "reminder_1"),
        ]
        shown = (await box.get("/_sandbox/messages"))["messages"]
        assert [each["reached"] for each in shown] == [["in_1x0", "in_1x1"], []]
        assert "— danke" in shown[0]["text"] and "<p>" in shown[0]["html"]
        assert len((await box.get("/_sandbox/messages", to="b@example.com"))["messages"]) == 1


async def test_wrong_control_calls_are_refused(sandbox):
    async with sandbox() as box:
        for body in (b"{", b"[]", b'{"until": "soon"}', b'{"until": "2026-01-01T00:00:00"}'):
            assert (await box.client.post("/_sandbox/open", content=body)).status_code == 400
        assert (await box.client.post("/_sandbox/endpoint", json={"url": "x"})).status_code == 400


def start(folder, port, smtp_port):
    environment = os.environ | {
        "DUNWELL_SANDBOX_DATA_DIR": str(folder),
        "DUNWELL_SANDBOX_INVOICES": "40",
        "DUNWELL_SANDBOX_WORLD_DAYS": "5",
        "DUNWELL_SANDBOX_SEED": "3",
    }
    argv = [sys.executable, "-m", "dunwell_sandbox", "--port", str(port), "--smtp-port", str(smtp_port)]
    process = subprocess.Popen(argv, env=environment)
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        try:
            if httpx.get(f"http://127.0.0.1:{port}/_sandbox/health", timeout=2).is_success:
                return process
        except httpx.TransportError:
            time.sleep(0.05)


def test_a_killed_sandbox_keeps_its_truth_and_its_world(tmp_path):
    port, smtp_port = free_ports(2)
    url, until = f"http://127.0.0.1:{port}", datetime(2025, 8, 1, tzinfo=UTC).isoformat()
    process = start(tmp_path, port, smtp_port)
    try:
        with httpx.Client(base_url=url, headers={"Authorization": "Bearer sk_test_sandbox"}) as client:
            assert client.post("/_sandbox/open", json={"until": until}).json()["failed"] == 40
            ids = [each["id"] for each in client.get("/v1/invoices", params={"limit": 100}).json()["data"]]
            assert len(ids) == 40
            paid = [client.post(f"/v1/invoices/{each}/pay", headers={"Idempotency-Key": f"k-{each}"}) for each in ids]
            assert {answer.status_code for answer in paid} == {200, 402}
            before = [client.get(path).json() for path in ("/_sandbox/truth", "/_sandbox/stats", "/_sandbox/next")]
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = start(tmp_path, port, smtp_port)
            after = [client.get(path).json() for path in ("/_sandbox/truth", "/_sandbox/stats", "/_sandbox/next")]
            assert before == after
            assert len(after[0]["charges"]) == 40
            again = client.post(f"/v1/invoices/{ids[0]}/pay", headers={"Idempotency-Key": f"k-{ids[0]}"})
            assert again.headers["idempotent-replayed"] == "true"
            assert again.json() == paid[0].json()
    finally:
        process.kill()
        process.wait()


async def test_equal_seeds_give_equal_answers_in_any_order(sandbox, tmp_path):
    outcomes = []
    for folder, backwards in (("one", False), ("two", True)):
        world = base.make(5, 30, days=3)
        clock = ManualClock(datetime(2025, 7, 20, tzinfo=UTC))
        async with sandbox(world=world, clock=clock, data_dir=tmp_path / folder, seed=5) as box:
            await box.open(clock.now())
            ids = [each["id"] for each in (await box.get("/v1/invoices", limit=100))["data"]]
            answers = await asyncio.gather(*(box.pay(each, key=f"k-{each}") for each in sorted(ids, reverse=backwards)))
            by_key = {answer.headers["idempotency-key"]: answer.json() for answer in answers}
            events = {each["id"] for each in (await box.get("/v1/events", limit=100))["data"]}
            outcomes.append((sorted(by_key.items()), (await box.get("/_sandbox/stats"))["invoices"], len(events)))
    assert outcomes[0] == outcomes[1]
