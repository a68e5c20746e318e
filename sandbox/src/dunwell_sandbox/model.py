"""What the gateway keeps: invoices with their attempts, customers, payment methods.

Owns: the records and their JSON form. Refuses: Stripe's wire shapes; see shapes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Origin = Literal["biller", "api", "payer"]


@dataclass(slots=True)
class Attempt:
    """One charge attempt; `at` is in unix seconds, amounts in minor units.

    Args:
        origin: `biller` = the first, failed one; `api` = asked for through the API; `payer` = paid by the link.
        decline: The gateway's words for a refusal, None when approved.
    """

    number: int
    at: int
    method: str
    approved: bool
    origin: Origin
    decline: dict[str, str | None] | None = None
    key: str | None = None
    refunded_minor: int = 0


@dataclass(slots=True)
class Invoice:
    """One invoice of a subscription; `looked_until` is how far its payer's doings are known, ISO 8601."""

    id: str
    world_id: str
    customer: str
    number: str
    amount_minor: int
    currency: str
    created: int
    looked_until: str
    status: Literal["open", "paid", "void"] = "open"
    closed_at: int | None = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def suffix(self) -> str:
        """What the ids of its intent, charges and subscription end with."""
        return self.id.removeprefix("in_")

    @property
    def intent(self) -> str:
        """Id of its only payment intent."""
        return f"pi_{self.suffix}"

    def charge(self, attempt: Attempt) -> str:
        """Id of an attempt's charge."""
        return f"ch_{self.suffix}n{attempt.number}"


@dataclass(slots=True)
class Customer:
    """One invented person."""

    id: str
    name: str
    email: str
    locale: str
    country: str
    timezone: str
    created: int
    subscription: str
    default_method: str
    canceled_at: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Method:
    """One payment method of a customer, standing for an instrument of the world; `expires` is (year, month)."""

    id: str
    customer: str
    instrument_id: str
    kind: str
    network: str
    funding: str
    country: str
    expires: tuple[int, int] | None
    last4: str
    created: int


def to_record(value: Invoice | Customer | Method) -> dict[str, Any]:
    """Return a JSON document that `invoice_from` and its like read."""
    return asdict(value)


def invoice_from(record: dict[str, Any]) -> Invoice:
    """Read an invoice from its document."""
    return Invoice(**{**record, "attempts": [Attempt(**each) for each in record["attempts"]]})


def customer_from(record: dict[str, Any]) -> Customer:
    """Read a customer from its document."""
    return Customer(**record)


def method_from(record: dict[str, Any]) -> Method:
    """Read a payment method from its document."""
    expires = record["expires"]
    return Method(**{**record, "expires": tuple(expires) if expires else None})
