"""Small made-up bodies of Stripe's shape for the conformance suite; hand-written from the API's field tables.

Owns: one specimen per question the suite asks. Refuses: being a fake gateway; the sandbox is that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dunwell_gateways.conformance import Answer, Specimens
from dunwell_gateways.port import ChargeIntent
from dunwell_gateways.stripe.signing import HEADER, sign
from dunwell_kit.money import Money

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def event(kind: str, subject: Mapping[str, Any], **more: Any) -> bytes:
    """Return the body of one event at NOW; `more` sets or replaces its fields, `previous` what changed."""
    data: dict[str, Any] = {"object": subject}
    if "previous" in more:
        data["previous_attributes"] = more.pop("previous")
    whole = {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "api_version": "2025-03-31.basil",
        "created": int(NOW.timestamp()),
        "data": data,
        "request": {"id": None, "idempotency_key": None},
    }
    return json.dumps({**whole, **more}).encode()


def invoice(**more: Any) -> dict[str, Any]:
    """Return an open basil invoice of 20.00 USD."""
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "currency": "usd",
        "amount_due": 2000,
        "amount_paid": 0,
        "amount_remaining": 2000,
        "attempt_count": 1,
        "status": "open",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
        **more,
    }


def declined_intent(**more: Any) -> dict[str, Any]:
    """Return a payment intent whose card had no funds."""
    card = {"brand": "visa", "funding": "debit", "country": "US", "exp_month": 5, "exp_year": 2029, "fingerprint": "fp"}
    error = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "network_decline_code": "51",
        "advice_code": "try_again_later",
        "message": "Your card has insufficient funds.",
        "charge": "ch_1",
        "payment_method": {"id": "pm_1", "object": "payment_method", "type": "card", "card": card},
    }
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2000,
        "currency": "usd",
        "customer": "cus_1",
        "status": "requires_payment_method",
        "latest_charge": "ch_1",
        "last_payment_error": error,
        **more,
    }


def paid_invoice() -> dict[str, Any]:
    """Return the same invoice, paid."""
    payment = {"payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", "latest_charge": "ch_2"}}}
    return invoice(status="paid", amount_paid=2000, amount_remaining=0, payments={"data": [payment]})


def _answer(status: int, body: Any, **headers: str) -> Answer:
    return Answer(status, {"Request-Id": "req_1", **headers}, json.dumps(body).encode())


def specimens() -> Specimens:
    """Return what the conformance suite needs to know of Stripe."""
    card_error = declined_intent()["last_payment_error"]
    succeeded = {"id": "pi_1", "object": "payment_intent", "amount": 2000, "amount_received": 2000}
    succeeded |= {"currency": "usd", "status": "succeeded", "latest_charge": "ch_2", "customer": "cus_1"}
    return Specimens(
        now=NOW,
        sign=lambda body, secret, at: {HEADER: sign(body, secret, at)},
        join_headers=lambda one, two: {HEADER: f"{one[HEADER]},{two[HEADER].partition(',')[2]}"},
        declined=event("payment_intent.payment_failed", declined_intent()),
        declined_reference=("pi_1", "insufficient_funds", Money("USD", 2000)),
        succeeded=event("payment_intent.succeeded", succeeded),
        unknown_type=event("gift_card.wrapped", {"id": "gc_1"}),
        unreadable=(b"", b"[]", b"{}", b'{"id":"evt_1","id":"evt_2"}', b'{"id":"evt_1","type":"invoice.paid"}'),
        impossible=(
            event("invoice.payment_failed", invoice(currency="usx")),
            event("invoice.payment_failed", invoice(amount_remaining=-5)),
            event("invoice.payment_failed", invoice(amount_remaining="20.00")),
        ),
        intent=ChargeIntent("d1" + "A" * 40, Money("USD", 2000), invoice_id="in_1", instrument_id="pm_1"),
        approved=_answer(200, paid_invoice()),
        decline=_answer(402, {"error": card_error}),
        action=_answer(402, {"error": {**card_error, "code": "authentication_required"}}),
        already_paid=_answer(400, {"error": {"type": "invalid_request_error", "message": "Invoice is already paid"}}),
        limited=_answer(
            429, {"error": {"type": "invalid_request_error", "code": "rate_limit"}}, **{"Retry-After": "3"}
        ),
        refused=_answer(404, {"error": {"type": "invalid_request_error", "code": "resource_missing"}}),
    )
