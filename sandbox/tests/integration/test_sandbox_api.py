import asyncio
from datetime import timedelta

import pytest

from dunwell_sandbox.settings import FaultRates

pytestmark = pytest.mark.integration

T0_ISO = "2026-03-02T06:00:00+00:00"
DAY = timedelta(days=1)


async def test_a_decline_is_a_402_with_all_that_the_issuer_said(sandbox):
    async with sandbox() as box:
        assert (await box.open(box.clock.now()))["failed"] == 3
        answer = await box.pay("in_1x0", key="k1")
        assert answer.status_code == 402
        told = answer.json()["error"]
        assert (told["type"], told["code"], told["decline_code"]) == (
            "card_error",
            "card_declined",
            "insufficient_funds",
        )
        assert (told["advice_code"], told["network_decline_code"], told["network_advice_code"]) == (
            "try_again_later",
            "51",
            "24",
        )
        assert told["payment_intent"]["id"] == "pi_1x0"
        assert told["payment_intent"]["last_payment_error"]["charge"] == told["charge"] == "ch_1x0n2"
        assert told["payment_method"]["card"]["exp_month"] == 5
        invoice = await box.get("/v1/invoices/in_1x0")
        assert (invoice["status"], invoice["attempt_count"], invoice["next_payment_attempt"]) == ("open", 2, None)


