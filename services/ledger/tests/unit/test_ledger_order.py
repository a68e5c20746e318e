"""No order of telling changes the books: against a biller that knows the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_kit.money import Money
from dunwell_ledger import model
from dunwell_ledger.decide import dated, decide, due, owed
from dunwell_ledger.model import Fact, Journal, Kind, Subject
from dunwell_ledger.policy import LedgerPolicy

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SUBJECT = Subject("t", "stripe", "acct", "cus_1", "in_1")
POLICY = LedgerPolicy()
CLEARING = SUBJECT.clearing


def fact(what: str, minor: int = 2000, *, source: str = "", currency: str = "EUR", **more: object) -> Fact:
    named = {"payment": "stripe:acct:pi_1", "withdrawn": "stripe:acct:dp_1:withdrawn"}
    made = Fact(
        what, SUBJECT, Money(currency, minor), source or named.get(what, f"{SUBJECT.item}:{what}"), START, ("evt",)
    )
    return dated(replace(made, **more), POLICY)  # type: ignore[arg-type]


class Books:
    """The books in memory, as store and database keep them: facts and journals, folded by thread."""

    def __init__(self) -> None:
        self.threads: dict[str, tuple[list[Fact], list[Journal]]] = {}

    @property
    def journals(self) -> list[Journal]:
        return [journal for _, journals in self.threads.values() for journal in journals]

    def hear(self, *facts: Fact) -> list[Journal]:
        posted: list[Journal] = []
        for each in facts:
            known, journals = self.threads.setdefault(each.thread, ([], []))
            known.append(each)
            new = decide(known, journals, POLICY, because=each.evidence)
            journals += new
            posted += new
        ids = [journal.id for journal in self.journals]
        assert len(set(ids)) == len(ids)
        return posted


@dataclass
class Biller:
    """A gateway that bills, is paid and tells of it: its own sums are the truth that the books are held against."""

    due: int = 0
    billed: int = 0
    cash: int = 0
    open_dispute: int = 0
    lost: int = 0
    payments: int = 0
    at: datetime = START
    told: list[Fact] = field(default_factory=list)

    def tell(self, what: str, minor: int, source: str = "", **more: object) -> None:
        self.told.append(fact(what, minor, source=source, **{"at": self.at, **more}))

    def changed(self) -> None:
        self.tell("changed", self.due, f"{SUBJECT.item}:e{len(self.told)}")

    def bill(self, minor: int) -> None:
        self.due = self.billed = minor
        self.tell("opened", minor)

    def amend(self, minor: int) -> None:
        self.billed += minor - self.due
        self.due = minor
        self.changed()

    def pay(self, minor: int) -> None:
        """A payment, told by itself and by what it changes of the invoice, all in one second."""
        self.due -= minor
        self.cash += minor
        self.payments += 1
        source = f"stripe:acct:pi_{self.payments}"
        self.tell("payment", minor, source)
        self.changed()
        if self.due == 0:
            # The invoice tells all that was ever paid on it.
            self.tell("payment", self.cash, source, evidence=("evt_invoice",))
            self.tell("paid", self.cash, f"{SUBJECT.item}:paid", paid_by=source)

    def refund(self, minor: int) -> None:
        self.cash -= minor
        self.billed -= minor
        self.tell("refund", minor, f"stripe:acct:re_{len(self.told)}")

    def dispute(self, minor: int, won: bool | None) -> None:
        name = f"stripe:acct:dp_{len(self.told)}"
        self.tell("disputed", minor, f"{name}:opened")
        self.tell("withdrawn", minor, f"{name}:withdrawn")
        self.cash -= minor
        self.open_dispute += minor
        if won is None:
            return
        self.at += DAY
        self.open_dispute -= minor
        self.cash += minor if won else 0
        self.lost += 0 if won else minor
        self.tell("dispute_closed", minor, f"{name}:closed", won=won)

    def void(self) -> None:
        self.billed -= self.due
        self.tell("voided", self.due)
        self.due = 0

    def truth(self) -> dict[str, int]:
        """What must stand on each account, zero left out."""
        accounts = {
            model.AR: self.due, model.BILLED: -self.billed, CLEARING: self.cash,
            model.DISPUTE_RECEIVABLE: self.open_dispute, model.DISPUTE_LOSS: self.lost,
        }  # fmt: skip
        return {account: minor for account, minor in accounts.items() if minor}


# Each act with the part of what is due, or of the cash, that it concerns.
ACTS = st.lists(
    st.tuples(st.sampled_from(["amend", "pay", "pay", "settle", "refund", "won", "lost", "disputed", "void"]),
              st.integers(1, 99), st.sampled_from([timedelta(seconds=1), DAY])),
    max_size=7,
)  # fmt: skip


def biller_after(acts: list[tuple[str, int, timedelta]]) -> Biller:
    biller = Biller()
    biller.bill(2000)
    for act, percent, later in acts:
        # Further apart than two clocks may be, or at once: see CLOCKS_APART_MAX.
        biller.at += later
        part = biller.due * percent // 100
        if act == "amend" and biller.due:
            biller.amend(max(1, 2 * part))
        elif act == "pay" and part:
            biller.pay(part)
        elif act == "settle" and biller.due:
            biller.pay(biller.due)
        elif act == "void" and biller.due:
            biller.void()
        elif act == "refund" and biller.cash > 1:
            biller.refund(biller.cash * percent // 100 or 1)
        elif act in ("won", "lost", "disputed") and biller.cash > 1:
            biller.dispute(biller.cash * percent // 100 or 1, {"won": True, "lost": False}.get(act))
    return biller


def by_day(books: Books) -> dict[tuple[date, str], int]:
    """Return what moved on each account on each business day, nothing left out but zeros."""
    found: Counter[tuple[date, str]] = Counter()
    for journal in books.journals:
        for leg in journal.legs:
            found[journal.effective_on, leg.account] += leg.amount
    return {key: minor for key, minor in found.items() if minor}


def standing(books: Books) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (_, account), minor in by_day(books).items():
        found[account] += minor
    return {account: minor for account, minor in found.items() if minor}


@settings(max_examples=300, deadline=None)
@given(ACTS, st.data())
def test_any_order_of_telling_gives_the_billers_own_sums(
    acts: list[tuple[str, int, timedelta]], data: st.DataObject
) -> None:
    biller = biller_after(acts)
    in_order, shuffled = Books(), Books()
    in_order.hear(*biller.told)
    assert standing(in_order) == biller.truth()
    twice = data.draw(st.lists(st.sampled_from(biller.told), max_size=5))
    shuffled.hear(*data.draw(st.permutations([*biller.told, *twice])))
    assert standing(shuffled) == biller.truth()
    assert by_day(shuffled) == by_day(in_order)


@settings(max_examples=100, deadline=None)
@given(ACTS, st.data())
def test_the_last_telling_heard_leaves_nothing_more_to_book(
    acts: list[tuple[str, int, timedelta]], data: st.DataObject
) -> None:
    books = Books()
    told = data.draw(st.permutations(biller_after(acts).told))
    books.hear(*told)
    assert books.hear(*told) == []


def test_facts_in_order_need_no_correction() -> None:
    biller = biller_after(
        [("amend", 90, DAY), ("pay", 40, DAY), ("won", 10, DAY), ("settle", 1, DAY), ("refund", 5, DAY)]
    )
    books = Books()
    assert all(journal.kind is not Kind.REVERSAL for journal in books.hear(*biller.told))


def test_a_late_change_before_a_partial_payment_moves_only_what_was_billed() -> None:
    opened, payment = fact("opened", at=START), fact("payment", 1500, at=START + 2 * DAY)
    books = Books()
    books.hear(opened, payment, fact("changed", 1900, at=START + DAY))
    assert standing(books) == {model.AR: 400, model.BILLED: -1900, CLEARING: 1500}


def test_a_correction_reverses_on_the_day_of_what_it_reverses_and_names_both() -> None:
    books = Books()
    books.hear(fact("opened", at=START), fact("payment", 2500, at=START + 2 * DAY))
    reversal, again = books.hear(fact("changed", 2600, at=START + DAY, evidence=("evt_late",)))[:2]
    payment = next(journal for journal in books.journals if journal.kind is Kind.PAYMENT)
    assert (reversal.kind, reversal.reverses, reversal.effective_on) == (
        Kind.REVERSAL,
        payment.id,
        payment.effective_on,
    )
    assert reversal.evidence == (str(payment.id), "evt_late")
    assert {leg.account: leg.amount for leg in reversal.legs} == {leg.account: -leg.amount for leg in payment.legs}
    assert again.kind is Kind.INVOICE_CHANGED
    assert standing(books) == {model.AR: 100, model.BILLED: -2600, CLEARING: 2500}


def test_a_payment_whose_change_bears_an_earlier_second_is_what_the_change_tells_of() -> None:
    """The gateway stamps whole seconds; our own clock stamps the charge."""
    change = fact("changed", 500, at=START + DAY)
    payment = fact("payment", 1500, at=START + DAY + timedelta(seconds=0.4))
    books = Books()
    books.hear(fact("opened", at=START), change, payment)
    assert standing(books) == {model.AR: 500, model.BILLED: -2000, CLEARING: 1500}
    far = Books()
    far.hear(fact("opened", at=START), change, replace(payment, at=START + 2 * DAY))
    assert standing(far) == {model.BILLED: -500, CLEARING: 1500, model.UNAPPLIED: -1000}


def test_a_payment_told_without_its_invoice_first_is_applied_once_the_invoice_is_known() -> None:
    alone = fact("payment", subject=replace(SUBJECT, invoice_id=""), at=START + DAY)
    named = fact("payment", at=START + DAY)
    books = Books()
    books.hear(fact("opened", at=START), alone)
    assert standing(books) == {model.AR: 2000, model.BILLED: -2000, CLEARING: 2000, model.UNAPPLIED: -2000}
    # The store puts the telling without an invoice into the invoice's thread.
    journals = decide([fact("opened", at=START), alone, named], books.journals, POLICY)
    assert [journal.kind for journal in journals] == [Kind.REVERSAL, Kind.PAYMENT]
    assert owed([*books.journals, *journals]) == 0


def test_an_invoice_said_to_be_paid_settles_only_what_its_payments_leave() -> None:
    books = Books()
    paid = fact("paid", at=START + 2 * DAY, paid_by="stripe:acct:pi_2")
    books.hear(fact("opened", at=START), fact("payment", 1500, at=START + DAY), paid)
    assert standing(books) == {model.BILLED: -2000, CLEARING: 2000}
    # The payment it named is heard of later: the same journal, so nothing changes.
    assert books.hear(fact("payment", 500, source="stripe:acct:pi_2", at=START + 2 * DAY)) == []


def test_money_behind_an_invoice_paid_elsewhere_is_counted_once_even_in_parts() -> None:
    books = Books()
    books.hear(fact("opened", at=START), fact("paid", at=START + DAY))
    for number, minor in enumerate((1500, 500)):
        source = f"stripe:acct:pi_{number}"
        assert books.hear(fact("payment", minor, source=source, at=START + DAY + timedelta(seconds=1))) == []
    (extra,) = books.hear(fact("payment", 300, source="stripe:acct:pi_9", at=START + 2 * DAY))
    assert {leg.account: leg.amount for leg in extra.legs} == {CLEARING: 300, model.UNAPPLIED: -300}


def test_the_currency_of_the_invoice_is_the_one_it_was_opened_in() -> None:
    books = Books()
    books.hear(fact("payment", 2000, currency="USD", at=START + DAY), fact("opened", at=START))
    assert owed(books.journals) == 2000
    assert [j.currency for j in books.journals if j.kind is Kind.INVOICE_OPENED] == ["USD", "EUR"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_due_date_told_last_counts_in_any_order(order: tuple[int, ...]) -> None:
    told = [
        fact("opened", at=START),
        fact("opened", at=START + DAY, due_at=START + 30 * DAY),
        fact("opened", at=START + 2 * DAY, due_at=START + 40 * DAY),
    ]
    assert due([told[place] for place in order], POLICY) == ((START + 40 * DAY).date(), True)
    assert due(told[:1], POLICY) == (START.date(), False)
    assert due(told[1:2], POLICY) == ((START + 30 * DAY).date(), False)


def test_a_dispute_told_without_an_amount_moves_nothing() -> None:
    books = Books()
    assert books.hear(*(replace(fact(what), money=None) for what in ("disputed", "withdrawn", "dispute_closed"))) == []


def test_a_payment_without_a_good_amount_books_nothing() -> None:
    assert Books().hear(fact("payment", -5), fact("payment", 0)) == []
    assert Money("EUR", 0).minor == fact("payment", 0).minor
