"""Posting rules: what a fact books.

Owns: the chart's rules for invoices, payments, refunds, disputes and write-offs. Pure.
One payment told by several events is one journal, since its source is the gateway's payment object.
A declined attempt books nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from zoneinfo import ZoneInfo

from dunwell_ledger import model
from dunwell_ledger.model import Fact, Journal, Kind, Leg, OpenItem
from dunwell_ledger.policy import LedgerPolicy


def decide(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    """Return the journals that a fact about one invoice books.

    Args:
        item: The invoice as the books see it; None when they do not know it.

    Returns:
        Journals in order; empty when the fact books nothing or was booked before.
    """
    return _RULES[fact.what](item, fact, policy)


def effective_on(fact: Fact, policy: LedgerPolicy) -> date:
    """Return the business date of a fact in the tenant's zone."""
    return fact.at.astimezone(ZoneInfo(policy.timezone)).date()


def due_on(fact: Fact, policy: LedgerPolicy) -> date:
    """Return the day from which the invoice of a fact ages, in the tenant's zone."""
    return (fact.due_at or fact.at).astimezone(ZoneInfo(policy.timezone)).date()


def _journal(kind: Kind, fact: Fact, policy: LedgerPolicy, rule: str, *legs: Leg, source: str = "") -> Journal:
    return Journal(
        subject=fact.subject,
        kind=kind,
        source_id=source or fact.source_id,
        currency=fact.money.currency,
        effective_on=effective_on(fact, policy),
        legs=tuple(leg for leg in legs if leg.amount),
        rule=rule,
        evidence=fact.evidence,
    )


def _opening_source(fact: Fact) -> str:
    return f"{fact.subject.item}:1"


