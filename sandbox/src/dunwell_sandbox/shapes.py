"""Stripe's objects as they stand on the wire, before and from API version 2025-03-31 (basil).

Owns: the JSON shapes. Refuses: deciding anything. Source: design/gateways.md section 4.
"""

from __future__ import annotations

import hashlib
from typing import Any

from dunwell_sandbox.model import Attempt, Customer, Invoice, Method

Json = dict[str, Any]
# How Stripe names the kinds of bank debit by scheme.
_DEBITS = {"ach": "us_bank_account", "sepa": "sepa_debit", "bacs": "bacs_debit", "becs": "au_becs_debit"}


class Shapes:
    """Builds objects of one API version."""

    def __init__(self, *, basil: bool) -> None:
        self._basil = basil

    def invoice(self, invoice: Invoice, customer: Customer) -> Json:
        """Return an invoice; amounts in minor units, instants in unix seconds."""
        paid = invoice.status == "paid"
        amount = invoice.amount_minor
        last = invoice.attempts[-1] if invoice.attempts else None
        shape: Json = {
            "id": invoice.id,
            "object": "invoice",
            "amount_due": amount,
            "amount_paid": amount if paid else 0,
            "amount_remaining": 0 if paid else amount,
            "amount_overpaid": 0,
            "attempt_count": len(invoice.attempts),
            "attempted": bool(invoice.attempts),
            # The merchant switched Stripe's own retries off: we own them.
            "auto_advance": False,
            "billing_reason": "subscription_cycle",
            "collection_method": "charge_automatically",
            "created": invoice.created,
            "currency": invoice.currency.lower(),
            "customer": customer.id,
            "customer_email": customer.email,
            "customer_name": customer.name,
            "default_payment_method": None,
            "description": None,
            "due_date": None,
            "hosted_invoice_url": f"https://pay.example.com/i/{invoice.id}",
            "lines": {"object": "list", "data": [], "has_more": False, "total_count": 0},
            "livemode": False,
            "metadata": {},
            "next_payment_attempt": None,
            "number": invoice.number,
            "status": invoice.status,
            "status_transitions": {
                "finalized_at": invoice.created,
                "marked_uncollectible_at": None,
                "paid_at": invoice.closed_at if paid else None,
                "voided_at": invoice.closed_at if invoice.status == "void" else None,
            },
            "subtotal": amount,
            "total": amount,
        }
        if self._basil:
            shape["parent"] = {
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {"metadata": {}, "subscription": customer.subscription},
            }
            shape["payments"] = listed([self.invoice_payment(invoice)], "/v1/invoice_payments")
        else:
            shape |= {
                "charge": invoice.charge(last) if last else None,
                "paid": paid,
                "payment_intent": invoice.intent,
                "subscription": customer.subscription,
            }
        return shape

    def invoice_payment(self, invoice: Invoice) -> Json:
        """Return the object that ties an invoice to its payment intent (basil and later)."""
        paid = invoice.status == "paid"
        return {
            "id": f"inpay_{invoice.suffix}",
            "object": "invoice_payment",
            "amount_paid": invoice.amount_minor if paid else None,
            "amount_requested": invoice.amount_minor,
            "created": invoice.created,
            "currency": invoice.currency.lower(),
            "invoice": invoice.id,
            "is_default": True,
            "livemode": False,
            "payment": {"type": "payment_intent", "payment_intent": invoice.intent},
            "status": "paid" if paid else "canceled" if invoice.status == "void" else "open",
        }

    def intent(self, invoice: Invoice, customer: Customer, methods: dict[str, Method]) -> Json:
        """Return the payment intent of an invoice."""
        last = invoice.attempts[-1] if invoice.attempts else None
        paid = invoice.status == "paid"
        status = "succeeded" if paid else "canceled" if invoice.status == "void" else "requires_payment_method"
        shape: Json = {
            "id": invoice.intent,
            "object": "payment_intent",
            "amount": invoice.amount_minor,
            "amount_received": invoice.amount_minor if paid else 0,
            "canceled_at": invoice.closed_at if invoice.status == "void" else None,
            "created": invoice.created,
            "currency": invoice.currency.lower(),
            "customer": customer.id,
            "description": "Subscription update",
            "last_payment_error": None,
            "latest_charge": invoice.charge(last) if last else None,
            "livemode": False,
            "metadata": {},
            "payment_method": last.method if last and last.approved else None,
            "payment_method_types": ["card"],
            "status": status,
        }
        if last is not None and not last.approved:
            shape["last_payment_error"] = self.payment_error(invoice, last, customer, methods)
        if not self._basil:
            shape["invoice"] = invoice.id
        return shape

    def payment_error(self, invoice: Invoice, attempt: Attempt, customer: Customer, methods: dict[str, Method]) -> Json:
        """Return the error of a declined attempt, as in `last_payment_error` and in a 402's body."""
        return {
            "type": "card_error",
            **(attempt.decline or {}),
            "charge": invoice.charge(attempt),
            "doc_url": f"https://stripe.com/docs/error-codes/{(attempt.decline or {}).get('code')}",
            "payment_method": self.method(methods[attempt.method], customer),
        }

    def charge(self, invoice: Invoice, attempt: Attempt, customer: Customer, methods: dict[str, Method]) -> Json:
        """Return one attempt as a charge."""
        declined = attempt.decline or {}
        method = self.method(methods[attempt.method], customer)
        kind = method["type"]
        shape: Json = {
            "id": invoice.charge(attempt),
            "object": "charge",
            "amount": invoice.amount_minor,
            "amount_captured": invoice.amount_minor if attempt.approved else 0,
            "amount_refunded": attempt.refunded_minor,
            "billing_details": method["billing_details"],
            "captured": attempt.approved,
            "created": attempt.at,
            "currency": invoice.currency.lower(),
            "customer": customer.id,
            "disputed": False,
            "failure_code": declined.get("code"),
            "failure_message": declined.get("message"),
            "livemode": False,
            "metadata": {},
            "outcome": _outcome(attempt),
            "paid": attempt.approved,
            "payment_intent": invoice.intent,
            "payment_method": attempt.method,
            "payment_method_details": {"type": kind, kind: method[kind]},
            "refunded": attempt.refunded_minor >= invoice.amount_minor,
            "status": "succeeded" if attempt.approved else "failed",
        }
        if not self._basil:
            shape["invoice"] = invoice.id
        return shape

    def past_charge(self, customer: Customer, number: int) -> Json:
        """Return a payment of before the sandbox's time as a charge."""
        past = customer.history[number]
        declined = past["decline"] or {}
        return {
            "id": f"ch_{customer.id.removeprefix('cus_')}h{number}",
            "object": "charge",
            "amount": past["amount_minor"],
            "amount_refunded": 0,
            "created": past["at"],
            "currency": past["currency"].lower(),
            "customer": customer.id,
            "failure_code": declined.get("code"),
            "failure_message": declined.get("message"),
            "livemode": False,
            "outcome": _outcome(Attempt(0, past["at"], "", past["approved"], "biller", past["decline"])),
            "paid": past["approved"],
            "payment_intent": None,
            "payment_method": customer.default_method,
            "status": "succeeded" if past["approved"] else "failed",
        }

    def method(self, method: Method, customer: Customer) -> Json:
        """Return a payment method, a card or a bank debit."""
        kind = "card" if method.kind == "card" else _DEBITS.get(method.network, "us_bank_account")
        details: Json = {"last4": method.last4, "fingerprint": _hashed(16, "fingerprint", method.instrument_id)}
        if kind == "card":
            year, month = method.expires or (2034, 12)
            details |= {
                "brand": method.network,
                "country": method.country,
                "exp_month": month,
                "exp_year": year,
                "funding": method.funding,
                "networks": {"available": [method.network], "preferred": None},
            }
        return {
            "id": method.id,
            "object": "payment_method",
            "billing_details": {
                "address": {"country": customer.country},
                "email": customer.email,
                "name": customer.name,
                "phone": None,
            },
            kind: details,
            "created": method.created,
            "customer": method.customer,
            "livemode": False,
            "metadata": {},
            "type": kind,
        }

    def customer(self, customer: Customer) -> Json:
        """Return a customer."""
        return {
            "id": customer.id,
            "object": "customer",
            "address": {"country": customer.country, "city": None, "line1": None, "postal_code": None},
            "created": customer.created,
            "currency": None,
            "default_source": None,
            "email": customer.email,
            "invoice_settings": {"default_payment_method": customer.default_method},
            "livemode": False,
            "metadata": {"timezone": customer.timezone},
            "name": customer.name,
            "phone": None,
            "preferred_locales": [customer.locale],
        }

    def subscription(self, customer: Customer) -> Json:
        """Return a customer's subscription."""
        return {
            "id": customer.subscription,
            "object": "subscription",
            "cancel_at_period_end": False,
            "canceled_at": customer.canceled_at,
            "created": customer.created,
            "customer": customer.id,
            "ended_at": customer.canceled_at,
            "livemode": False,
            "metadata": {},
            "status": "canceled" if customer.canceled_at else "past_due",
        }


