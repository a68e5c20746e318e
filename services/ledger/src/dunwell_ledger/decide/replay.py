"""The facts of one invoice in the order in which they happened, whatever the order in which they were told.

Owns: that order, which of several tellings of one thing counts, and the difference between what the facts say and what
is booked. Events arrive late and twice, and what a fact books depends on the facts before it. So the books keep every
fact, replay those of the invoice when one more arrives, and correct what a late one proves wrong: a reversal of the
journal, dated as the journal was, and the right one. Equal facts give equal balances on every day. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

from dunwell_ledger import model
from dunwell_ledger.decide import rules
from dunwell_ledger.decide.rules import Step
from dunwell_ledger.model import DISPUTE_FACTS, Fact, Journal, Kind, Leg, Standing
from dunwell_ledger.policy import LedgerPolicy

# The order of facts that bear the same instant. A gateway's change of an invoice tells what is due after what happened
# at its instant, so payments come before it; a dispute is withdrawn before it is closed, whatever the clocks say.
_ORDER = [
    "opened",
    "payment",
    "paid",
    "changed",
    "voided",
    "uncollectible",
    "exhausted",
    "refund",
    "disputed",
    "withdrawn",
    "dispute_closed",
]
_RANKS = {what: rank for rank, what in enumerate(_ORDER)}


def dated(fact: Fact, policy: LedgerPolicy) -> Fact:
    """Return the fact with its business dates: they stay, should the tenant's zone ever change."""
    return replace(fact, effective_on=rules.effective_on(fact, policy), due_on=rules.due_on(fact, policy))


def decide(
    facts: Iterable[Fact], booked: Sequence[Journal], policy: LedgerPolicy, *, because: Sequence[str] = ()
) -> list[Journal]:
    """Return the journals that are missing for the facts of one invoice (or of one gateway object without one).

    Args:
        facts: Every fact of it that is known, in any order, tellings of one thing more than once.
        booked: Every journal of it, with reversals and what they reverse.
        because: What a correction rests on: the late fact's evidence.

    Returns:
        Journals in order, reversals first; empty when the books say what the facts say.
    """
    reversed_ids = {journal.reverses for journal in booked}
    entries = [journal for journal in booked if journal.kind is not Kind.REVERSAL]
    standing = {journal.id: journal for journal in entries if journal.id not in reversed_ids}
    missing: list[Journal] = []
    for wanted in replayed(facts, policy):
        versions = [journal for journal in entries if _version(journal, wanted)]
        right = [journal for journal in versions if journal.id in standing and _says(journal) == _says(wanted)]
        if right:
            del standing[right[0].id]
        elif versions:
            number = 1 + max(_version(journal, wanted) for journal in versions)
            missing.append(replace(wanted, source_id=f"{wanted.source_id}#{number}"))
        else:
            missing.append(wanted)
    return [*(_reversal(journal, because) for journal in standing.values()), *missing]


def replayed(facts: Iterable[Fact], policy: LedgerPolicy) -> list[Journal]:
    """Return the journals that the facts give when they are told once each and in order."""
    ordered = _in_order(facts)
    heard = frozenset(fact.source_id for fact in ordered if fact.what == "payment")
    standing, journals = Standing(), list[Journal]()
    for place, fact in enumerate(ordered, start=1):
        new, standing = rules.booked(Step(standing, fact, policy, ordered[place:], heard))
        journals += new
    return journals


def due(facts: Iterable[Fact], policy: LedgerPolicy) -> tuple[date, bool]:
    """Return the day from which the invoice ages, and whether another day was valid before.

    The day told last counts; an invoice that is told none ages from its first fact.
    """
    ordered = sorted(facts, key=_place)
    told = [day for fact in ordered if (day := rules.due_on(fact, policy)) is not None]
    days = [rules.effective_on(ordered[0], policy), *told]
    # What is told at the very first instant was never otherwise.
    first_told = rules.due_on(ordered[0], policy)
    return days[-1], len(set(days[1:] if first_told else days)) > 1


def currency_of(journals: Sequence[Journal]) -> str:
    """Return the currency in which the invoice was opened last; empty when it was not."""
    return next((journal.currency for journal in reversed(journals) if journal.kind is Kind.INVOICE_OPENED), "")


def owed(journals: Iterable[Journal]) -> int:
    """Return what the payer owes by these journals, minor units."""
    return sum(leg.amount for journal in journals for leg in journal.legs if leg.account == model.AR)


def _in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Return one fact a thing, in the order of their happening."""
    tellings: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in facts:
        tellings.setdefault((fact.what, fact.source_id, fact.paid_by), []).append(fact)
    once = [_told_once(each) for each in tellings.values()]
    payments = {fact.source_id: fact for fact in once if fact.what == "payment"}
    return sorted((_after_its_payment(fact, payments) for fact in once), key=_place)


def _told_once(tellings: Sequence[Fact]) -> Fact:
    """Return the telling that counts: the earliest, knowing the invoice if any does.

    A payment is the least that is told of it: events of an invoice tell all that was ever paid on it.
    """
    if len(tellings) == 1:
        return tellings[0]
    first = min(tellings, key=_place)
    named = min(tellings, key=lambda fact: (not fact.subject.item, _place(fact)))
    fact = replace(first, subject=named.subject)
    if fact.what == "payment" and fact.money:
        sums = [told.minor for told in tellings if told.minor > 0 and told.currency == fact.currency]
        fact = replace(fact, money=replace(fact.money, minor=min(sums, default=0)))
    return fact


def _after_its_payment(fact: Fact, payments: Mapping[str, Fact]) -> Fact:
    """An invoice is paid by the payment it names, and so not before it."""
    payment = payments.get(fact.paid_by)
    if payment is None or payment.at <= fact.at:
        return fact
    return replace(fact, at=payment.at, effective_on=payment.effective_on)


def _place(fact: Fact) -> tuple[int, datetime, int, int, str, str, bool]:
    """Where a fact belongs; two facts of one place are one."""
    rank = _RANKS[fact.what]
    # Of changes that bear one instant the larger amount comes first: what is due falls far more often than it rises.
    return (
        rank if fact.what in DISPUTE_FACTS else 0, fact.at, rank, -fact.minor, fact.currency,
        fact.source_id + fact.paid_by, fact.won,
    )  # fmt: skip


def _version(journal: Journal, wanted: Journal) -> int:
    """Return the number of the version that a booked journal is of a wanted one, from 1; 0 when it is of another."""
    if journal.kind is not wanted.kind:
        return 0
    base, _, number = journal.source_id.rpartition("#")
    if journal.source_id == wanted.source_id:
        return 1
    return int(number) if base == wanted.source_id and number.isdecimal() else 0


def _says(journal: Journal) -> tuple[str, date, dict[str, int]]:
    """What a journal says, without who told it."""
    sums = Counter[str]()
    for leg in journal.legs:
        sums[leg.account] += leg.amount
    return journal.currency, journal.effective_on, {account: amount for account, amount in sums.items() if amount}


def _reversal(journal: Journal, because: Sequence[str]) -> Journal:
    return Journal(
        subject=journal.subject,
        kind=Kind.REVERSAL,
        source_id=f"{journal.id}:reversal",
        currency=journal.currency,
        effective_on=journal.effective_on,
        legs=tuple(Leg(leg.account, -leg.amount, leg.item) for leg in journal.legs),
        rule="ledger.late_fact",
        evidence=(str(journal.id), *because),
        reverses=journal.id,
    )
