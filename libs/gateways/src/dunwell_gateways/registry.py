"""The registry: one line per gateway.

Owns: which names exist. Refuses: anything about how one works.
"""

from __future__ import annotations

from dunwell_gateways.port import Adapter
from dunwell_gateways.stripe.charge import StripeCharge
from dunwell_gateways.stripe.webhook import StripeWebhook
from dunwell_kit.errors import NotFound

_ADAPTERS = {
    "stripe": Adapter("stripe", StripeWebhook(), StripeCharge()),
}


class UnknownGateway(NotFound):
    """No gateway of that name is built in."""

    slug = "unknown-gateway"
    title = "Unknown gateway"


def names() -> tuple[str, ...]:
    """Return the names of all gateways, sorted."""
    return tuple(sorted(_ADAPTERS))


def adapter(name: str) -> Adapter:
    """Return a gateway by name; UnknownGateway naming the known ones otherwise."""
    try:
        return _ADAPTERS[name]
    except KeyError:
        raise UnknownGateway(f"gateway {name!r} is unknown; known: {', '.join(names())}") from None
