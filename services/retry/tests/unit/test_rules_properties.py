"""The rule gate under fuzzed, shuffled, duplicated and differently zoned histories."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from timeit import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_retry.rules import Gate, allow
from dunwell_retry.rules.model import Attempt, Initiator, Instrument, Origin, PastAttempt

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
CODES = ("51", "05", "57", "41", "46", "R0", "R1", "83", "79", "R01", "R10", "AM04", "MS03", "0", "901", "??", None)
ADVICE = (None, None, None, "01", "02", "03", "21", "24", "27", "30", "40", "41")
INSTRUMENTS = (
    *(Instrument("i", "card", network, "debit", "US", "par", "tok") for network in ("visa", "mastercard", "amex")),
    Instrument("i", "card", "hipercard", "credit", "BR", "par", "tok"),
    *(Instrument("i", "bank_debit", scheme, "none", "DE", "par", "tok") for scheme in ("ach", "sepa", "bacs", "x")),
    Instrument("i", "upi", "upi", "none", "IN", "par", "tok"),
)


@st.composite
def pasts(draw):
    return PastAttempt(
        at=NOW - timedelta(minutes=draw(st.integers(1, 60 * 24 * 45))),
        invoice_id=draw(st.sampled_from(("in_1", "in_2"))),
        amount_minor=draw(st.sampled_from((1000, 1000, 700))),
        currency="USD",
        initiator=draw(st.sampled_from(Initiator)),
        instrument_id="i",
        approved=draw(st.integers(0, 19)) == 0,
        account_reference="par",
        token=draw(st.sampled_from(("tok", "tok", "tok_2", None))),
        network_code=draw(st.sampled_from(CODES)),
        advice_code=draw(st.sampled_from(ADVICE)),
    )


def _many(each, step_minutes, count):
    plain = replace(each, network_code="51", advice_code=None, approved=False)
    return [replace(plain, at=each.at - timedelta(minutes=step_minutes * index)) for index in range(count)]


HISTORIES = st.one_of(
    st.lists(pasts(), max_size=12),
    # Many plain declines, to reach the caps.
    st.builds(lambda each, step, count: _many(each, step, count), pasts(), st.integers(20, 2000), st.integers(15, 45)),
)
ATTEMPTS = st.builds(
    Attempt,
    at=st.integers(0, 60 * 24 * 40).map(lambda minutes: NOW + timedelta(minutes=minutes)),
    invoice_id=st.just("in_1"),
    amount_minor=st.sampled_from((1000, 700)),
    currency=st.just("USD"),
    initiator=st.sampled_from(Initiator),
    gateway=st.just("stripe"),
    instrument=st.sampled_from(INSTRUMENTS),
    merchant_country=st.sampled_from(("US", "BR", None)),
    authorization=st.sampled_from((None, None, "auth")),
    notified_at=st.sampled_from((None, NOW, NOW - timedelta(days=3))),
)
ZONES = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8)))


@given(ATTEMPTS, HISTORIES, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_duplicates_and_time_zones_change_nothing(attempt, history, chance):
    straight = allow(attempt, history)
    shuffled = [replace(each, at=each.at.astimezone(chance.choice(ZONES))) for each in (*history, *history[:5])]
    chance.shuffle(shuffled)
    elsewhere = replace(attempt, at=attempt.at.astimezone(chance.choice(ZONES)))
    assert allow(elsewhere, shuffled) == straight


@given(ATTEMPTS, HISTORIES)
@settings(max_examples=60, deadline=None)
def test_at_not_before_the_attempt_is_permitted_and_not_a_second_earlier(attempt, history):
    gate = Gate(history)
    verdict = gate.allow(attempt)
    if verdict.permit:
        assert verdict.not_before is None
    elif verdict.not_before is not None:
        assert verdict.not_before > attempt.at
        assert gate.allow(replace(attempt, at=verdict.not_before)).permit
        earlier = verdict.not_before - timedelta(seconds=1)
        if earlier > attempt.at:
            assert not gate.allow(replace(attempt, at=earlier)).permit


def test_two_first_presentations_of_other_amounts_leave_no_amount_to_present_again():
    debit = Instrument("i", "bank_debit", "x", "none", "DE", "par", "tok")
    asked = Attempt(NOW, "in_1", 700, "USD", Initiator.MERCHANT, "stripe", debit, "US")
    at = NOW - timedelta(days=2)
    first = PastAttempt(at, "in_1", 1000, "USD", Initiator.MERCHANT, "i", False, "par", "tok", network_code="51")
    same = replace(first, amount_minor=700)
    assert allow(asked, [same]).permit
    for history in ([first], [first, same], [same, first]):
        verdict = allow(asked, history)
        assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "debit.same_amount", None)
    assert allow(asked, [first, replace(same, at=at - timedelta(minutes=1))]).permit


@given(ATTEMPTS, HISTORIES, pasts())
@settings(max_examples=60, deadline=None)
def test_another_decline_never_opens_a_closed_gate(attempt, history, extra):
    before = allow(attempt, history)
    after = allow(attempt, [*history, replace(extra, approved=False, amount_minor=min(extra.amount_minor, 700))])
    # Which amount a debit was first presented with is known better once an earlier presentation is told.
    first = min((past.at for past in history), default=extra.at)
    corrected = before.rule.endswith(".same_amount") and extra.at < first
    if not before.permit and before.rule != "invoice.already_paid" and not corrected:
        assert not after.permit
        if before.not_before is None:
            assert after.not_before is None


@given(ATTEMPTS, HISTORIES)
@settings(max_examples=30, deadline=None)
def test_a_verdict_is_whole(attempt, history):
    verdict = allow(attempt, history)
    assert verdict.rule and verdict.reason
    assert all(count >= 0 for count in verdict.counters.values())
    if not verdict.rule.startswith(("general.permitted", "block.", "invoice.")):
        assert verdict.sources


def test_a_call_takes_some_twenty_microseconds():
    card = INSTRUMENTS[0]
    attempt = Attempt(NOW, "in_1", 1000, "USD", Initiator.MERCHANT, "stripe", card, merchant_country="US")
    history = [
        PastAttempt(
            at=NOW - timedelta(days=day),
            invoice_id="in_1",
            amount_minor=1000,
            currency="USD",
            initiator=Initiator.MERCHANT,
            instrument_id="i",
            approved=False,
            account_reference="par",
            token="tok",
            network_code="51",
        )
        for day in range(1, 6)
    ]
    gate = Gate(history)
    seconds = min(timeit(lambda: gate.allow(attempt), number=500) for _ in range(5)) / 500
    assert seconds < 100e-6, "five times the target of 20 us: shared machines are slow"


@settings(max_examples=150, deadline=None)
@given(HISTORIES, ATTEMPTS, st.lists(st.sampled_from(INSTRUMENTS), max_size=3))
def test_a_gate_that_grew_attempt_by_attempt_is_the_gate_over_all_of_them(history, attempt, others):
    grown = Gate([])
    for past in sorted(history, key=lambda each: each.at):
        # What it was asked in between is kept and must not go stale.
        for instrument in (attempt.instrument, *others):
            grown.allow(replace(attempt, instrument=instrument))
        grown = grown.after(past)
    assert grown.allow(attempt) == Gate(history).allow(attempt)
    later = replace(attempt, at=attempt.at + timedelta(hours=7))
    assert grown.allow_at(attempt, later.at) == Gate(history).allow(later)
    shuffled = Gate(history[1:]).after(history[0]) if history else grown
    assert shuffled.allow(attempt) == Gate(history).allow(attempt)


@settings(max_examples=150, deadline=None)
@given(HISTORIES, ATTEMPTS, st.lists(st.sampled_from(INSTRUMENTS), max_size=3), st.booleans())
def test_a_gate_that_grew_in_place_is_the_gate_over_all_and_leaves_its_copies_alone(history, attempt, others, ordered):
    grown, told = Gate([]), []
    for past in sorted(history, key=lambda each: each.at) if ordered else history:
        for instrument in (attempt.instrument, *others):
            grown.allow(replace(attempt, instrument=instrument))
        copy = grown.after(past)
        assert grown.allow(attempt) == Gate(told).allow(attempt), "a copy that grew is another gate"
        grown.add(past)
        told.append(past)
        copy.add(replace(past, at=past.at + timedelta(days=1)))
        assert grown.allow(attempt) == Gate(told).allow(attempt)


@pytest.mark.parametrize("differing", [{"initiator": Initiator.PAYER}, {"origin": Origin.GATEWAY}, {"message": "no"}])
def test_two_attempts_of_one_instant_count_alike_in_either_order(differing: dict[str, object]) -> None:
    one = PastAttempt(
        at=NOW - timedelta(minutes=2), invoice_id="in_2", amount_minor=1000, currency="USD",
        initiator=Initiator.MERCHANT, instrument_id="i", approved=False, origin=Origin.US,
    )  # fmt: skip
    other = replace(one, **differing)
    instrument = Instrument(instrument_id="i", kind="card", network="visa", funding="debit", country="US")
    asked = Attempt(
        at=NOW, invoice_id="in_1", amount_minor=1000, currency="USD", initiator=Initiator.MERCHANT, gateway="stripe",
        instrument=instrument, merchant_country="US", authorization=None, notified_at=None,
    )  # fmt: skip
    assert Gate([one, other]).allow(asked) == Gate([other, one]).allow(asked)
