"""Folding facts, defining figures, and telling luck from lift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell.common.v1 import common_pb2
from dunwell.notice.v1 import notice_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_analytics import kpis, translate
from dunwell_analytics.decide import BY_NAMES, fold
from dunwell_analytics.handlers import consumed
from dunwell_analytics.kpis import COLUMNS, GROUPS, Metric, metrics, query, value
from dunwell_analytics.lift import PAYERS_MIN, difference
from dunwell_analytics.model import WINDOW, Fact
from dunwell_contracts.catalogue import by_type, carried_message
from dunwell_contracts.envelope import Envelope
from dunwell_contracts.values import stamp
from dunwell_kit.errors import Invalid

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
CASE = recovery_pb2.CaseRef(
    case_id="rec_1", tenant_id="t", gateway="stripe", account="acct", payer_id="cus_1", invoice_id="in_1"
)
MONEY = common_pb2.Money(currency_code="EUR", minor_units=2000)


def opened() -> recovery_pb2.RecoveryOpened:
    return recovery_pb2.RecoveryOpened(
        case=CASE,
        amount=MONEY,
        failed_at=stamp(AT),
        decline=payment_pb2.Decline(reason="insufficient_funds"),
        instrument=payment_pb2.InstrumentFacts(network="visa", funding="debit"),
        assignment=recovery_pb2.Assignment(experiment="e", arm="treated"),
    )


def succeeded(days: float, by: recovery_pb2.RecoveredBy = recovery_pb2.RECOVERED_BY_RETRY) -> Message:
    return recovery_pb2.RecoverySucceeded(case=CASE, by=by, recovered_at=stamp(AT + timedelta(days=days)))


def log(*messages: Message) -> list[Fact]:
    """Return messages as facts, one an hour."""
    return [
        Fact(f"e{n}", carried_message(m).type, m, AT + timedelta(hours=n), "") for n, m in enumerate(messages)
    ]  # fmt: skip


NOTICE = notice_pb2.NoticeRef(case_ids=["rec_1"], step="failed", channel="email")
LIFE: list[Callable[[], Message]] = [
    opened,
    lambda: recovery_pb2.ChargeRequested(case=CASE),
    lambda: recovery_pb2.ChargeDeclined(case=CASE),
    lambda: recovery_pb2.RecoveryPaused(case=CASE),
    lambda: recovery_pb2.RecoveryResumed(case=CASE),
    lambda: notice_pb2.NoticeSent(notice=NOTICE),
    lambda: notice_pb2.NoticeSuppressed(notice=NOTICE),
    lambda: recovery_pb2.ChargeRequested(case=CASE),
    lambda: succeeded(3),
]


def test_a_case_is_folded_from_its_facts() -> None:
    row = fold(log(*(make() for make in LIFE)))
    assert row is not None
    assert (row.case_id, row.currency, row.amount_minor, row.decline_reason) == (
        "rec_1",
        "EUR",
        2000,
        "insufficient_funds",
    )
    assert (row.network, row.funding, row.experiment, row.arm) == ("visa", "debit", "e", "treated")
    assert (row.attempts, row.notices_sent, row.notices_suppressed) == (2, 1, 1)
    assert (row.state, row.recovered_by, row.recovered_at) == ("recovered", "retry", AT + 3 * DAY)


def test_without_its_opening_a_case_is_not_counted_yet() -> None:
    assert fold(log(succeeded(3))) is None
    assert fold([]) is None


@settings(max_examples=80, deadline=None)
@given(st.permutations(range(len(LIFE))))
def test_the_order_in_which_facts_arrive_changes_nothing(order: list[int]) -> None:
    facts = log(*(make() for make in LIFE))
    assert fold([facts[place] for place in order]) == fold(facts)


@pytest.mark.parametrize(
    ("end", "state"),
    [(recovery_pb2.RecoveryExhausted(case=CASE), "exhausted"), (recovery_pb2.RecoveryCanceled(case=CASE), "canceled")],
)
def test_an_end_is_for_good(end: Message, state: str) -> None:
    row = fold(log(opened(), end, recovery_pb2.RecoveryPaused(case=CASE), recovery_pb2.RecoveryResumed(case=CASE)))
    assert row is not None
    assert (row.state, row.ended_at, row.recovered_in_window) == (state, AT + timedelta(hours=1), False)


@pytest.mark.parametrize("by", sorted(BY_NAMES))
def test_every_way_of_recovery_has_a_name(by: recovery_pb2.RecoveredBy) -> None:
    row = fold(log(opened(), succeeded(1, by)))
    assert row is not None
    assert row.recovered_by == BY_NAMES[by]
    assert len(BY_NAMES) == len(recovery_pb2.RecoveredBy.values()) - 1


def test_only_money_that_came_within_the_window_counts() -> None:
    inside, outside = (fold(log(opened(), succeeded(days))) for days in (WINDOW.days, WINDOW.days + 0.001))
    assert inside is not None
    assert outside is not None
    assert (inside.recovered_in_window, outside.recovered_in_window) == (True, False)
    assert outside.state == "recovered"


def test_analytics_listens_to_every_type_of_the_catalogue() -> None:
    assert set(consumed()) == set(by_type())


@pytest.mark.parametrize("name", sorted(by_type()))
def test_every_type_has_a_subject_a_line_and_a_reason(name: str) -> None:
    message = by_type()[name].message()
    envelope = Envelope("e", name, "dunwell/test", AT, "t:cus_1")
    tenant, invoice, cases = translate.subject_of(envelope, message)
    assert (tenant, invoice) == ("t", "")
    assert all(isinstance(case, str) for case in cases)
    assert translate.line(message).startswith(type(message).__name__)
    assert isinstance(translate.reason(message), dict)


def test_every_shipped_figure_states_what_it_is_of() -> None:
    shipped = metrics()
    assert {"recovery_rate_count", "recovery_rate_value", "opened_cases", "attempts_per_recovery"} <= set(shipped)
    for metric in shipped.values():
        assert metric.caveat
        assert metric.title
        assert set(metric.needed) <= COLUMNS
        assert metric.window_days == WINDOW.days
        assert (metric.unit == "share") <= bool(metric.denominator)


GOOD = Metric("m", "Title", "share", "sum(recovered)", "sum(cases)", 30, True, "Said.", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"numerator": "sum(password)"}, "not a sum of a cohort column"),
        ({"numerator": "count(*)"}, "not a sum of a cohort column"),
        ({"numerator": "sum(cases); DROP TABLE facts"}, "not a sum of a cohort column"),
        ({"denominator": "sum(cases) + 1"}, "not a sum of a cohort column"),
        ({"caveat": ""}, "has no caveat"),
    ],
)
def test_a_figure_that_is_no_sum_or_says_not_what_it_is_of_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        replace(GOOD, **change)  # type: ignore[arg-type]


def test_a_share_is_its_numerator_over_its_denominator_and_nothing_without_one() -> None:
    assert value(GOOD, {"recovered": 3, "cases": 4}) == 0.75
    assert value(GOOD, {"recovered": 0, "cases": 0}) is None
    assert value(replace(GOOD, denominator=""), {"recovered": 3}) == 3


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_a_figure_can_be_asked_for_by_every_group(name: str) -> None:
    assert f"GROUP BY currency, {GROUPS[name]}" in query([name], matured=False)


@pytest.mark.parametrize("name", ["", "payer_id", "currency; DROP TABLE facts", "reason,gateway"])
def test_an_unknown_group_is_refused_and_the_known_ones_are_named(name: str) -> None:
    with pytest.raises(Invalid, match="groups are reason, gateway, arm, day"):
        query([name], matured=True)


def test_matured_figures_leave_out_cases_younger_than_the_window() -> None:
    assert f"- {WINDOW.days}" in query([], matured=True)
    assert "- 30" not in query([], matured=False)
    assert kpis.metrics()["recovery_rate_count"].matured


def test_a_few_payers_say_nothing() -> None:
    found = difference([1.0] * 100, [0.0] * (PAYERS_MIN - 1))
    assert (found.answer, found.low, found.high) == ("collecting", -1.0, 1.0)
    assert difference([], []).answer == "collecting"


def test_a_clear_difference_is_called_by_its_name() -> None:
    good, bad = [1.0] * 700 + [0.0] * 300, [1.0] * 400 + [0.0] * 600
    better, worse = difference(good, bad), difference(bad, good)
    assert (better.answer, worse.answer) == ("better", "worse")
    assert better.difference == pytest.approx(0.3)
    assert (better.low, better.high) == pytest.approx((-worse.high, -worse.low))
    # Known value: a standard error of sqrt((0.21 + 0.24) / 1000), widened for looking at any time.
    assert (better.high - better.low) / 2 == pytest.approx(0.0212 * 2.95, rel=0.05)
    assert difference(good, good).answer == "not significant yet"


def test_two_equal_arms_looked_at_again_and_again_are_rarely_called_different() -> None:
    chance = np.random.Generator(np.random.PCG64(7))
    runs, wrong = 200, 0
    for _ in range(runs):
        arms = (chance.random((2, 1500)) < 0.55).astype(float)
        looks = [difference(arms[0, :n].tolist(), arms[1, :n].tolist()) for n in (50, 100, 200, 400, 800, 1500)]
        wrong += any(look.answer in ("better", "worse") for look in looks)
    assert wrong / runs <= 0.05


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=PAYERS_MIN, max_size=60),
    st.lists(st.floats(0, 1), min_size=PAYERS_MIN, max_size=60),
)
def test_an_interval_holds_its_estimate(treated: list[float], holdout: list[float]) -> None:
    found = difference(treated, holdout)
    assert -1 <= found.low <= found.difference <= found.high <= 1
