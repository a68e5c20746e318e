"""Stripe's calls: paying an invoice or confirming a payment intent, and finding out what became of it.

Owns: exact request bytes and what each answer means. Refuses: sending.
Source: docs.stripe.com/api (invoices/pay, payment_intents/confirm, errors, idempotent_requests), read August 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from dunwell_gateways.port import (
    Capabilities,
    ChargeIntent,
    ChargeRequest,
    ChargeResult,
    HeldInstrument,
    InvoiceState,
    InvoiceStatus,
    LookUp,
    Outcome,
    PayerContact,
    Unreadable,
)
from dunwell_gateways.stripe.answers import json_of, read_answer, read_invoice, settled
from dunwell_gateways.stripe.shapes import instrument, invoice_payment, invoice_subscription, is_basil, money
from dunwell_gateways.stripe.signing import TOLERANCE_SECONDS
from dunwell_gateways.wire import count, instant_or_none, part, reference, rows, text
from dunwell_kit.errors import Invalid

# Pinned, so that an account's default version cannot change what we read; basil is the first of today's shape.
API_VERSION = "2025-03-31.basil"
_FORM = "application/x-www-form-urlencoded"
_PAGE = 100  # the most Stripe lists at once; nobody has more methods or payments of one invoice
_NO_INVOICE = 404
# Stripe's clock against ours, and how long it may still have worked on a request that we gave up after 30 seconds.
_NOTED_BEFORE_SECONDS, _NOTED_AFTER_SECONDS = 10, 60

CAPABILITIES = Capabilities(
    idempotency_header="Idempotency-Key",
    # "Keys can be removed after at least 24 hours". Source: docs.stripe.com/api/idempotent_requests.
    key_window_hours=24,
    replays_declines=True,
    # Limited and lock-timed-out calls are refused before they run. Source: docs.stripe.com/rate-limits.
    safe_on_429=True,
    look_up_by=(LookUp.REPLAY, LookUp.OBJECT),
    signature_tolerance_seconds=TOLERANCE_SECONDS,
    sources=("docs.stripe.com/api/idempotent_requests", "docs.stripe.com/rate-limits"),
)


class StripeCharge:
    """The charge half of the port."""

    capabilities = CAPABILITIES

    def authorize(self, secret: str) -> Mapping[str, str]:
        """Return the bearer header of an API key."""
        return {"Authorization": f"Bearer {secret}"}

    def build(self, intent: ChargeIntent) -> ChargeRequest:
        """Return the pay or confirm call; Invalid unless exactly one object is named."""
        if bool(intent.invoice_id) == bool(intent.payment_id):
            raise Invalid("a charge names either an invoice or a payment intent")
        fields = [("off_session", "true" if intent.off_session else "false")]
        if intent.instrument_id:
            fields.append(("payment_method", intent.instrument_id))
        if intent.invoice_id:
            path = f"/v1/invoices/{quote(intent.invoice_id, safe='')}/pay"
            fields.append(("expand[]", "payments.data.payment.payment_intent"))
        else:
            path = f"/v1/payment_intents/{quote(intent.payment_id, safe='')}/confirm"
        headers = {"Content-Type": _FORM, "Stripe-Version": API_VERSION, "Idempotency-Key": intent.idem_key}
        if intent.connected_account:
            headers["Stripe-Account"] = intent.connected_account
        return ChargeRequest("POST", path, urlencode(fields).encode(), headers, intent.idem_key)

    def interpret(self, status: int, headers: Mapping[str, str], body: bytes) -> ChargeResult:
        """Return what the answer means; what cannot be read is UNKNOWN."""
        return read_answer(status, headers, body)

    def look_up(self, intent: ChargeIntent) -> ChargeRequest:
        """Return the call that reads the invoice or payment intent."""
        if intent.invoice_id:
            return _get(f"/v1/invoices/{quote(intent.invoice_id, safe='')}", _EXPAND)
        return _get(f"/v1/payment_intents/{quote(intent.payment_id, safe='')}")

    def interpret_look_up(
        self, intent: ChargeIntent, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChargeResult:
        """Return what the object shows.

        PAID is ALREADY_PAID, whoever paid it. An open invoice whose attempt count grew since `attempts_before` was
        tried and declined; one whose count did not is ABSENT; without the count it stays UNKNOWN.
        """
        found = json_of(status, body)
        if found is None:
            return ChargeResult(Outcome.UNKNOWN, detail=f"look-up answered {status}")
        result = settled(found)
        if result.outcome is Outcome.APPROVED:
            return ChargeResult(Outcome.ALREADY_PAID, payment_id=result.payment_id, charge_id=result.charge_id)
        if result.outcome in (Outcome.PENDING, Outcome.ACTION_REQUIRED, Outcome.REFUSED):
            return result
        if intent.invoice_id and intent.attempts_before is not None:
            tried = count(found.get("attempt_count")) > intent.attempts_before
            return result if tried and result.outcome is Outcome.DECLINED else _look(tried)
        return ChargeResult(Outcome.UNKNOWN, payment_id=result.payment_id, detail="open; attempts before not known")

    def payments_noted(self, sent_at: datetime) -> ChargeRequest:
        """Return the call that lists the invoices paid about then, each with the key of the request that paid it.

        One page: an account with more than 100 paid invoices in 70 seconds may not find its own.
        Source: docs.stripe.com/api/events (object, list), read November 2026.
        """
        at = int(sent_at.timestamp())
        since, until = str(at - _NOTED_BEFORE_SECONDS), str(at + _NOTED_AFTER_SECONDS)
        query = [("type", "invoice.paid"), ("created[gte]", since), ("created[lte]", until), ("limit", str(_PAGE))]
        return _get("/v1/events", query)

    def paid_by_key(self, intent: ChargeIntent, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return the key that paid the invoice, empty if no key did; None when no event tells."""
        found = json_of(status, body)
        if found is None or not intent.invoice_id:
            return None
        for event in rows(found):
            subject = part(part(event.get("data")).get("object"))
            if event.get("type") == "invoice.paid" and text(subject.get("id")) == intent.invoice_id:
                return text(part(event.get("request")).get("idempotency_key"))
        return None

    def invoice_state(self, invoice_id: str) -> ChargeRequest:
        """Return the call that reads an invoice."""
        return _get(f"/v1/invoices/{quote(invoice_id, safe='')}")

    def interpret_invoice_state(self, status: int, headers: Mapping[str, str], body: bytes) -> InvoiceState:
        """Return the invoice's state; UNKNOWN when the answer cannot be trusted."""
        if status == _NO_INVOICE:
            return InvoiceState(InvoiceStatus.ABSENT, detail="no such invoice")
        found = json_of(status, body)
        try:
            state = read_invoice(found)
            if found is None or state is InvoiceStatus.UNKNOWN:
                return InvoiceState(InvoiceStatus.UNKNOWN, detail=f"answered {status}")
            basil = is_basil(API_VERSION)
            payment, _ = invoice_payment(found, basil)
            return InvoiceState(
                status=state,
                remaining=money(found.get("amount_remaining"), found.get("currency"), "amount_remaining"),
                attempt_count=count(found.get("attempt_count")),
                next_attempt_at=instant_or_none(found.get("next_payment_attempt"), "next_payment_attempt"),
                payer_id=reference(found.get("customer")),
                subscription_id=invoice_subscription(found, basil),
                payment_id=payment,
                instrument_id=reference(found.get("default_payment_method")),
            )
        except Unreadable as error:
            return InvoiceState(InvoiceStatus.UNKNOWN, detail=str(error))

    def links(self, *, payment_id: str = "", invoice_id: str = "") -> ChargeRequest:
        """Return the call that lists invoice payments, by payment intent or by invoice."""
        if payment_id:
            by = [("payment[type]", "payment_intent"), ("payment[payment_intent]", payment_id)]
        else:
            by = [("invoice", invoice_id)]
        return _get("/v1/invoice_payments", [*by, ("limit", str(_PAGE))])

    def interpret_links(self, status: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, str] | None:
        """Return payment intent -> invoice; None when the answer cannot be trusted."""
        found = json_of(status, body)
        if found is None or not isinstance(found.get("data"), list):
            return None
        pairs = (
            (reference(part(row.get("payment")).get("payment_intent")), reference(row.get("invoice")))
            for row in rows(found)
        )
        return {payment: invoice for payment, invoice in pairs if payment and invoice}

    def payer(self, payer_id: str) -> ChargeRequest:
        """Return the call that reads a customer."""
        return _get(f"/v1/customers/{quote(payer_id, safe='')}")

    def interpret_payer(self, status: int, headers: Mapping[str, str], body: bytes) -> PayerContact | None:
        """Return the contact; None for a deleted customer or an answer that cannot be trusted."""
        found = json_of(status, body)
        if found is None or not text(found.get("id")) or found.get("deleted") is True:
            return None
        locales = found.get("preferred_locales")
        return PayerContact(
            payer_id=text(found.get("id")),
            email=text(found.get("email")),
            phone=text(found.get("phone")),
            name=text(found.get("name")),
            language=text(locales[0]) if isinstance(locales, list) and locales else "",
            country=text(part(found.get("address")).get("country")),
        )

    def instruments(self, payer_id: str) -> ChargeRequest:
        """Return the call that lists a customer's payment methods."""
        return _get(f"/v1/customers/{quote(payer_id, safe='')}/payment_methods", [("limit", str(_PAGE))])

    def interpret_instruments(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> Sequence[HeldInstrument] | None:
        """Return the methods, newest first; None when the answer cannot be trusted."""
        found = json_of(status, body)
        if found is None or not isinstance(found.get("data"), list):
            return None
        newest = sorted(rows(found), key=lambda row: count(row.get("created")), reverse=True)
        return tuple(HeldInstrument(reference(row), instrument(row)) for row in newest if reference(row))


_EXPAND = [("expand[]", "payments.data.payment.payment_intent")]


def _get(path: str, query: Sequence[tuple[str, str]] = ()) -> ChargeRequest:
    full = f"{path}?{urlencode(query)}" if query else path
    return ChargeRequest("GET", full, b"", {"Stripe-Version": API_VERSION})


def _look(tried: bool) -> ChargeResult:
    if tried:
        return ChargeResult(Outcome.DECLINED, detail="open after one more attempt")
    return ChargeResult(Outcome.ABSENT, detail="open, no attempt since ours")
