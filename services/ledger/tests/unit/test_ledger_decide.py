"""What each fact books, what it refuses to book twice, and that no order of facts breaks the books."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_kit.money import Money
from dunwell_ledger import model
from dunwell_ledger.decide import FACTS, dated, decide
from dunwell_ledger.model import Fact, Journal, Kind, Leg, Subject, Unbalanced
from dunwell_ledger.policy import BUCKET_NAMES, LedgerPolicy, bucket

AT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
SUBJECT = Subject("t", "stripe", "acct", "cus_1", "in_1")
POLICY = LedgerPolicy()
CLEARING = SUBJECT.clearing
SOURCES = {
    "opened": f"{SUBJECT.item}:opened",
    "paid": f"{SUBJECT.item}:paid",
    "payment": "stripe:acct:pi_1",
    "refund": "stripe:acct:re_1",
    "withdrawn": "stripe:acct:dp_1:withdrawn",
    "disputed": "stripe:acct:dp_1:opened",
    "dispute_closed": "stripe:acct:dp_1:closed",
    "voided": f"{SUBJECT.item}:voided",
    "uncollectible": f"{SUBJECT.item}:uncollectible",
    "exhausted": f"{SUBJECT.item}:exhausted",
    "changed": f"{SUBJECT.item}:evt_9",
}


def fact(what: str, minor: int = 2000, *, source: str = "", currency: str = "EUR", **more: object) -> Fact:
    made = Fact(what, SUBJECT, Money(currency, minor), source or SOURCES[what], AT, ("evt",))
    return replace(made, **more)  # type: ignore[arg-type]


class Books:
    """The books of one invoice in memory: what store and database do with facts and journals."""

    def __init__(self, policy: LedgerPolicy = POLICY) -> None:
        self.policy = policy
        self.facts: list[Fact] = []
        self.journals: list[Journal] = []
        self.threads: dict[UUID, str] = {}

    def tell(self, *facts: Fact) -> list[Journal]:
        """Hear facts that happen one second after another, in this order."""
        first = len(self.facts)
        return self.hear(*(replace(each, at=AT + timedelta(seconds=first + n)) for n, each in enumerate(facts)))

    def hear(self, *facts: Fact) -> list[Journal]:
        """Hear facts that happened when they say."""
        new: list[Journal] = []
        for each in facts:
            self.facts.append(dated(each, self.policy))
            thread = [known for known in self.facts if known.thread == each.thread]
            booked = [journal for journal in self.journals if self.threads[journal.id] == each.thread]
            posted = decide(thread, booked, self.policy)
            assert not {journal.id for journal in posted} & {journal.id for journal in self.journals}
            self.threads.update({journal.id: each.thread for journal in posted})
            self.journals += posted
            new += posted
        return new

    def balance(self, account: str) -> int:
        return sum(leg.amount for j in self.journals for leg in j.legs if leg.account == account)


def legs_of(journals: list[Journal]) -> dict[str, int]:
    """Return account -> amount over journals, accounts that come out at zero left out."""
    found: Counter[str] = Counter()
    for journal in journals:
        for leg in journal.legs:
            found[leg.account] += leg.amount
    return {account: amount for account, amount in found.items() if amount}


def test_a_failed_payment_opens_a_receivable() -> None:
    (journal,) = Books().tell(fact("opened"))
    assert (journal.kind, journal.rule) == (Kind.INVOICE_OPENED, "ledger.invoice_opened")
    assert legs_of([journal]) == {model.AR: 2000, model.BILLED: -2000}


def test_an_invoice_over_nothing_opens_nothing() -> None:
    assert Books().tell(fact("opened", 0)) == []


def test_a_payment_settles_what_is_owed() -> None:
    books = Books()
    books.tell(fact("opened"))
    assert legs_of(books.tell(fact("payment"))) == {CLEARING: 2000, model.AR: -2000}
    assert books.balance(model.AR) == 0


def test_a_payment_of_an_unknown_invoice_opens_it_first() -> None:
    opened, paid = Books().tell(fact("payment"))
    assert (opened.kind, paid.kind) == (Kind.INVOICE_OPENED, Kind.PAYMENT)
    assert legs_of([opened, paid]) == {CLEARING: 2000, model.BILLED: -2000}


def test_a_partial_payment_leaves_the_rest_open() -> None:
    books = Books()
    books.tell(fact("opened"), fact("payment", 1500))
    assert books.balance(model.AR) == 500


def test_what_is_paid_beyond_the_debt_is_kept_for_the_payer() -> None:
    books = Books()
    books.tell(fact("opened", 1000))
    assert legs_of(books.tell(fact("payment", 1500))) == {CLEARING: 1500, model.AR: -1000, model.UNAPPLIED: -500}


def test_a_payment_in_another_currency_settles_nothing() -> None:
    books = Books()
    books.tell(fact("opened"))
    assert legs_of(books.tell(fact("payment", 2000, currency="USD"))) == {CLEARING: 2000, model.UNAPPLIED: -2000}
    assert books.balance(model.AR) == 2000


def test_a_payment_after_a_write_off_is_recovery_income() -> None:
    books = Books()
    books.tell(fact("opened"), fact("uncollectible"))
    (journal,) = books.tell(fact("payment"))
    assert journal.rule == "ledger.payment.recovered_after_write_off"
    assert legs_of([journal]) == {CLEARING: 2000, model.RECOVERY_INCOME: -2000}


def test_an_invoice_paid_without_a_payment_is_booked_as_paid_elsewhere() -> None:
    books = Books()
    books.tell(fact("opened"))
    (journal,) = books.tell(fact("paid"))
    assert (journal.rule, books.balance(model.AR)) == ("ledger.paid_out_of_band", 0)


def test_the_payment_behind_an_invoice_said_to_be_paid_is_not_booked_again() -> None:
    books = Books()
    books.tell(fact("opened"), fact("paid"))
    assert books.tell(fact("payment")) == []


def test_a_void_reverses_only_what_is_still_open() -> None:
    books = Books()
    books.tell(fact("opened"), fact("payment", 500))
    assert legs_of(books.tell(fact("voided"))) == {model.BILLED: 1500, model.AR: -1500}


def test_a_change_moves_the_receivable_by_the_difference() -> None:
    books = Books()
    books.tell(fact("opened"))
    assert legs_of(books.tell(fact("changed", 1800))) == {model.AR: -200, model.BILLED: 200}


def test_a_late_change_does_not_open_a_settled_invoice_again() -> None:
    books = Books()
    books.tell(fact("opened"), fact("payment"))
    assert books.tell(fact("changed", 1800)) == []


def test_a_change_of_an_unknown_invoice_opens_it() -> None:
    (journal,) = Books().tell(fact("changed", 1800))
    assert journal.kind is Kind.INVOICE_OPENED


def test_a_refund_leaves_the_receivable_alone() -> None:
    books = Books()
    books.tell(fact("opened"), fact("payment"))
    assert legs_of(books.tell(fact("refund", 700))) == {model.BILLED: 700, CLEARING: -700}


@pytest.mark.parametrize(("won", "account"), [(True, CLEARING), (False, model.DISPUTE_LOSS)])
def test_a_closed_dispute_moves_what_was_withdrawn(won: bool, account: str) -> None:
    books = Books()
    books.tell(fact("opened"), fact("payment"), fact("withdrawn"))
    assert books.balance(model.DISPUTE_RECEIVABLE) == 2000
    assert legs_of(books.tell(fact("dispute_closed", won=won))) == {account: 2000, model.DISPUTE_RECEIVABLE: -2000}


def test_a_dispute_closed_without_a_withdrawal_moves_nothing() -> None:
    books = Books()
    books.tell(fact("opened"), fact("payment"))
    assert books.tell(fact("dispute_closed")) == []


def test_an_exhausted_case_is_written_off_only_where_the_tenant_wants_it() -> None:
    careful, strict = Books(), Books(LedgerPolicy(write_off_exhausted=True))
    for books in (careful, strict):
        books.tell(fact("opened"))
    assert careful.tell(fact("exhausted")) == []
    assert legs_of(strict.tell(fact("exhausted"))) == {model.BAD_DEBT: 2000, model.AR: -2000}


@pytest.mark.parametrize("what", sorted(FACTS))
def test_no_fact_books_twice(what: str) -> None:
    books = Books(LedgerPolicy(write_off_exhausted=True))
    before = {"dispute_closed": ("opened", "payment", "withdrawn")}.get(what, ("opened",))
    books.tell(*(fact(each) for each in before))
    told = fact(what, 1500)
    books.tell(told)
    assert books.tell(told) == []


@pytest.mark.parametrize("what", ["paid", "voided", "uncollectible", "exhausted", "dispute_closed"])
def test_an_end_of_an_unknown_invoice_books_nothing(what: str) -> None:
    assert Books(LedgerPolicy(write_off_exhausted=True)).tell(fact(what)) == []


def test_an_unbalanced_single_legged_or_empty_journal_cannot_be_made() -> None:
    for legs in ((Leg("a", 1), Leg("b", -2)), (Leg("a", 0),), (Leg("a", 1), Leg("b", -1), Leg("c", 0))):
        with pytest.raises(Unbalanced):
            Journal(SUBJECT, Kind.PAYMENT, "s", "EUR", AT.date(), legs, "rule")


def test_a_journals_id_depends_on_tenant_kind_and_source_alone() -> None:
    (one,) = Books().tell(fact("opened"))
    (same,) = Books().tell(fact("opened", 999, at=AT + timedelta(days=3)))
    (other,) = Books().tell(fact("opened", subject=replace(SUBJECT, tenant_id="u")))
    assert one.id == same.id != other.id


def test_business_dates_are_the_tenants() -> None:
    berlin = LedgerPolicy(timezone="Europe/Berlin")
    days = [dated(fact("opened"), policy).effective_on for policy in (POLICY, berlin)]
    assert days == [date(2026, 3, 1), date(2026, 3, 2)]
    told = fact("opened", due_at=datetime(2026, 4, 1, tzinfo=UTC))
    assert dated(told, berlin).due_on == date(2026, 4, 1)


def test_a_changed_zone_does_not_move_what_is_noted() -> None:
    noted = dated(fact("opened"), POLICY)
    assert dated(noted, LedgerPolicy(timezone="Europe/Berlin")) == noted


@pytest.mark.parametrize(
    ("days", "name"),
    [(-5, "not_due"), (0, "not_due"), (1, "1-30"), (30, "1-30"), (31, "31-60"), (60, "31-60"), (61, "61-90"), (90, "61-90"),
     (91, "91-120"), (120, "91-120"), (121, "121+"), (4000, "121+")],
)  # fmt: skip
def test_an_item_ages_into_its_bucket_on_the_day(days: int, name: str) -> None:
    due = date(2026, 1, 31)
    assert bucket(due, due + timedelta(days=days)) == name
    assert name in BUCKET_NAMES


FACT = st.builds(
    lambda what, minor, number: fact(
        what, minor, source=f"stripe:acct:pi_{number}" if what == "payment" else "", won=number == 1
    ),
    st.sampled_from(sorted(FACTS)),
    st.integers(0, 5000),
    st.integers(1, 3),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(FACT, max_size=14), st.booleans())
def test_no_sequence_of_facts_breaks_the_books(facts: list[Fact], strict: bool) -> None:
    books = Books(LedgerPolicy(write_off_exhausted=strict))
    for each in facts:
        books.tell(each)
        assert books.tell(each) == []
        assert books.balance(model.AR) >= 0
    assert all(sum(leg.amount for leg in journal.legs) == 0 for journal in books.journals)


TELLINGS = {
    "charge_succeeded": fact("payment"),
    "payment_succeeded": fact("payment", evidence=("evt_2",)),
    "invoice_paid": fact("payment", evidence=("evt_3",)),
    "invoice_paid_without_payment": fact("paid"),
}


@settings(max_examples=60, deadline=None)
@given(st.permutations(sorted(TELLINGS)), st.booleans(), st.integers(0, 3))
def test_one_payment_told_in_any_order_books_its_cash_once(order: list[str], opened: bool, copies: int) -> None:
    books = Books()
    if opened:
        books.tell(fact("opened"))
    for name in [*order, *order[:copies]]:
        books.tell(TELLINGS[name])
    assert (books.balance(CLEARING), books.balance(model.AR)) == (2000, 0)