def _opened(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    if fact.money.minor <= 0 or _booked(item, Kind.INVOICE_OPENED, _opening_source(fact)):
        return []
    ar = Leg(model.AR, fact.money.minor, fact.subject.item)
    opening = Leg(model.BILLED, -fact.money.minor)
    return [
        _journal(Kind.INVOICE_OPENED, fact, policy, "ledger.invoice_opened", ar, opening, source=_opening_source(fact))
    ]


def _changed(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    if item is None or not _booked(item, Kind.INVOICE_OPENED, _opening_source(fact)):
        return _opened(item, fact, policy)
    difference = fact.money.minor - item.principal
    # A settled or written-off invoice is not opened again by a late change.
    if (
        difference == 0
        or item.principal == 0
        or _foreign(item, fact)
        or _booked(item, Kind.INVOICE_CHANGED, fact.source_id)
    ):
        return []
    legs = Leg(model.AR, difference, fact.subject.item), Leg(model.BILLED, -difference)
    return [_journal(Kind.INVOICE_CHANGED, fact, policy, "ledger.invoice_changed", *legs)]


def _payment(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    amount = fact.money.minor
    if amount <= 0 or _booked(item, Kind.PAYMENT, fact.source_id):
        return []
    if item is not None and (_paid_source(fact), amount) in item.paid_out_of_band:
        return []
    # An invoice we first hear of by its payment was opened and paid: both belong in the books.
    opening = _opened(item, fact, policy) if item is None and fact.subject.invoice_id else []
    known = item if item is not None and not _foreign(item, fact) else None
    owed = amount if opening else max(0, known.principal) if known else 0
    settled = min(amount, owed)
    recovered = min(amount - settled, known.written_off) if known else 0
    rest = amount - settled - recovered
    return [
        *opening,
        _journal(
            Kind.PAYMENT,
            fact,
            policy,
            "ledger.payment.recovered_after_write_off" if recovered else "ledger.payment",
            Leg(fact.subject.clearing, amount),
            Leg(model.AR, -settled, fact.subject.item),
            Leg(model.RECOVERY_INCOME, -recovered),
            Leg(model.UNAPPLIED, -rest, fact.subject.item),
        ),
    ]


def _paid_source(fact: Fact) -> str:
    return f"{fact.subject.item}:paid"


def _paid(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    """An invoice said to be paid without naming a payment: book what is still open, once."""
    if item is None or item.principal <= 0 or _foreign(item, fact):
        return []
    if _booked(item, Kind.PAYMENT, _paid_source(fact)):
        return []
    legs = Leg(fact.subject.clearing, item.principal), Leg(model.AR, -item.principal, fact.subject.item)
    return [_journal(Kind.PAYMENT, fact, policy, "ledger.paid_out_of_band", *legs, source=_paid_source(fact))]


def _refund(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    amount = fact.money.minor
    if amount <= 0 or _booked(item, Kind.REFUND, fact.source_id):
        return []
    return [
        _journal(
            Kind.REFUND,
            fact,
            policy,
            "ledger.refund",
            Leg(model.BILLED, amount),
            Leg(model.REFUND_PAYABLE, -amount),
            Leg(model.REFUND_PAYABLE, amount),
            Leg(fact.subject.clearing, -amount),
        )
    ]


def _withdrawn(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    if fact.money.minor <= 0 or _booked(item, Kind.DISPUTE_WITHDRAWN, fact.source_id):
        return []
    legs = Leg(model.DISPUTE_RECEIVABLE, fact.money.minor), Leg(fact.subject.clearing, -fact.money.minor)
    return [_journal(Kind.DISPUTE_WITHDRAWN, fact, policy, "ledger.dispute_withdrawn", *legs)]


def _dispute_closed(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    if (
        fact.money.minor <= 0
        or not _booked(item, Kind.DISPUTE_WITHDRAWN, fact.withdrawn_source)
        or _booked(item, Kind.DISPUTE_CLOSED, fact.source_id)
    ):
        return []
    to = fact.subject.clearing if fact.won else model.DISPUTE_LOSS
    rule = "ledger.dispute_won" if fact.won else "ledger.dispute_lost"
    legs = Leg(to, fact.money.minor), Leg(model.DISPUTE_RECEIVABLE, -fact.money.minor)
    return [_journal(Kind.DISPUTE_CLOSED, fact, policy, rule, *legs)]


def _voided(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    """The opening is reversed as far as it is still open; that is no loss."""
    if (
        item is None
        or item.principal <= 0
        or _foreign(item, fact)
        or _booked(item, Kind.INVOICE_VOIDED, fact.source_id)
    ):
        return []
    legs = Leg(model.BILLED, item.principal), Leg(model.AR, -item.principal, fact.subject.item)
    return [_journal(Kind.INVOICE_VOIDED, fact, policy, "ledger.invoice_voided", *legs)]


def _uncollectible(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    source = f"{fact.subject.item}:writeoff:1"
    if item is None or item.principal <= 0 or _foreign(item, fact) or _booked(item, Kind.WRITE_OFF, source):
        return []
    legs = Leg(model.BAD_DEBT, item.principal), Leg(model.AR, -item.principal, fact.subject.item)
    return [_journal(Kind.WRITE_OFF, fact, policy, f"ledger.write_off.{fact.what}", *legs, source=source)]


def _exhausted(item: OpenItem | None, fact: Fact, policy: LedgerPolicy) -> list[Journal]:
    return _uncollectible(item, fact, policy) if policy.write_off_exhausted else []


def _foreign(item: OpenItem, fact: Fact) -> bool:
    """True when the fact speaks of another currency than the invoice: the one cannot settle the other."""
    return fact.money.currency != item.currency


def _booked(item: OpenItem | None, kind: Kind, source: str) -> bool:
    return item is not None and (kind, source) in item.booked


_RULES: dict[str, Callable[[OpenItem | None, Fact, LedgerPolicy], list[Journal]]] = {
    "opened": _opened,
    "changed": _changed,
    "paid": _paid,
    "payment": _payment,
    "refund": _refund,
    "withdrawn": _withdrawn,
    "dispute_closed": _dispute_closed,
    "voided": _voided,
    "uncollectible": _uncollectible,
    "exhausted": _exhausted,
}
FACTS = frozenset(_RULES)
