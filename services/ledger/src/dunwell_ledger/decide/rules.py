"""Posting rules: what one fact books on an invoice that stands in a certain way.

Owns: the chart's rules for invoices, payments, refunds, disputes and write-offs. Pure.
One payment told by several events is one journal, since its source is the gateway's payment object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from dunwell_ledger import model
from dunwell_ledger.model import Fact, Journal, Kind, Leg, Standing
from dunwell_ledger.policy import LedgerPolicy

# A gateway stamps whole seconds and our clock is not its own: a payment and the change that it makes may be told
# in the wrong order by as much. Gateways allow the same 5 minutes between clocks when they sign.
# Source: docs.stripe.com/webhooks (tolerance of signatures), read November 2026.
CLOCKS_APART_MAX = timedelta(minutes=5)
PAID_ELSEWHERE = "ledger.paid_out_of_band"


@dataclass(frozen=True, slots=True)
class Step:
    """One fact at its place in the replay.

    Args:
        later: The facts that happened after it, in order.
        heard: The payments of the invoice that some fact tells of.
    """

    standing: Standing
    fact: Fact
    policy: LedgerPolicy
    later: Sequence[Fact] = ()
    heard: frozenset[str] = frozenset()

    @property
    def foreign(self) -> bool:
        """True when the fact speaks of another currency than the invoice: the one cannot settle the other."""
        return self.fact.currency != self.standing.currency


def effective_on(fact: Fact, policy: LedgerPolicy) -> date:
    """Return the business date of a fact in the tenant's zone."""
    return fact.effective_on or fact.at.astimezone(ZoneInfo(policy.timezone)).date()


def due_on(fact: Fact, policy: LedgerPolicy) -> date | None:
    """Return the day in the tenant's zone from which a fact says that its invoice ages; None when it does not say."""
    if fact.due_on or fact.due_at is None:
        return fact.due_on
    return fact.due_at.astimezone(ZoneInfo(policy.timezone)).date()


def booked(step: Step) -> tuple[list[Journal], Standing]:
    """Return the journals that a fact books, and how the invoice stands after it."""
    journals = _RULES[step.fact.what](step)
    return journals, _after(step, journals)


def _after(step: Step, journals: list[Journal]) -> Standing:
    """How the journals of one fact leave the invoice."""
    standing, fact = step.standing, step.fact
    if not journals and not standing.unexplained:
        return standing
    for journal in journals:
        sums = Counter[str]()
        for leg in journal.legs:
            sums[leg.account] += leg.amount
        cash = sums[fact.subject.clearing] if journal.kind is Kind.PAYMENT else 0
        standing = replace(
            standing,
            currency=journal.currency if journal.kind is Kind.INVOICE_OPENED else standing.currency,
            principal=standing.principal + sums[model.AR],
            written_off=standing.written_off + sums[model.BAD_DEBT] + sums[model.RECOVERY_INCOME],
            paid=standing.paid + cash,
            unexplained=standing.unexplained + (cash if journal.rule == PAID_ELSEWHERE else 0),
            withdrawn=standing.withdrawn + sums[model.DISPUTE_RECEIVABLE],
        )
    if fact.what == "payment" and not step.foreign:
        standing = replace(standing, unexplained=max(0, standing.unexplained - fact.minor))
    return standing


def _journal(kind: Kind, step: Step, rule: str, *legs: Leg, source: str = "") -> Journal:
    return Journal(
        subject=step.fact.subject,
        kind=kind,
        source_id=source or step.fact.source_id,
        currency=step.fact.currency,
        effective_on=effective_on(step.fact, step.policy),
        legs=tuple(leg for leg in legs if leg.amount),
        rule=rule,
        evidence=step.fact.evidence,
    )


def _opened(step: Step) -> list[Journal]:
    fact = step.fact
    if fact.minor <= 0 or step.standing.currency:
        return []
    legs = Leg(model.AR, fact.minor, fact.subject.item), Leg(model.BILLED, -fact.minor)
    return [_journal(Kind.INVOICE_OPENED, step, "ledger.invoice_opened", *legs, source=f"{fact.subject.item}:1")]


def _changed(step: Step) -> list[Journal]:
    """The amount told is what is still due after the change."""
    standing, fact = step.standing, step.fact
    if not standing.currency:
        return _opened(step)
    difference = fact.minor - standing.principal
    # A settled or written-off invoice is not opened again by a late change.
    if difference == 0 or standing.principal == 0 or step.foreign or _paid_about_now(step, -difference):
        return []
    legs = Leg(model.AR, difference, fact.subject.item), Leg(model.BILLED, -difference)
    return [_journal(Kind.INVOICE_CHANGED, step, "ledger.invoice_changed", *legs)]


def _paid_about_now(step: Step, less: int) -> bool:
    """True when payments stamped just after the change are what it tells of."""
    total = 0
    for fact in step.later:
        if fact.at - step.fact.at > CLOCKS_APART_MAX:
            return False
        if fact.what == "payment" and fact.currency == step.standing.currency:
            total += fact.minor
            if total == less:
                return True
    return False


