"""What Stripe's customer, payment method, source, mandate and account events tell.

Owns: those object families. Refuses: names and addresses; they stay at the gateway until notify asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dunwell_gateways.port import Kind, Observation
from dunwell_gateways.stripe.shapes import instrument
from dunwell_gateways.stripe.told import Told
from dunwell_gateways.wire import part, reference, text


def _method(kind: Kind) -> Callable[[Told], Sequence[Observation]]:
    def read(told: Told) -> Sequence[Observation]:
        return (
            Observation(
                kind=kind,
                occurred_at=told.occurred_at,
                # A detached method has lost its customer; the event says who it was.
                payer_id=reference(told.subject.get("customer")) or reference(told.previous.get("customer")),
                instrument_id=told.id(),
                instrument=instrument(told.subject),
            ),
        )

    return read


def _customer_updated(told: Told) -> Sequence[Observation]:
    """A new default method is what a payer who repaired his payment looks like."""
    settings = part(told.subject.get("invoice_settings"))
    changed = part(told.previous.get("invoice_settings"))
    default = reference(settings.get("default_payment_method")) or reference(told.subject.get("default_source"))
    base = Observation(Kind.PAYER_CHANGED, told.occurred_at, payer_id=told.id(), instrument_id=default)
    if default and ("default_payment_method" in changed or "default_source" in told.previous):
        replaced = Observation(
            Kind.INSTRUMENT_REPLACED, told.occurred_at, payer_id=told.id(), instrument_id=default, status="default"
        )
        return base, replaced
    return (base,)


def _customer_deleted(told: Told) -> Sequence[Observation]:
    return (Observation(Kind.PAYER_DELETED, told.occurred_at, payer_id=told.id()),)


def _mandate(told: Told) -> Sequence[Observation]:
    status = text(told.subject.get("status"))
    kind = {"inactive": Kind.MANDATE_CANCELED, "active": Kind.MANDATE_ACTIVATED}.get(status)
    if kind is None:
        return ()
    method = told.subject.get("payment_method")
    return (
        Observation(
            kind,
            told.occurred_at,
            payer_id=reference(part(method).get("customer")),
            instrument_id=reference(method),
            subject_id=told.id(),
            instrument=instrument(method),
            status=status,
        ),
    )


def _deauthorized(told: Told) -> Sequence[Observation]:
    return (Observation(Kind.GATEWAY_ACCESS_REVOKED, told.occurred_at, subject_id=told.id()),)


READERS: dict[str, Callable[[Told], Sequence[Observation]]] = {
    "payment_method.attached": _method(Kind.INSTRUMENT_ADDED),
    "payment_method.updated": _method(Kind.INSTRUMENT_REPLACED),
    "payment_method.automatically_updated": _method(Kind.INSTRUMENT_REPLACED),
    "payment_method.card_automatically_updated": _method(Kind.INSTRUMENT_REPLACED),
    "payment_method.detached": _method(Kind.INSTRUMENT_REMOVED),
    "customer.source.created": _method(Kind.INSTRUMENT_ADDED),
    "customer.source.updated": _method(Kind.INSTRUMENT_REPLACED),
    "customer.source.expiring": _method(Kind.INSTRUMENT_EXPIRING),
    "customer.source.deleted": _method(Kind.INSTRUMENT_REMOVED),
    "customer.updated": _customer_updated,
    "customer.deleted": _customer_deleted,
    "mandate.updated": _mandate,
    "account.application.deauthorized": _deauthorized,
}
