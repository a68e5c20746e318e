"""One Stripe event, taken apart.

Owns: the parts of an event that every reader needs. Refuses: what a type means.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dunwell_gateways.keys import is_ours
from dunwell_gateways.port import Kind, Observation, Trigger
from dunwell_gateways.stripe.shapes import is_basil
from dunwell_gateways.wire import Json, text

_CHARGED = (Kind.PAYMENT_FAILED, Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_ACTION_REQUIRED, Kind.PAYMENT_PENDING)


@dataclass(frozen=True, slots=True)
class Told:
    """An event's type, object, what changed, version, time and causing request."""

    event_type: str
    subject: Json
    previous: Json
    api_version: str
    occurred_at: datetime
    request: Json

    @property
    def basil(self) -> bool:
        """Whether the body has the shape of basil and later."""
        return is_basil(self.api_version)

    def id(self) -> str:
        """Return the object's id, empty if it has none."""
        return text(self.subject.get("id"))

    def trigger(self, fact: Observation) -> Trigger:
        """Return who set off a charge: the event's request names our key, some request, or none (Stripe itself)."""
        if fact.kind not in _CHARGED:
            return Trigger.UNKNOWN
        key = text(self.request.get("idempotency_key"))
        if is_ours(key):
            return Trigger.US
        if fact.off_session is False:
            return Trigger.PAYER
        if key or self.request.get("id"):
            return Trigger.UNKNOWN
        # Only invoice events count attempts; without a request Stripe's own billing acted.
        if fact.attempt_count == 1:
            return Trigger.SCHEDULE
        return Trigger.GATEWAY_RETRY if fact.attempt_count > 1 else Trigger.UNKNOWN