def refund(invoice: Invoice, attempt: Attempt, amount_minor: int, at: int, number: int) -> Json:
    """Return a refund of so many minor units."""
    return {
        "id": f"re_{invoice.suffix}n{attempt.number}r{number}",
        "object": "refund",
        "amount": amount_minor,
        "charge": invoice.charge(attempt),
        "created": at,
        "currency": invoice.currency.lower(),
        "metadata": {},
        "payment_intent": invoice.intent,
        "status": "succeeded",
    }


def event(
    kind: str, subject: Json, *, at: int, occurrence: str, api_version: str, key: str | None, requested: bool
) -> Json:
    """Return an event; its id follows from what happened, so that a repeated run posts the same ids.

    Args:
        requested: Somebody's request caused it, with or without a key; else the biller's own schedule did.
    """
    return {
        "id": f"evt_{_hashed(24, kind, subject['id'], occurrence)}",
        "object": "event",
        "api_version": api_version,
        "created": at,
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": f"req_{_hashed(14, key or subject['id'])}" if requested else None, "idempotency_key": key},
        "type": kind,
    }


def listed(data: list[Json], url: str, *, has_more: bool = False) -> Json:
    """Return a list object."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def _outcome(attempt: Attempt) -> Json:
    declined = attempt.decline or {}
    if attempt.approved:
        told = {"type": "authorized", "network_status": "approved_by_network", "reason": None}
        return {**told, "risk_level": "normal", "seller_message": "Payment complete."}
    return {
        "type": "issuer_declined",
        "network_status": "declined_by_network",
        "reason": declined.get("decline_code"),
        "advice_code": declined.get("advice_code"),
        "network_decline_code": declined.get("network_decline_code"),
        "network_advice_code": declined.get("network_advice_code"),
        "risk_level": "normal",
        "seller_message": "The bank returned a decline.",
    }


def _hashed(length: int, *parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:length]
