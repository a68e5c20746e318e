"""The promised schedule: a floor that no policy undercuts, inside gap, budget, horizon and the rule gate."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_retry.planning import plan as plan_case
from dunwell_retry.planning.model import Case as PlannerCase
from dunwell_retry.planning.model import Decline as Told
from dunwell_retry.planning.model import Method as PlannerMethod
from dunwell_retry.planning.model import Sent
from dunwell_retry.policies import Floor, preset

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def planner_case(**changes: Any) -> PlannerCase:
    base = PlannerCase(
        "rec_1", "in_1", "pay_1", "t", 2900, "USD", "UTC", "stripe", AT, AT + 28 * DAY, Told("insufficient_funds", "51"),
        (PlannerMethod("pm_1", "card", "visa", "debit", "US"),),
    )  # fmt: skip
    return replace(base, **changes)


STINGY = replace(preset("smart"), gain_min=0.9, exploration=0.0)


@pytest.mark.parametrize("promised", [1, 3, 5, 8])
def test_a_promised_schedule_is_never_undercut(promised: int) -> None:
    assert plan_case(planner_case(), STINGY, now=AT, seed=1).attempts == ()
    policy = replace(STINGY, floor=Floor(promised, 14.0))
    made = plan_case(planner_case(), policy, now=AT, seed=1)
    within = [a.at for a in made.attempts if a.at <= AT + 14 * DAY]
    assert len(within) == promised
    assert all(b - a >= timedelta(hours=policy.min_gap_hours) for a, b in zip([AT, *within], within, strict=False))
    assert any("promised" in note for note in made.notes)
    assert made.stop is None


def test_charges_that_were_sent_count_for_the_promise() -> None:
    policy = replace(STINGY, floor=Floor(4, 14.0))
    sent = tuple(Sent(AT + n * DAY, "pm_1", "default", False, Told("insufficient_funds", "51")) for n in (2, 5))
    made = plan_case(planner_case(sent=sent), policy, now=AT + 6 * DAY, seed=1)
    assert len(made.attempts) == 2
    assert all(AT + 6 * DAY < a.at <= AT + 14 * DAY for a in made.attempts)


def test_the_rule_gate_has_the_last_word_over_a_promise() -> None:
    policy = replace(STINGY, floor=Floor(4, 14.0))
    made = plan_case(planner_case(decline=Told("lost_card", "41")), policy, now=AT, seed=1)
    assert made.attempts == ()
    assert any("not possible" in note for note in made.notes)


def test_a_plan_that_keeps_the_promise_by_itself_is_left_as_it_is() -> None:
    plain = plan_case(planner_case(), preset("uniform-8"), now=AT, seed=1)
    floored = plan_case(planner_case(), replace(preset("uniform-8"), floor=Floor(3, 14.0)), now=AT, seed=1)
    assert floored == plain


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.floats(9, 28), st.integers(0, 20), st.floats(0.0, 0.2))
def test_a_floor_never_breaks_gap_budget_or_horizon(promised: int, days: float, late: int, gain: float) -> None:
    policy = replace(preset("smart"), floor=Floor(promised, days), gain_min=gain, exploration=0.0)
    now = AT + late * DAY
    made = plan_case(planner_case(), policy, now=now, seed=1)
    times = [a.at for a in made.attempts]
    assert times == sorted(times)
    assert len(times) <= policy.attempts_max
    assert all(now < at <= AT + 28 * DAY for at in times)
    assert all(b - a >= timedelta(hours=policy.min_gap_hours) for a, b in pairwise(times))
    assert plan_case(planner_case(), policy, now=now, seed=1, look_ahead=1).attempts == made.attempts[:1]
