"""What Stripe's answers to a charge mean.

Owns: the one table from status, error and object to an Outcome. Refuses: raising; doubt is UNKNOWN.
Source: docs.stripe.com/api/errors and docs.stripe.com/error-low-level, read August 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dunwell_gateways.port import ChargeResult, InstrumentFacts, InvoiceStatus, Outcome, RawDecline, Unreadable
from dunwell_gateways.stripe.shapes import charge_decline, error_decline, instrument, money
from dunwell_gateways.wire import Json, part, read_json, reference, rows, text

# The payer must act; trying again alone cannot help.
_ACTION_CODES = frozenset(
    {
        "authentication_required",
        "invoice_payment_intent_requires_action",
        "subscription_payment_intent_requires_action",
        "payment_intent_action_required",
    }
)
_ALREADY = ("already paid", "already been paid")
_INVOICE_STATUS = {
    "draft": InvoiceStatus.DRAFT,
    "open": InvoiceStatus.OPEN,
    "paid": InvoiceStatus.PAID,
    "void": InvoiceStatus.VOID,
    "uncollectible": InvoiceStatus.UNCOLLECTIBLE,
}


def json_of(status: int, body: bytes) -> dict[str, Any] | None:
    """Return the object of a successful answer, or None."""
    if not 200 <= status < 300:
        return None
    try:
        return read_json(body)
    except Unreadable:
        return None


def read_invoice(found: Json | None) -> InvoiceStatus:
    """Return an invoice's status; UNKNOWN for anything else."""
    if found is None or found.get("object") != "invoice":
        return InvoiceStatus.UNKNOWN
    return _INVOICE_STATUS.get(text(found.get("status")), InvoiceStatus.UNKNOWN)


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> ChargeResult:
    """Return the result of a pay or confirm call."""
    lower = {name.lower(): value for name, value in headers.items()}
    replayed = lower.get("idempotent-replayed", "").lower() == "true"
    request_id = lower.get("request-id", "")
    return replace(_read(status, lower, body), replayed=replayed, request_id=request_id)


def _read(status: int, headers: Mapping[str, str], body: bytes) -> ChargeResult:
    try:
        found = read_json(body)
    except Unreadable as error:
        # An answer we cannot read may hide a charge, whatever its status; a limited call ran nothing.
        found = {}
        if status not in (401, 403, 404, 429):
            return ChargeResult(Outcome.UNKNOWN, detail=f"status {status}, {error}")
    if status == 429:
        wait = headers.get("retry-after", "")
        seconds = int(wait) if wait.isdecimal() and len(wait) < 6 else None
        return ChargeResult(Outcome.RATE_LIMITED, retry_after_seconds=seconds, detail="rate limited")
    return settled(found) if 200 <= status < 300 else _refusal(status, part(found.get("error")))


def settled(found: Json) -> ChargeResult:
    """Return what an invoice or payment intent in a successful answer shows."""
    if found.get("object") == "payment_intent":
        return _intent(found)
    state = read_invoice(found)
    payments = rows(found.get("payments"))
    newest = part(payments[0].get("payment")) if payments else {}
    raw = newest.get("payment_intent") or found.get("payment_intent")
    intent = part(raw)
    payment = reference(raw)
    charge = reference(intent.get("latest_charge")) or reference(found.get("charge"))
    if state is InvoiceStatus.PAID:
        try:
            paid = money(found.get("amount_paid"), found.get("currency"), "amount_paid")
        except Unreadable as error:
            return ChargeResult(Outcome.UNKNOWN, payment_id=payment, detail=str(error))
        return ChargeResult(Outcome.APPROVED, payment_id=payment, charge_id=charge, money=paid)
    if state in (InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE, InvoiceStatus.DRAFT):
        return ChargeResult(Outcome.REFUSED, payment_id=payment, detail=f"invoice is {state.value}")
    if state is InvoiceStatus.OPEN and intent:
        return _intent(intent)
    if state is InvoiceStatus.OPEN and part(found.get("charge")).get("status") == "failed":
        return ChargeResult(Outcome.DECLINED, charge_decline(part(found.get("charge"))), payment, charge)
    return ChargeResult(Outcome.UNKNOWN, payment_id=payment, detail="the answer does not say how it ended")


def _intent(intent: Json) -> ChargeResult:
    payment, charge = reference(intent), reference(intent.get("latest_charge"))
    error = part(intent.get("last_payment_error"))
    match text(intent.get("status")):
        case "succeeded":
            try:
                value = intent.get("amount_received", intent.get("amount"))
                received = money(value, intent.get("currency"), "amount_received")
            except Unreadable as problem:
                return ChargeResult(Outcome.UNKNOWN, payment_id=payment, detail=str(problem))
            return ChargeResult(Outcome.APPROVED, payment_id=payment, charge_id=charge, money=received)
        case "processing" | "requires_capture":
            return ChargeResult(Outcome.PENDING, payment_id=payment, charge_id=charge)
        case "requires_action" | "requires_source_action":
            return ChargeResult(Outcome.ACTION_REQUIRED, error_decline(error), payment, charge)
        case "requires_payment_method" | "requires_source" if error:
            return ChargeResult(Outcome.DECLINED, error_decline(error), payment, charge, _method(error))
        case "canceled":
            return ChargeResult(Outcome.REFUSED, payment_id=payment, detail="payment intent is canceled")
        case status:
            return ChargeResult(Outcome.UNKNOWN, payment_id=payment, detail=f"payment intent is {status!r}")


def _method(error: Json) -> InstrumentFacts:
    return instrument(error.get("payment_method"))


def _refusal(status: int, error: Json) -> ChargeResult:
    kind, code, message = text(error.get("type")), text(error.get("code")), text(error.get("message"))
    intent = part(error.get("payment_intent"))
    payment = reference(error.get("payment_intent"))
    charge = reference(error.get("charge")) or reference(intent.get("latest_charge"))
    decline = error_decline(error)
    if code in _ACTION_CODES or text(error.get("decline_code")) in _ACTION_CODES:
        return ChargeResult(Outcome.ACTION_REQUIRED, decline, payment, charge, _method(error), detail=message)
    if status == 402 and error:
        return ChargeResult(Outcome.DECLINED, decline, payment, charge, _method(error), detail=message)
    if kind == "idempotency_error" or status == 409 or status >= 500:
        # Same key with other bytes, the first still running, or Stripe lost its way: it may have been executed.
        return ChargeResult(Outcome.UNKNOWN, RawDecline(), payment, charge, detail=message or f"status {status}")
    if status == 400 and any(words in message.lower() for words in _ALREADY):
        return ChargeResult(Outcome.ALREADY_PAID, payment_id=payment, charge_id=charge, detail=message)
    if code == "payment_intent_unexpected_state" and intent.get("status") == "succeeded":
        return ChargeResult(Outcome.ALREADY_PAID, payment_id=payment, charge_id=charge, detail=message)
    if kind == "card_error":
        return ChargeResult(Outcome.DECLINED, decline, payment, charge, _method(error), detail=message)
    if status in (401, 403, 404) or (status == 400 and error):
        return ChargeResult(Outcome.REFUSED, decline, payment, charge, detail=message or f"status {status}")
    return ChargeResult(Outcome.UNKNOWN, payment_id=payment, detail=message or f"status {status}")
