"""What the books are made of: journals, legs, and the open item of an invoice.

Owns: the value types and the invariants checked on construction. Refuses: SQL and messages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
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
    REVERSAL = "reversal"


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
    """One balanced entry; its id is derived from its source, which makes it idempotent.

    Args:
        reverses: The journal that this one takes back, leg by leg.
    """

    subject: Subject
    kind: Kind
    source_id: str
    currency: str
    effective_on: date
    legs: tuple[Leg, ...]
    rule: str
    evidence: tuple[str, ...] = field(default=())
    reverses: UUID | None = None

    def __post_init__(self) -> None:
        if len(self.legs) < 2 or sum(leg.amount for leg in self.legs) != 0:
            raise Unbalanced(f"journal {self.source_id!r} has legs {[leg.amount for leg in self.legs]}")
        if any(leg.amount == 0 for leg in self.legs):
            raise Unbalanced(f"journal {self.source_id!r} has an empty leg")

    @property
    def id(self) -> UUID:
        """The id that this source always gives."""
        return journal_id(self.subject.tenant_id, self.kind, self.source_id)


# Asked for several times while one event is handled.
@lru_cache(maxsize=1024)
def journal_id(tenant_id: str, kind: Kind, source_id: str) -> UUID:
    """Return the id of the journal that a source gives: the first 16 bytes of SHA-256 over `tenant|kind|source`."""
    return UUID(bytes=hashlib.sha256(f"{tenant_id}|{kind}|{source_id}".encode()).digest()[:16])


@dataclass(frozen=True, slots=True)
class Standing:
    """How an invoice stands between two facts of its replay.

    Args:
        currency: Empty until the invoice is opened.
        principal: What is still owed, minor units.
        written_off: What was written off and is not yet recovered.
        paid: What payments of the invoice brought.
        unexplained: What the gateway said was paid and no payment has accounted for yet.
        withdrawn: What the gateway took back for a dispute that is not closed.
    """

    currency: str = ""
    principal: int = 0
    written_off: int = 0
    paid: int = 0
    unexplained: int = 0
    withdrawn: int = 0


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing an event told, in the books' words.

    Args:
        what: `opened changed paid payment refund disputed withdrawn dispute_closed voided uncollectible exhausted`.
        money: The amount told; None where none is told, which books nothing.
        source_id: The gateway object: `gateway:account:object`.
        won: For a closed dispute, whether the merchant keeps the money.
        due_at: When the invoice is due, where that is told; else it is due when the fact happened.
        paid_by: For an invoice said to be paid, the payment it names: `gateway:account:object`.
        effective_on: Its business date, once the books have noted it.
        due_on: The business date of `due_at`, once the books have noted it.
    """

    what: str
    subject: Subject
    money: Money | None
    source_id: str
    at: datetime
    evidence: tuple[str, ...]
    won: bool = False
    due_at: datetime | None = None
    paid_by: str = ""
    effective_on: date | None = None
    due_on: date | None = None

    @property
    def minor(self) -> int:
        """The amount in minor units; 0 where none is told."""
        return self.money.minor if self.money else 0

    @property
    def currency(self) -> str:
        """The currency of the amount; empty where none is told."""
        return self.money.currency if self.money else ""

    @property
    def thread(self) -> str:
        """What the fact is folded with: its invoice, or the gateway object where an invoice plays no part."""
        if self.what in DISPUTE_FACTS:
            return self.source_id.rpartition(":")[0]
        if self.what == "refund" or not self.subject.item:
            return self.source_id
        return self.subject.item


DISPUTE_FACTS = frozenset({"disputed", "withdrawn", "dispute_closed"})
