"""The parts of Stripe's objects that webhooks and charge answers share.

Owns: where a field lives in which API version. Refuses: what an event means.
"""

from __future__ import annotations

from typing import Any

from dunwell_gateways.money import AmountInvalid, from_gateway
from dunwell_gateways.port import InstrumentFacts, RawDecline, Unreadable
from dunwell_gateways.wire import Json, count, integer, part, reference, rows, text
from dunwell_kit.money import Money, UnknownCurrency

# From this version on an invoice no longer names its charge, payment intent and subscription itself.
# Source: docs.stripe.com/changelog/basil (2025-03-31).
BASIL = "2025-03-31"
_BANK_DEBIT = {"us_bank_account": "ach", "sepa_debit": "sepa", "bacs_debit": "bacs", "acss_debit": "pad"}
_BANK_DEBIT |= {"au_becs_debit": "becs", "nz_bank_account": "becs_nz", "ach_debit": "ach"}
_NETWORKS = {
    "american express": "amex",
    "american_express": "amex",
    "diners club": "diners",
    "mastercard": "mastercard",
}


def is_basil(api_version: str) -> bool:
    """Return whether a body has the shape of basil and later; versions begin with their date."""
    return api_version[:10] >= BASIL


def money(value: Any, currency: Any, name: str) -> Money:
    """Return an amount; Unreadable naming the field when there cannot be one like it."""
    try:
        return from_gateway("stripe", text(currency), integer(value, name))
    except (AmountInvalid, UnknownCurrency) as error:
        raise Unreadable(f"{name}: {error}") from None


def invoice_subscription(invoice: Json, basil: bool) -> str:
    """Return the subscription an invoice belongs to; the version's own place first, the other one after."""
    new = reference(part(part(invoice.get("parent")).get("subscription_details")).get("subscription"))
    old = reference(invoice.get("subscription"))
    return (new or old) if basil else (old or new)


def invoice_payment(invoice: Json, basil: bool) -> tuple[str, str]:
    """Return (payment intent, charge) of an invoice, empty where the body does not tell."""
    listed = rows(invoice.get("payments"))
    default = next((row for row in listed if row.get("is_default")), listed[0] if listed else {})
    paid = part(default.get("payment"))
    new = reference(paid.get("payment_intent")), reference(paid.get("charge"))
    old = reference(invoice.get("payment_intent")), reference(invoice.get("charge"))
    return (new if any(new) else old) if basil else (old if any(old) else new)


def error_decline(error: Any) -> RawDecline:
    """Return the refusal in an API error or in `last_payment_error`."""
    told = part(error)
    return RawDecline(
        # `card_declined` only says that decline_code has the answer.
        gateway_code=text(told.get("decline_code")) or text(told.get("code")),
        network_code=text(told.get("network_decline_code")),
        advice_code=text(told.get("network_advice_code")) or text(told.get("advice_code")),
        message=text(told.get("message")),
    )


def charge_decline(charge: Json) -> RawDecline:
    """Return the refusal in a failed charge; `failure_code: null` is an empty one."""
    outcome = part(charge.get("outcome"))
    code = text(charge.get("failure_code"))
    return RawDecline(
        gateway_code=(text(outcome.get("reason")) if code in ("", "card_declined") else "") or code,
        network_code=text(outcome.get("network_decline_code")),
        advice_code=text(outcome.get("network_advice_code")) or text(outcome.get("advice_code")),
        message=text(charge.get("failure_message")),
    )


def instrument(method: Any) -> InstrumentFacts:
    """Return the facts of a payment method, source, or `payment_method_details`; empty when it is only an id."""
    told = part(method)
    if told.get("object") == "card":
        return _card(told, "card")
    kind = text(told.get("type"))
    if kind in _BANK_DEBIT:
        details = part(told.get(kind))
        return InstrumentFacts(
            kind="bank_debit",
            network=_BANK_DEBIT[kind],
            country=text(details.get("country")).upper(),
            fingerprint=text(details.get("fingerprint")),
        )
    if kind == "upi":
        return InstrumentFacts(kind="upi", network="upi", country="IN")
    card = part(told.get("card"))
    if card:
        return _card(card, "wallet" if part(card.get("wallet")) else "card")
    return InstrumentFacts(kind="wallet", network=kind) if kind and kind != "card" else InstrumentFacts()


def _card(card: Json, kind: str) -> InstrumentFacts:
    brand = (text(card.get("network")) or text(card.get("brand"))).lower()
    return InstrumentFacts(
        kind=kind,
        network=_NETWORKS.get(brand, brand),
        funding=text(card.get("funding")),
        country=text(card.get("country")).upper(),
        bin=text(card.get("iin")),
        expiry_month=count(card.get("exp_month")),
        expiry_year=count(card.get("exp_year")),
        fingerprint=text(card.get("fingerprint")),
    )
