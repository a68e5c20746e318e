"""Stripe's webhooks: authentic or not, and what they tell.

Owns: which event types mean something here. Refuses: joining; one event gives what that event alone knows.
Source: docs.stripe.com/api/events/types and the object pages it links, read August 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from dunwell_gateways.port import Delivery, Observation, Unreadable
from dunwell_gateways.stripe import facts_billing, facts_payer, facts_payment, signing
from dunwell_gateways.stripe.told import Told
from dunwell_gateways.wire import Json, instant, part, read_json, reference, text

_READERS: dict[str, Callable[[Told], Sequence[Observation]]] = {
    **facts_payment.READERS,
    **facts_billing.READERS,
    **facts_payer.READERS,
}


class StripeWebhook:
    """The webhook half of the port."""

    def verify(self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> None:
        """Return when the body is authentic and fresh; SignatureInvalid with the fault otherwise."""
        signing.verify(body, headers, secrets, now)

    def delivery(self, body: bytes) -> Delivery:
        """Return the head of an event; Unreadable if it is none."""
        event = _event(body)
        return Delivery(
            event_id=text(event["id"]),
            event_type=text(event["type"]),
            created_at=instant(event.get("created"), "created"),
            object_id=reference(part(event.get("data")).get("object")),
        )

    def translate(self, body: bytes) -> Sequence[Observation]:
        """Return what an event tells; empty for types that tell us nothing."""
        event = _event(body)
        reader = _READERS.get(text(event["type"]))
        if reader is None:
            return ()
        data = part(event.get("data"))
        subject = part(data.get("object"))
        if not subject:
            raise Unreadable("data.object is missing")
        told = Told(
            event_type=text(event["type"]),
            subject=subject,
            previous=part(data.get("previous_attributes")),
            api_version=text(event.get("api_version")),
            occurred_at=instant(event.get("created"), "created"),
            request=part(event.get("request")),
        )
        return tuple(replace(fact, trigger=told.trigger(fact)) for fact in reader(told))


def _event(body: bytes) -> Json:
    event = read_json(body)
    for name in ("id", "type"):
        if not text(event.get(name)):
            raise Unreadable(f"{name} is missing: not a Stripe event")
    return event
