"""Observations of the gateway port to events, and to JSON and back. Total over the port's kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.values import stamp
from dunwell_gateways.port import InstrumentFacts, Kind, Observation, RawDecline, Trigger
from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money

_TRIGGERS = {
    Trigger.SCHEDULE: payment_pb2.TRIGGER_SCHEDULE,
    Trigger.GATEWAY_RETRY: payment_pb2.TRIGGER_GATEWAY_RETRY,
    Trigger.PAYER: payment_pb2.TRIGGER_PAYER,
    Trigger.OPERATOR: payment_pb2.TRIGGER_OPERATOR,
    Trigger.US: payment_pb2.TRIGGER_US,
    Trigger.UNKNOWN: payment_pb2.TRIGGER_UNSPECIFIED,
}
Classified = tuple[str, str]
# Stripe's ids have at most 255 characters; source: docs.stripe.com/upgrades, "Length of object IDs".
ID_CHARS_MAX = 255
# The wire and the database count minor units in signed 64 bits.
MINOR_MAX = 2**63 - 1


def check_storable(facts: Sequence[Observation]) -> None:
    """Return when every fact fits the wire and the store; Invalid naming what does not."""
    for fact in facts:
        if fact.money is not None and fact.money.minor > MINOR_MAX:
            raise Invalid(f"amount {fact.money.minor} is larger than any amount can be")
        for each in fields(fact):
            value = getattr(fact, each.name)
            if each.name.endswith("_id") and len(value) > ID_CHARS_MAX:
                raise Invalid(f"{each.name} has {len(value)} characters, more than {ID_CHARS_MAX}")


class Source:
    """From which deliveries of which account a fact comes."""

    def __init__(self, tenant_id: str, gateway: str, account: str) -> None:
        self.tenant_id, self.gateway, self.account = tenant_id, gateway, account
        self.event_ids: list[str] = []
        self.delivery_ids: list[str] = []
        self.received_at: datetime | None = None

    def add(self, event_id: str, delivery_id: str, received_at: datetime) -> None:
        """Add one delivery."""
        self.event_ids.append(event_id)
        self.delivery_ids.append(delivery_id)
        self.received_at = min(filter(None, (self.received_at, received_at)))


def key_of(source: Source, fact: Observation) -> str:
    """Return the partition key: the payer, or without one the gateway object."""
    thing = (
        fact.payer_id or fact.invoice_id or fact.payment_id or fact.subscription_id or fact.subject_id or fact.charge_id
    )
    return f"{source.tenant_id}:{thing or source.event_ids[0]}"


def _origin(source: Source, fact: Observation) -> payment_pb2.Origin:
    return payment_pb2.Origin(
        tenant_id=source.tenant_id,
        gateway=source.gateway,
        account=source.account,
        payer_id=fact.payer_id,
        invoice_id=fact.invoice_id,
        subscription_id=fact.subscription_id,
        payment_id=fact.payment_id,
        charge_id=fact.charge_id,
        instrument_id=fact.instrument_id,
        gateway_event_ids=source.event_ids,
        delivery_ids=source.delivery_ids,
        occurred_at=stamp(fact.occurred_at),
        received_at=stamp(source.received_at),
    )


def _money(fact: Observation) -> common_pb2.Money | None:
    return (
        None
        if fact.money is None
        else common_pb2.Money(currency_code=fact.money.currency, minor_units=fact.money.minor)
    )


def _instrument(facts: InstrumentFacts) -> payment_pb2.InstrumentFacts:
    return payment_pb2.InstrumentFacts(
        kind=facts.kind,
        network=facts.network,
        funding=facts.funding,
        country=facts.country,
        bin=facts.bin,
        expiry_month=facts.expiry_month,
        expiry_year=facts.expiry_year,
        account_reference=facts.fingerprint,
    )


def _decline(raw: RawDecline, classified: Classified) -> payment_pb2.Decline:
    return payment_pb2.Decline(
        gateway_code=raw.gateway_code,
        network_code=raw.network_code,
        advice_code=raw.advice_code,
        message=raw.message,
        reason=classified[0],
        data_edition=classified[1],
    )


def _failed(o: payment_pb2.Origin, f: Observation, c: Classified) -> Message:
    return payment_pb2.PaymentFailed(
        origin=o,
        amount=_money(f),
        attempt_number=f.attempt_count,
        trigger=_TRIGGERS[f.trigger],
        decline=_decline(f.decline, c),
        instrument=_instrument(f.instrument),
        gateway_retry_at=stamp(f.next_attempt_at),
    )


def _succeeded(o: payment_pb2.Origin, f: Observation, _: Classified) -> Message:
    instrument = _instrument(f.instrument)
    return payment_pb2.PaymentSucceeded(origin=o, amount=_money(f), trigger=_TRIGGERS[f.trigger], instrument=instrument)


def _action_required(o: payment_pb2.Origin, f: Observation, c: Classified) -> Message:
    return payment_pb2.PaymentActionRequired(
        origin=o, amount=_money(f), decline=_decline(f.decline, c), instrument=_instrument(f.instrument)
    )


def _dispute_updated(o: payment_pb2.Origin, f: Observation, _: Classified) -> Message:
    withdrawn = bool(f.funds_withdrawn)
    return payment_pb2.DisputeUpdated(origin=o, amount=_money(f), dispute_id=f.subject_id, funds_withdrawn=withdrawn)


Make = Callable[[payment_pb2.Origin, Observation, Classified], Message]
_MAKERS: dict[Kind, Make] = {
    Kind.PAYMENT_FAILED: _failed,
    Kind.PAYMENT_SUCCEEDED: _succeeded,
    Kind.PAYMENT_ACTION_REQUIRED: _action_required,
    Kind.PAYMENT_REFUNDED: lambda o, f, _: payment_pb2.PaymentRefunded(
        origin=o, amount=_money(f), refund_id=f.subject_id
    ),
    Kind.DISPUTE_OPENED: lambda o, f, _: payment_pb2.DisputeOpened(
        origin=o, amount=_money(f), dispute_id=f.subject_id, reason=f.decline.gateway_code, inquiry=f.inquiry
    ),
    Kind.DISPUTE_UPDATED: _dispute_updated,
    Kind.DISPUTE_CLOSED: lambda o, f, _: payment_pb2.DisputeClosed(
        origin=o, amount=_money(f), dispute_id=f.subject_id, won=bool(f.won)
    ),
    Kind.INVOICE_OPENED: lambda o, f, _: payment_pb2.InvoiceOpened(origin=o, amount=_money(f), due_at=stamp(f.due_at)),
    Kind.INVOICE_CHANGED: lambda o, f, _: payment_pb2.InvoiceChanged(origin=o, amount=_money(f)),
    Kind.INVOICE_PAID: lambda o, f, _: payment_pb2.InvoicePaid(origin=o, amount=_money(f)),
    Kind.INVOICE_VOIDED: lambda o, f, _: payment_pb2.InvoiceVoided(origin=o, amount=_money(f)),
    Kind.INVOICE_MARKED_UNCOLLECTIBLE: lambda o, f, _: payment_pb2.InvoiceMarkedUncollectible(
        origin=o, amount=_money(f)
    ),
    Kind.INSTRUMENT_ADDED: lambda o, f, _: payment_pb2.InstrumentAdded(origin=o, instrument=_instrument(f.instrument)),
    Kind.INSTRUMENT_REPLACED: lambda o, f, _: payment_pb2.InstrumentReplaced(
        origin=o, instrument=_instrument(f.instrument)
    ),
    Kind.INSTRUMENT_EXPIRING: lambda o, f, _: payment_pb2.InstrumentExpiring(
        origin=o, instrument=_instrument(f.instrument)
    ),
    Kind.INSTRUMENT_REMOVED: lambda o, f, _: payment_pb2.InstrumentRemoved(origin=o),
    Kind.SUBSCRIPTION_CANCELED: lambda o, f, _: payment_pb2.SubscriptionCanceled(origin=o, reason=f.status),
    Kind.PAYER_CHANGED: lambda o, f, _: payment_pb2.PayerChanged(origin=o),
    Kind.PAYER_DELETED: lambda o, f, _: payment_pb2.PayerDeleted(origin=o),
}
# Kinds that no service reacts to yet: kept in the store, told to nobody.
KEPT = frozenset(Kind) - frozenset(_MAKERS)


def event_of(source: Source, fact: Observation, classified: Classified) -> Message | None:
    """Return the event of a fact; None for kinds that are only kept.

    Args:
        classified: Canonical reason of its decline and the edition that gave it.
    """
    make = _MAKERS.get(fact.kind)
    return make(_origin(source, fact), fact, classified) if make else None


def _flat(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def observation_document(fact: Observation) -> dict[str, Any]:
    """Return an observation as JSON values."""
    # By hand and not by `asdict`, which copies every text of it; a thousand a second pass here.
    document = _flat(fact)
    document["decline"], document["instrument"] = _flat(fact.decline), _flat(fact.instrument)
    document["money"] = _flat(fact.money) if fact.money is not None else None
    for name in ("occurred_at", "next_attempt_at", "due_at"):
        document[name] = document[name].isoformat() if document[name] else None
    return document


def observation_from(document: dict[str, Any]) -> Observation:
    """Read an observation back."""
    values = dict(document)
    for name in ("occurred_at", "next_attempt_at", "due_at"):
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    values["kind"], values["trigger"] = Kind(values["kind"]), Trigger(values["trigger"])
    values["money"] = Money(values["money"]["currency"], values["money"]["minor"]) if values["money"] else None
    values["decline"], values["instrument"] = RawDecline(**values["decline"]), InstrumentFacts(**values["instrument"])
    return Observation(**values)


def references_text(found: Sequence[str], gateway: str, account: str) -> list[str]:
    """Return references made unique to their gateway account."""
    return [f"{gateway}|{account}|{reference}" for reference in found]
