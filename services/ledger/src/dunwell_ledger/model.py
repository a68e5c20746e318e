"""What the books are made of: journals, legs, and the open item of an invoice.

Owns: the value types and the invariants checked on construction. Refuses: SQL and messages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money


class Kind(StrEnum):
    """What a journal records."""

    INVOICE_OPENED = "invoice_opened"
    INVOICE_CHANGED = "invoice_changed"
    INVOICE_VOIDED = "invoice_voided"
    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE_WITHDRAWN = "dispute_withdrawn"
    DISPUTE_CLOSED = "dispute_closed"
    WRITE_OFF = "write_off"


AR = "ar.principal"
BILLED = "billed"
UNAPPLIED = "unapplied"
REFUND_PAYABLE = "refund.payable"
DISPUTE_RECEIVABLE = "dispute.receivable"
DISPUTE_LOSS = "dispute.loss"
BAD_DEBT = "bad_debt"
RECOVERY_INCOME = "income.recovery"


class Unbalanced(Invalid):
    """The legs of a journal do not sum to zero."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One posting: debit positive, credit negative, minor units of the journal's currency.

    Args:
        item: The invoice's key for receivable accounts, else empty.
    """

    account: str
    amount: int
    item: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose invoice at which gateway account a fact is about."""

    tenant_id: str
    gateway: str
    account: str
    payer_id: str
    invoice_id: str
    case_id: str = ""

    @property
    def item(self) -> str:
        """The invoice's key within its tenant; empty without an invoice."""
        return f"{self.gateway}:{self.account}:{self.invoice_id}" if self.invoice_id else ""

    @property
    def clearing(self) -> str:
        """The account of money that is at the gateway and not yet in the bank."""
        return f"clearing.{self.gateway}.{self.account}"


@dataclass(frozen=True, slots=True)
class Journal:
    """One balanced entry; its id is derived from its source, which makes it idempotent."""

    subject: Subject
    kind: Kind
    source_id: str
    currency: str
    effective_on: date
    legs: tuple[Leg, ...]
    rule: str
    evidence: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.legs) < 2 or sum(leg.amount for leg in self.legs) != 0:
            raise Unbalanced(f"journal {self.source_id!r} has legs {[leg.amount for leg in self.legs]}")
        if any(leg.amount == 0 for leg in self.legs):
            raise Unbalanced(f"journal {self.source_id!r} has an empty leg")

    @property
    def id(self) -> UUID:
        """The id that this source always gives."""
        return journal_id(self.subject.tenant_id, self.kind, self.source_id)


def journal_id(tenant_id: str, kind: Kind, source_id: str) -> UUID:
    """Return the id of the journal that a source gives: the first 16 bytes of SHA-256 over `tenant|kind|source`."""
    return UUID(bytes=hashlib.sha256(f"{tenant_id}|{kind}|{source_id}".encode()).digest()[:16])


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An invoice as the books see it.

    Args:
        principal: What is still owed, minor units.
        written_off: What was written off and is not yet recovered.
        booked: Sources of the journals posted for it.
    """

    subject: Subject
    currency: str
    due_on: date
    principal: int
    written_off: int
    booked: frozenset[tuple[Kind, str]] = frozenset()
    paid_out_of_band: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing an event told, in the books' words.

    Args:
        what: `opened changed paid payment refund withdrawn dispute_closed voided uncollectible exhausted`.
        money: The amount told.
        source_id: The gateway object: `gateway:account:object`.
        won: For a closed dispute, whether the merchant keeps the money.
        due_at: When the invoice is due, where that is told; else it is due when the fact happened.
    """

    what: str
    subject: Subject
    money: Money
    source_id: str
    at: datetime
    evidence: tuple[str, ...]
    won: bool = False
    due_at: datetime | None = None

    @property
    def withdrawn_source(self) -> str:
        """The source of the withdrawal that a closed dispute follows."""
        return self.source_id.removesuffix(":closed") + ":withdrawn"