async def test_an_approval_pays_once_and_a_second_pay_is_refused(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        box.world.approves_from[1] = box.clock.now()
        answer = await box.pay("in_1x1", key="k1", off_session="true")
        assert (answer.status_code, answer.json()["status"], answer.json()["amount_paid"]) == (200, "paid", 1901)
        again = await box.pay("in_1x1", key="k2")
        assert again.status_code == 400
        assert again.json()["error"]["message"] == "Invoice is already paid"
        truth = (await box.get("/_sandbox/truth"))["charges"]
        assert [(each["invoice_id"], each["approved"], each["idempotency_key"]) for each in truth] == [
            ("in_1x1", True, "k1")
        ]
        assert box.world.attempts[0][3:] == ("stripe", "merchant")


async def test_the_same_key_replays_and_charges_once(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        first = await box.pay("in_1x0", key="same", off_session="true")
        box.world.approves_from[0] = box.clock.now()
        again = await box.pay("in_1x0", key="same", off_session="true")
        assert first.status_code == again.status_code == 402
        assert first.json() == again.json()
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert len(box.world.attempts) == 1
        other = await box.pay("in_1x0", key="same", off_session="false")
        assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")


async def test_a_refused_parameter_does_not_use_up_the_key(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        assert (await box.pay("in_1x0", key="k", payment_method="pm_other")).status_code == 400
        assert (await box.pay("in_1x0", key="k")).status_code == 402
        assert (await box.pay("in_none", key="n")).status_code == 404


async def test_a_key_in_use_is_a_conflict(sandbox):
    async with sandbox(faults=FaultRates(slow=1.0), slow_seconds=0.5) as box:
        await box.open(box.clock.now())
        first = asyncio.ensure_future(box.pay("in_1x0", key="k"))
        await asyncio.sleep(0.15)
        assert (await box.pay("in_1x0", key="k")).status_code == 409
        assert (await first).status_code == 402
        assert (await box.pay("in_1x0", key="k")).headers["idempotent-replayed"] == "true"


async def test_a_500_was_applied_and_is_replayed(sandbox):
    async with sandbox(faults=FaultRates(error=1.0)) as box:
        await box.open(box.clock.now())
        box.world.approves_from[0] = box.clock.now()
        for _ in range(2):
            answer = await box.pay("in_1x0", key="k")
            assert (answer.status_code, answer.json()["error"]["type"]) == (500, "api_error")
        assert (await box.get("/v1/invoices/in_1x0"))["status"] == "paid"
        assert len((await box.get("/_sandbox/truth"))["charges"]) == 1


@pytest.mark.parametrize(
    ("rates", "applied"),
    [
        (FaultRates(reset_before=1.0), 0),
        (FaultRates(reset_after=1.0), 1),
        (FaultRates(timeout=1.0), 1),
    ],
)
async def test_a_dropped_connection_tells_nothing_and_the_key_tells_the_truth(sandbox, rates, applied):
    import httpx

    async with sandbox(faults=rates, hold_seconds=0.1) as box:
        await box.open(box.clock.now())
        with pytest.raises(httpx.TransportError):
            await box.pay("in_1x0", key="k")
        assert len(box.world.attempts) == applied
        answer = await box.pay("in_1x0", key="k")
        assert answer.status_code == 402
        assert ("idempotent-replayed" in answer.headers) == bool(applied)
        assert len(box.world.attempts) == 1


async def test_no_key_no_entry(sandbox):
    async with sandbox() as box:
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer sk_wrong"}):
            answer = await box.client.get("/v1/invoices/in_1x0", headers=headers)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")
        by_name = await box.client.get("/v1/account", auth=(box.settings.api_key, ""))
        assert by_name.json()["id"] == "acct_sandbox"
        assert (await box.client.get("/v1/nonsense")).json()["error"]["message"].startswith("Unrecognized request URL")


async def test_the_newer_shape_drops_what_basil_dropped(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        invoice, intent = await box.get("/v1/invoices/in_1x0"), await box.get("/v1/payment_intents/pi_1x0")
        assert not {"charge", "payment_intent", "subscription", "paid"} & set(invoice)
        assert "invoice" not in intent
        assert invoice["parent"]["subscription_details"]["subscription"] == "sub_1x0"
        page = await box.get(
            "/v1/invoice_payments", **{"payment[type]": "payment_intent", "payment[payment_intent]": "pi_1x0"}
        )
        assert page["data"][0]["invoice"] == "in_1x0"
        assert invoice["payments"]["data"] == page["data"]


async def test_the_older_shape_has_them(sandbox):
    async with sandbox(api_version="2020-08-27") as box:
        await box.open(box.clock.now())
        invoice = await box.get("/v1/invoices/in_1x0")
        assert (invoice["payment_intent"], invoice["charge"], invoice["subscription"], invoice["paid"]) == (
            "pi_1x0",
            "ch_1x0n1",
            "sub_1x0",
            False,
        )
        assert (await box.get("/v1/payment_intents/pi_1x0"))["invoice"] == "in_1x0"


async def test_a_customer_can_be_written_to(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        customer = await box.get("/v1/customers/cus_1x0")
        assert customer["email"] == "payer-0001@example.com"
        assert (customer["preferred_locales"], customer["address"]["country"]) == (["de"], "DE")
        assert customer["metadata"]["timezone"] == "Europe/Berlin"
        methods = await box.get("/v1/customers/cus_1x0/payment_methods", type="card")
        assert [each["id"] for each in methods["data"]] == ["pm_1x0"]
        charges = await box.get("/v1/charges", customer="cus_1x0")
        assert [each["status"] for each in charges["data"]] == ["failed", "succeeded"]
        assert len((await box.get("/v1/charges", payment_intent="pi_1x0"))["data"]) == 1


async def test_confirm_charges_like_pay(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        declined = await box.client.post("/v1/payment_intents/pi_1x0/confirm", data={"payment_method": "pm_1x0"})
        assert declined.status_code == 402
        box.world.approves_from[0] = box.clock.now()
        approved = await box.client.post("/v1/payment_intents/pi_1x0/confirm")
        assert (approved.status_code, approved.json()["status"]) == (200, "succeeded")
        again = await box.client.post("/v1/payment_intents/pi_1x0/confirm")
        assert again.json()["error"]["code"] == "payment_intent_unexpected_state"


async def test_void_and_refund(sandbox):
    async with sandbox() as box:
        await box.open(box.clock.now())
        assert (await box.client.post("/v1/invoices/in_1x0/void")).json()["status"] == "void"
        assert (await box.pay("in_1x0")).status_code == 400
        box.world.approves_from[1] = box.clock.now()
        await box.pay("in_1x1")
        part = await box.client.post("/v1/refunds", data={"payment_intent": "pi_1x1", "amount": "1000"})
        rest = await box.client.post("/v1/refunds", data={"charge": "ch_1x1n2"})
        assert (part.json()["amount"], rest.json()["amount"]) == (1000, 901)
        assert (await box.client.post("/v1/refunds", data={"charge": "ch_1x1n2"})).status_code == 400
        types = [each["type"] for each in (await box.get("/v1/events", limit=4))["data"]]
        assert types == ["charge.refunded", "charge.refunded", "invoice.payment_succeeded", "invoice.paid"]
