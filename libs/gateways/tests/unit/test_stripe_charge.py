"""Stripe's calls and answers, and the transport's line between not sent and unknown."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from dunwell_gateways.charge import RESPONSE_BYTES_MAX, ChargeTransport, NoReply, Reply, Timeouts, perform
from dunwell_gateways.port import ChargeIntent, InvoiceStatus, Outcome
from dunwell_gateways.stripe.charge import StripeCharge
from dunwell_gateways.stripe.specimens import declined_intent, invoice, paid_invoice, specimens
from dunwell_gateways.witness import Witness
from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money

STRIPE = StripeCharge()
INTENT = specimens().intent


def answer(status, body, **headers):
    return STRIPE.interpret(status, headers, json.dumps(body).encode())


def look(body, intent=INTENT):
    return STRIPE.interpret_look_up(intent, 200, {}, json.dumps(body).encode())


def test_the_pay_call_is_exact():
    request = STRIPE.build(INTENT)
    assert (request.method, request.path) == ("POST", "/v1/invoices/in_1/pay")
    assert request.body.startswith(b"off_session=true&payment_method=pm_1&expand")
    assert request.headers["Idempotency-Key"] == request.idem_key == INTENT.idem_key
    confirm = STRIPE.build(ChargeIntent("k", Money("USD", 1), payment_id="pi_1", connected_account="acct_1"))
    assert confirm.path == "/v1/payment_intents/pi_1/confirm"
    assert confirm.headers["Stripe-Account"] == "acct_1"


def test_an_id_cannot_leave_its_place_in_the_path():
    assert STRIPE.build(replace(INTENT, invoice_id="../x?y")).path == "/v1/invoices/..%2Fx%3Fy/pay"


def test_a_charge_names_exactly_one_object():
    for wrong in (replace(INTENT, payment_id="pi_1"), replace(INTENT, invoice_id="")):
        with pytest.raises(Invalid):
            STRIPE.build(wrong)


def test_a_decline_keeps_its_raw_values_and_its_charge():
    result = answer(402, {"error": declined_intent()["last_payment_error"]}, **{"Idempotent-Replayed": "true"})
    assert (result.outcome, result.charge_id, result.replayed) == (Outcome.DECLINED, "ch_1", True)
    assert (result.decline.gateway_code, result.decline.network_code) == ("insufficient_funds", "51")
    assert result.instrument.network == "visa"


def test_an_open_invoice_in_a_good_answer_is_read_by_its_intent():
    payments = {"data": [{"payment": {"payment_intent": declined_intent()}}]}
    assert answer(200, invoice(payments=payments)).outcome is Outcome.DECLINED
    payments = {"data": [{"payment": {"payment_intent": declined_intent(status="processing")}}]}
    assert answer(200, invoice(payments=payments)).outcome is Outcome.PENDING
    assert answer(200, invoice()).outcome is Outcome.UNKNOWN


def test_an_approval_carries_what_was_paid():
    result = answer(200, paid_invoice())
    assert (result.outcome, result.money, result.payment_id) == (Outcome.APPROVED, Money("USD", 2000), "pi_1")
    assert result.charge_id == "ch_2"


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, {"type": "idempotency_error", "message": "other parameters"}, Outcome.UNKNOWN),
        (409, {"type": "idempotency_error", "code": "idempotency_key_in_use"}, Outcome.UNKNOWN),
        (500, {"type": "api_error"}, Outcome.UNKNOWN),
        (402, {"type": "card_error", "code": "authentication_required"}, Outcome.ACTION_REQUIRED),
        (400, {"type": "invalid_request_error", "code": "parameter_missing"}, Outcome.REFUSED),
        (401, {"type": "invalid_request_error"}, Outcome.REFUSED),
        (
            400,
            {"code": "payment_intent_unexpected_state", "payment_intent": {"id": "pi_1", "status": "succeeded"}},
            Outcome.ALREADY_PAID,
        ),
    ],
)
def test_an_error_is_what_stripe_documents(status, error, outcome):
    assert answer(status, {"error": error}).outcome is outcome


def test_a_limit_says_how_long_to_wait():
    assert answer(429, {"error": {}}, **{"retry-after": "7"}).retry_after_seconds == 7
    assert answer(429, {"error": {}}, **{"Retry-After": "soon"}).retry_after_seconds is None


def test_a_look_up_tells_paid_declined_absent_and_unknown_apart():
    counted = replace(INTENT, attempts_before=1)
    assert look(paid_invoice()).outcome is Outcome.ALREADY_PAID
    assert look(invoice(attempt_count=2), counted).outcome is Outcome.DECLINED
    assert look(invoice(attempt_count=1), counted).outcome is Outcome.ABSENT
    assert look(invoice(attempt_count=2)).outcome is Outcome.UNKNOWN
    payments = {"data": [{"payment": {"payment_intent": declined_intent()}}]}
    declined = look(invoice(attempt_count=2, payments=payments), counted)
    assert declined.decline.network_code == "51"
    assert look(invoice(attempt_count=1, payments=payments), counted).outcome is Outcome.ABSENT, "an older decline"


def noted(key, invoice_id="in_1", kind="invoice.paid"):
    return {"type": kind, "data": {"object": {"id": invoice_id}}, "request": {"id": "req_1", "idempotency_key": key}}


@pytest.mark.parametrize(
    ("events", "key"),
    [
        ([noted("d1ours")], "d1ours"),
        ([noted("other", invoice_id="in_2"), noted("d1ours")], "d1ours"),
        ([noted(None)], ""),
        ([{**noted("x"), "request": None}], ""),
        ([noted("d1ours", kind="invoice.updated")], None),
        ([noted("other", invoice_id="in_2")], None),
        ([{"type": "invoice.paid", "data": None}, 7], None),
        ([], None),
    ],
)
def test_stripes_events_tell_which_key_paid_an_invoice(events, key):
    assert isinstance(STRIPE, Witness)
    assert STRIPE.paid_by_key(INTENT, 200, {}, json.dumps({"data": events}).encode()) == key
    assert STRIPE.paid_by_key(INTENT, 500, {}, json.dumps({"data": events}).encode()) is None
    assert STRIPE.paid_by_key(replace(INTENT, invoice_id=""), 200, {}, json.dumps({"data": events}).encode()) is None


def test_events_are_asked_for_about_the_time_of_the_request():
    asked = STRIPE.payments_noted(datetime(2026, 3, 5, 6, 0, 0, 900_000, tzinfo=UTC))
    assert (asked.method, asked.body) == ("GET", b"")
    assert "type=invoice.paid" in asked.path
    assert "created%5Bgte%5D=1772690390&created%5Blte%5D=1772690460&limit=100" in asked.path


@pytest.mark.parametrize("status", ["draft", "open", "paid", "void", "uncollectible"])
def test_an_invoice_state_is_read(status):
    state = STRIPE.interpret_invoice_state(200, {}, json.dumps(invoice(status=status)).encode())
    assert state.status is InvoiceStatus(status)
    assert (state.remaining, state.payer_id, state.subscription_id) == (Money("USD", 2000), "cus_1", "sub_1")


def test_an_invoice_state_in_doubt_is_unknown():
    for code, body in ((500, invoice()), (200, {}), (200, invoice(status="new")), (200, invoice(currency="usx"))):
        state = STRIPE.interpret_invoice_state(code, {}, json.dumps(body).encode())
        assert state.status is InvoiceStatus.UNKNOWN
    assert STRIPE.interpret_invoice_state(404, {}, b"").status is InvoiceStatus.ABSENT


def test_links_contacts_and_instruments_are_read():
    row = {"invoice": "in_1", "payment": {"payment_intent": "pi_1"}}
    assert STRIPE.interpret_links(200, {}, json.dumps({"data": [row]}).encode()) == {"pi_1": "in_1"}
    assert STRIPE.interpret_links(200, {}, b'{"data":[]}') == {}
    assert STRIPE.interpret_links(500, {}, b"") is None
    assert "payment%5Bpayment_intent%5D=pi_1" in STRIPE.links(payment_id="pi_1").path
    customer = {"id": "cus_1", "email": "a@example.org", "preferred_locales": ["de"], "address": {"country": "DE"}}
    contact = STRIPE.interpret_payer(200, {}, json.dumps(customer).encode())
    assert (contact.email, contact.language, contact.country) == ("a@example.org", "de", "DE")
    assert STRIPE.interpret_payer(200, {}, b'{"id":"cus_1","deleted":true}') is None
    methods = {"data": [{"id": "pm_1", "created": 1, "type": "card", "card": {}}, {"id": "pm_2", "created": 2}]}
    held = STRIPE.interpret_instruments(200, {}, json.dumps(methods).encode())
    assert [each.instrument_id for each in held] == ["pm_2", "pm_1"]


def transport(handler):
    return ChargeTransport(
        lambda: httpx.AsyncClient(transport=httpx.MockTransport(handler)),
        "https://api.example",
        STRIPE.authorize("sk_made_up"),
    )


async def test_the_stored_bytes_are_sent_once_with_the_secret():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, json=paid_invoice())

    async with transport(handler) as line:
        result = await perform(line, STRIPE.build(INTENT), STRIPE.interpret)
    assert result.outcome is Outcome.APPROVED
    assert len(seen) == 1
    assert seen[0].content == STRIPE.build(INTENT).body
    assert seen[0].headers["Authorization"] == "Bearer sk_made_up"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError, Outcome.NOT_SENT),
        (httpx.ConnectTimeout, Outcome.NOT_SENT),
        (httpx.PoolTimeout, Outcome.NOT_SENT),
        (httpx.ReadTimeout, Outcome.UNKNOWN),
        (httpx.WriteError, Outcome.UNKNOWN),
        (httpx.RemoteProtocolError, Outcome.UNKNOWN),
    ],
)
async def test_only_a_failure_before_writing_is_not_sent(error, outcome):
    def handler(request):
        raise error("broken")

    async with transport(handler) as line:
        reply = await line.send(STRIPE.build(INTENT))
        assert isinstance(reply, NoReply)
        assert reply.outcome is outcome
        assert (await perform(line, STRIPE.build(INTENT), STRIPE.interpret)).outcome is outcome


async def test_redirects_are_not_followed_and_huge_answers_not_read():
    async with transport(lambda _: httpx.Response(302, headers={"Location": "https://elsewhere.example"})) as line:
        reply = await line.send(STRIPE.build(INTENT), timeouts=Timeouts(total_seconds=5))
        assert isinstance(reply, Reply)
        assert reply.status == 302
    async with transport(lambda _: httpx.Response(200, content=b"x" * (RESPONSE_BYTES_MAX + 1))) as line:
        assert (await line.send(STRIPE.build(INTENT))).outcome is Outcome.UNKNOWN