def _payment(step: Step) -> list[Journal]:
    """Money settles what is owed, then what was written off; the rest is kept for the payer."""
    fact, standing = step.fact, step.standing
    opening: list[Journal] = []
    if fact.minor <= 0:
        return []
    if fact.subject.item and not standing.currency:
        # An invoice we first hear of by its payment was opened and paid: both belong in the books.
        opening = _opened(step)
        standing = _after(step, opening)
    known = standing if standing.currency == fact.currency else Standing()
    # The gateway said before that the invoice is paid: this is the money it meant.
    amount = fact.minor - min(fact.minor, known.unexplained)
    if amount == 0:
        return opening
    settled = min(amount, max(0, known.principal))
    recovered = min(amount - settled, known.written_off)
    rest = amount - settled - recovered
    rule = "ledger.payment.recovered_after_write_off" if recovered else "ledger.payment"
    legs = (
        Leg(fact.subject.clearing, amount),
        Leg(model.AR, -settled, fact.subject.item),
        Leg(model.RECOVERY_INCOME, -recovered, fact.subject.item),
        Leg(model.UNAPPLIED, -rest, fact.subject.item),
    )
    return [*opening, _journal(Kind.PAYMENT, step, rule, *legs)]


def _paid(step: Step) -> list[Journal]:
    """An invoice said to be paid: book what its known payments do not explain."""
    standing, fact = step.standing, step.fact
    if fact.paid_by and fact.paid_by not in step.heard:
        return _paid_by(step)
    if standing.principal <= 0 or step.foreign:
        return []
    # The amount told is the invoice's: a payment that is named and heard of settles no more than its own.
    minor = min(standing.principal, fact.minor - standing.paid) if fact.paid_by else standing.principal
    if minor <= 0:
        return []
    legs = Leg(fact.subject.clearing, minor), Leg(model.AR, -minor, fact.subject.item)
    source = f"{fact.subject.item}:paid" + (f":{fact.paid_by}" if fact.paid_by else "")
    return [_journal(Kind.PAYMENT, step, PAID_ELSEWHERE, *legs, source=source)]


def _paid_by(step: Step) -> list[Journal]:
    """Nothing but the invoice tells of the payment that it names; the amount told may hold earlier payments."""
    standing, fact = step.standing, step.fact
    if fact.money is None or (standing.currency and step.foreign):
        return []
    owed = standing.principal + standing.written_off if standing.currency else fact.minor
    money = replace(fact.money, minor=min(fact.minor, owed))
    return _payment(replace(step, fact=replace(fact, what="payment", source_id=fact.paid_by, money=money)))


def _refund(step: Step) -> list[Journal]:
    amount = step.fact.minor
    if amount <= 0:
        return []
    legs = (
        Leg(model.BILLED, amount),
        Leg(model.REFUND_PAYABLE, -amount),
        Leg(model.REFUND_PAYABLE, amount),
        Leg(step.fact.subject.clearing, -amount),
    )
    return [_journal(Kind.REFUND, step, "ledger.refund", *legs)]


def _withdrawn(step: Step) -> list[Journal]:
    if step.fact.minor <= 0:
        return []
    legs = Leg(model.DISPUTE_RECEIVABLE, step.fact.minor), Leg(step.fact.subject.clearing, -step.fact.minor)
    return [_journal(Kind.DISPUTE_WITHDRAWN, step, "ledger.dispute_withdrawn", *legs)]


def _dispute_closed(step: Step) -> list[Journal]:
    """What was withdrawn comes back, or is lost; nothing withdrawn, nothing moves."""
    fact = step.fact
    if fact.minor <= 0 or step.standing.withdrawn <= 0:
        return []
    to, rule = (
        (fact.subject.clearing, "ledger.dispute_won") if fact.won else (model.DISPUTE_LOSS, "ledger.dispute_lost")
    )
    legs = Leg(to, fact.minor), Leg(model.DISPUTE_RECEIVABLE, -fact.minor)
    return [_journal(Kind.DISPUTE_CLOSED, step, rule, *legs)]


def _voided(step: Step) -> list[Journal]:
    """The opening is reversed as far as it is still open; that is no loss."""
    principal = step.standing.principal
    if principal <= 0 or step.foreign:
        return []
    legs = Leg(model.BILLED, principal), Leg(model.AR, -principal, step.fact.subject.item)
    return [_journal(Kind.INVOICE_VOIDED, step, "ledger.invoice_voided", *legs)]


def _uncollectible(step: Step) -> list[Journal]:
    principal, item = step.standing.principal, step.fact.subject.item
    if principal <= 0 or step.foreign:
        return []
    legs = Leg(model.BAD_DEBT, principal, item), Leg(model.AR, -principal, item)
    return [_journal(Kind.WRITE_OFF, step, f"ledger.write_off.{step.fact.what}", *legs, source=f"{item}:writeoff:1")]


def _exhausted(step: Step) -> list[Journal]:
    return _uncollectible(step) if step.policy.write_off_exhausted else []


def _nothing(step: Step) -> list[Journal]:
    """A dispute that is only opened moves no money."""
    return []


_RULES: dict[str, Callable[[Step], list[Journal]]] = {
    "opened": _opened,
    "changed": _changed,
    "paid": _paid,
    "payment": _payment,
    "refund": _refund,
    "disputed": _nothing,
    "withdrawn": _withdrawn,
    "dispute_closed": _dispute_closed,
    "voided": _voided,
    "uncollectible": _uncollectible,
    "exhausted": _exhausted,
}
FACTS = frozenset(_RULES)
