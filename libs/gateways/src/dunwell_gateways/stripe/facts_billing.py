"""What Stripe's invoice and subscription events tell.

Owns: those object families. Refuses: declines; an invoice never says why it was not paid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dunwell_gateways.port import Kind, Observation
from dunwell_gateways.stripe.shapes import error_decline, instrument, invoice_payment, invoice_subscription, money
from dunwell_gateways.stripe.told import Told
from dunwell_gateways.wire import count, instant_or_none, part, reference, text


def _invoice(told: Told, kind: Kind, *amounts: str) -> Observation:
    """Read an invoice; the first of `amounts` the body has is the money."""
    invoice = told.subject
    payment, charge = invoice_payment(invoice, told.basil)
    name = next((each for each in amounts if invoice.get(each) is not None), amounts[0])
    intent = part(invoice.get("payment_intent"))  # expanded on request
    error = part(intent.get("last_payment_error"))
    method = invoice.get("default_payment_method") or invoice.get("default_source")
    return Observation(
        kind=kind,
        occurred_at=told.occurred_at,
        payer_id=reference(invoice.get("customer")),
        invoice_id=told.id(),
        subscription_id=invoice_subscription(invoice, told.basil),
        payment_id=payment,
        charge_id=charge,
        instrument_id=reference(method),
        money=money(invoice.get(name), invoice.get("currency"), name),
        decline=error_decline(error),
        instrument=instrument(method),
        due_at=instant_or_none(invoice.get("due_date"), "due_date"),
        status=text(invoice.get("status")),
    )


def _counted(told: Told, fact: Observation) -> Observation:
    return replace(
        fact,
        attempt_count=count(told.subject.get("attempt_count")),
        next_attempt_at=instant_or_none(told.subject.get("next_payment_attempt"), "next_payment_attempt"),
    )


def _payment_failed(told: Told) -> Sequence[Observation]:
    return (_counted(told, _invoice(told, Kind.PAYMENT_FAILED, "amount_remaining", "amount_due")),)


def _action_required(told: Told) -> Sequence[Observation]:
    return (_counted(told, _invoice(told, Kind.PAYMENT_ACTION_REQUIRED, "amount_remaining", "amount_due")),)


def _payment_succeeded(told: Told) -> Sequence[Observation]:
    fact = _counted(told, _invoice(told, Kind.PAYMENT_SUCCEEDED, "amount_paid", "amount_due"))
    # Nothing due, or paid outside Stripe: no payment was made here; invoice.paid tells the rest.
    if not fact.money or not fact.money.minor or told.subject.get("paid_out_of_band") is True:
        return ()
    return (fact,)


def _paid(told: Told) -> Sequence[Observation]:
    return (_invoice(told, Kind.INVOICE_PAID, "amount_paid", "amount_due"),)


def _voided(told: Told) -> Sequence[Observation]:
    return (_invoice(told, Kind.INVOICE_VOIDED, "amount_remaining", "amount_due"),)


def _uncollectible(told: Told) -> Sequence[Observation]:
    return (_invoice(told, Kind.INVOICE_MARKED_UNCOLLECTIBLE, "amount_remaining", "amount_due"),)


def _finalized(told: Told) -> Sequence[Observation]:
    return (_invoice(told, Kind.INVOICE_OPENED, "amount_due"),)


def _updated(told: Told) -> Sequence[Observation]:
    changed = told.previous.keys() & {"amount_due", "amount_remaining", "total", "due_date"}
    if text(told.subject.get("status")) != "open" or not changed:
        return ()
    return (_invoice(told, Kind.INVOICE_CHANGED, "amount_remaining", "amount_due"),)


def _linked(told: Told) -> Sequence[Observation]:
    """An InvoicePayment tells which payment belongs to which invoice; since basil nothing else does."""
    paid = part(told.subject.get("payment"))
    fact = Observation(
        kind=Kind.PAYMENT_LINKED,
        occurred_at=told.occurred_at,
        invoice_id=reference(told.subject.get("invoice")),
        payment_id=reference(paid.get("payment_intent")),
        charge_id=reference(paid.get("charge")),
        status=text(told.subject.get("status")),
    )
    return (fact,) if fact.invoice_id and (fact.payment_id or fact.charge_id) else ()


def _subscription(told: Told, kind: Kind) -> Observation:
    return Observation(
        kind=kind,
        occurred_at=told.occurred_at,
        payer_id=reference(told.subject.get("customer")),
        subscription_id=told.id(),
        invoice_id=reference(told.subject.get("latest_invoice")),
        instrument_id=reference(told.subject.get("default_payment_method")),
        status=text(told.subject.get("status")),
    )


def _subscription_is(kind: Kind) -> Callable[[Told], Sequence[Observation]]:
    return lambda told: (_subscription(told, kind),)


def _subscription_updated(told: Told) -> Sequence[Observation]:
    """One update may tell several things: what is in `previous_attributes` is what changed."""
    now, before = told.subject, told.previous
    kinds: list[Kind] = []
    if "cancel_at_period_end" in before or "cancel_at" in before:
        leaving = bool(now.get("cancel_at_period_end") or now.get("cancel_at"))
        was_leaving = bool(
            before.get("cancel_at_period_end", now.get("cancel_at_period_end"))
            or before.get("cancel_at", now.get("cancel_at"))
        )
        if leaving and not was_leaving:
            kinds.append(Kind.SUBSCRIPTION_CANCEL_SCHEDULED)
        elif was_leaving and not leaving:
            kinds.append(Kind.SUBSCRIPTION_REACTIVATED)
    if "status" in before and before["status"] != now.get("status"):
        moved = _moved(text(before["status"]), text(now.get("status")))
        kinds += [moved] if moved else []
    if "pause_collection" in before:
        kinds.append(Kind.SUBSCRIPTION_PAUSED if now.get("pause_collection") else Kind.SUBSCRIPTION_REACTIVATED)
    if "default_payment_method" in before and reference(now.get("default_payment_method")):
        kinds.append(Kind.INSTRUMENT_REPLACED)
    return tuple(_subscription(told, kind) for kind in dict.fromkeys(kinds))


def _moved(before: str, now: str) -> Kind | None:
    if now == "active":
        return Kind.SUBSCRIPTION_REACTIVATED if before in ("past_due", "unpaid", "paused") else None
    # `canceled` has an event of its own.
    return {
        "past_due": Kind.SUBSCRIPTION_PAST_DUE,
        "unpaid": Kind.SUBSCRIPTION_SUSPENDED,
        "paused": Kind.SUBSCRIPTION_PAUSED,
    }.get(now)


READERS: dict[str, Callable[[Told], Sequence[Observation]]] = {
    "invoice.payment_failed": _payment_failed,
    "invoice.payment_action_required": _action_required,
    "invoice.payment_succeeded": _payment_succeeded,
    "invoice.paid": _paid,
    "invoice.voided": _voided,
    "invoice.marked_uncollectible": _uncollectible,
    "invoice.finalized": _finalized,
    "invoice.updated": _updated,
    "invoice_payment.paid": _linked,
    "invoice_payment.created": _linked,
    "invoice_payment.updated": _linked,
    "customer.subscription.deleted": _subscription_is(Kind.SUBSCRIPTION_CANCELED),
    "customer.subscription.paused": _subscription_is(Kind.SUBSCRIPTION_PAUSED),
    "customer.subscription.resumed": _subscription_is(Kind.SUBSCRIPTION_REACTIVATED),
    "customer.subscription.updated": _subscription_updated,
}
