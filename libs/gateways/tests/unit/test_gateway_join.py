"""Several webhooks of one outcome become one fact."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunwell_gateways.join import (
    PATIENCE,
    SETTLE,
    Told,
    due_at,
    join_key,
    links_of,
    merge,
    missing_link,
    outcome_key,
    partition,
    ready,
    references,
)
from dunwell_gateways.port import Kind, Observation, RawDecline, Trigger
from dunwell_kit.money import Money

T = datetime(2026, 11, 22, 10, tzinfo=UTC)
NSF = RawDecline("insufficient_funds", "51", "", "No funds.")
INVOICE = Observation(
    Kind.PAYMENT_FAILED, T, "cus_1", "in_1", "sub_1", money=Money("USD", 2000), attempt_count=2, trigger=Trigger.US
)
INTENT = Observation(
    Kind.PAYMENT_FAILED, T + timedelta(seconds=1), "cus_1", payment_id="pi_1", charge_id="ch_2",
    money=Money("USD", 2500), decline=NSF,
)  # fmt: skip
CHARGE = replace(INTENT, occurred_at=T - timedelta(seconds=1), decline=RawDecline("insufficient_funds"))
LINKS = {"pi_1": "in_1"}


def told(observation, event_id, received=T, published=False):
    return Told(observation, event_id, received, published)


ALL = [told(INVOICE, "evt_1"), told(INTENT, "evt_2"), told(CHARGE, "evt_3")]


@given(st.permutations(ALL))
def test_the_events_of_one_failure_give_one_fact_in_any_order(shuffled):
    parts = partition(shuffled, LINKS)
    assert len(parts) == 1
    fact = merge([each.observation for each in parts[0]])
    assert (fact.invoice_id, fact.payment_id, fact.charge_id) == ("in_1", "pi_1", "ch_2")
    assert (fact.decline, fact.attempt_count, fact.trigger) == (NSF, 2, Trigger.US)
    assert fact.money == Money("USD", 2000), "what is still due is what the invoice says"
    assert fact.occurred_at == T - timedelta(seconds=1)


@pytest.mark.parametrize("size", [1, 2])
def test_any_subset_of_the_events_is_one_outcome(size):
    for subset in combinations(ALL, size):
        assert len(partition(subset, LINKS)) == 1


@given(st.permutations(range(6)))
def test_two_attempts_of_one_invoice_stay_apart(order):
    later = timedelta(hours=5)
    second = [
        replace(INVOICE, occurred_at=T + later, attempt_count=3),
        replace(INTENT, occurred_at=T + later, charge_id="ch_3"),
        replace(CHARGE, occurred_at=T + later, charge_id="ch_3"),
    ]
    every = [*ALL, *(told(each, f"evt_{index}") for index, each in enumerate(second, start=4))]
    parts = partition([every[index] for index in order], LINKS)
    merged = [merge([each.observation for each in part]) for part in parts]
    assert [(fact.attempt_count, fact.charge_id) for fact in merged] == [(2, "ch_2"), (3, "ch_3")]
    assert len({outcome_key(fact) for fact in merged}) == 2


def test_attempts_seconds_apart_are_told_by_their_charges_and_numbers():
    quick = timedelta(seconds=20)
    second = [
        told(replace(INVOICE, occurred_at=T + quick, attempt_count=3), "evt_4"),
        told(replace(INTENT, occurred_at=T + quick, charge_id="ch_3"), "evt_5"),
    ]
    assert [len(part) for part in partition([*ALL, *second], LINKS)] == [3, 2]


def test_a_failure_and_a_success_never_join():
    success = replace(INTENT, kind=Kind.PAYMENT_SUCCEEDED, decline=RawDecline())
    assert len(partition([*ALL, told(success, "evt_9")], LINKS)) == 2


def test_without_the_link_the_other_half_is_asked_for():
    parts = partition(ALL, {})
    assert len(parts) == 2
    assert {missing_link(part, {}) for part in parts} == {("invoice", "in_1"), ("payment", "pi_1")}
    assert missing_link([told(INTENT, "evt_2")], {"pi_1": ""}) is None, "known to have no invoice"
    assert missing_link(partition(ALL, LINKS)[0], LINKS) is None


def test_links_and_references_come_from_what_events_tell():
    old = replace(INTENT, invoice_id="in_1")
    assert links_of([INVOICE, old]) == LINKS
    assert references(old) == ("invoice:in_1", "payment:pi_1", "charge:ch_2")
    assert join_key(INTENT, LINKS) == join_key(INVOICE, {}) == "payment_failed|in_1"
    assert join_key(INTENT, {}) == "payment_failed|pi_1"


def test_a_complete_outcome_waits_briefly_and_an_incomplete_one_longer():
    assert due_at(ALL) == T + SETTLE
    assert due_at(ALL[:1]) == T + PATIENCE
    assert not ready(ALL, T)
    assert ready(ALL, T + SETTLE)
    assert not ready(ALL[:1], T + SETTLE)
    assert ready(ALL[:1], T + PATIENCE)


def test_a_late_half_of_a_published_outcome_is_never_published_again():
    late = told(INTENT, "evt_2", T + timedelta(hours=1))
    published = told(INVOICE, "evt_1", published=True)
    (part,) = partition([published, late], LINKS)
    assert not ready(part, T + timedelta(days=1))


def test_refunds_and_disputes_have_their_own_keys():
    refund = Observation(Kind.PAYMENT_REFUNDED, T, charge_id="ch_1", subject_id="re_1", status="refunded")
    again = replace(refund, occurred_at=T + timedelta(seconds=9))
    assert outcome_key(refund) == outcome_key(again)
    assert outcome_key(refund) != outcome_key(replace(refund, subject_id="re_2"))
    paid = Observation(Kind.INVOICE_PAID, T, invoice_id="in_1")
    assert outcome_key(paid) == outcome_key(replace(paid, occurred_at=T + timedelta(days=1)))
