"""What is worked out once and read again is what would have been worked out anew."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from dunwell_retry.backtest.cases import case_of, recent_of
from dunwell_retry.planning.landscape import landscape
from dunwell_retry.planning.local import grid, local_seconds
from dunwell_retry.planning.model import Decline, Sent, after_charge
from dunwell_retry.planning.parameters import shipped
from dunwell_retry.planning.permits import Permits
from dunwell_retry.planning.planner import next_charge, plan
from dunwell_retry.planning.reading import readings_of
from dunwell_retry.planning.rhythm import EPOCH, HYPOTHESES, pay_table
from dunwell_retry.planning.scenarios import Columns, still_chances
from dunwell_retry.planning.schedules import timetable
from dunwell_retry.planning.view import view_of
from dunwell_retry.policies.document import Floor
from dunwell_retry.policies.presets import preset
from dunwell_worlds.base import make

CASES = [case_of(invoice, timedelta(days=30)) for invoice in make(9, 12).failures()]
_DAY = 86400


@pytest.mark.parametrize("number", range(12))
def test_a_landscape_reads_what_every_instant_is_worth_by_itself(number: int) -> None:
    case, model = CASES[number], shipped()
    view = view_of(case, case.failed_at, model, readings_of(case))
    first = view.failed // _DAY
    land = landscape(model, view.table, view.past, view.failed, first, first + 30)
    ahead, second = grid(20)
    odd = [view.failed, view.failed + 12_345, (first + 40) * _DAY + 1800, (first - 2) * _DAY]
    at = np.concatenate([(ahead + first + 3) * _DAY + second, odd])
    rows = np.concatenate([land.grid_rows(first + 3, 20), [land.row(moment) for moment in odd]])
    none = np.zeros(at.size)
    columns = Columns(at // _DAY, at % _DAY, none, none, none > 0)
    expected = still_chances(model, view.table, view.past.hypotheses, columns, view.failed)
    assert (rows[-4:] >= 0).tolist() == [True, False, False, False]
    assert np.array_equal(land.read(rows, at), expected)


def test_a_case_after_a_charge_differs_by_that_charge_alone() -> None:
    case = CASES[0]
    charge = Sent(case.failed_at + timedelta(days=1), case.methods[0].instrument_id, case.routes[0], False)
    assert after_charge(case, charge) == replace(case, sent=(charge,))
    assert case.sent == ()


@pytest.mark.parametrize("number", range(4))
def test_a_case_carries_on_what_it_has_worked_out_about_itself(number: int) -> None:
    case = CASES[number]
    method, other = case.methods[0].instrument_id, "another"
    codes = (case.decline, Decline("issuer_not_available", "91"), None, case.decline, Decline(None, "51"), case.decline)
    assert case.readings
    assert case.oddities == ()
    carried = case
    for hours, decline in enumerate(codes):
        name = other if hours == 4 else method
        carried = after_charge(carried, Sent(case.failed_at + timedelta(hours=hours), name, "stripe", False, decline))
        anew = replace(carried)
        assert carried.readings == anew.readings == readings_of(carried)
        assert carried.oddities == anew.oddities
    late = after_charge(carried, Sent(case.failed_at, method, "stripe", False, case.decline))
    assert late.oddities == ("charges were out of order: taken in the order of time",)


@pytest.mark.parametrize("number", range(6))
def test_permits_that_grew_in_place_say_what_permits_over_the_whole_case_say(number: int) -> None:
    case = CASES[number]
    method, permits = case.methods[0].instrument_id, Permits(case)
    for hours in (5, 30, 60, 61):
        at = case.failed_at + timedelta(hours=hours)
        supposed, before = permits.supposing(at, method), permits.ask(at, method)
        case = after_charge(case, Sent(at, method, "stripe", False, case.decline))
        permits.add(case)
        for later in (at, at + timedelta(hours=1), at + timedelta(hours=40)):
            assert permits.ask(later, method) == Permits(case).ask(later, method)
            assert supposed.ask(later, method).permit >= permits.ask(later, method).permit
        assert permits.ask(at, method).counters != before.counters, "an answer of before the charge is not kept"


def test_permits_that_are_told_the_last_month_say_what_permits_over_the_whole_past_say() -> None:
    recent = 0
    for invoice in make(9, 60).failures():
        case, told = case_of(invoice, timedelta(days=30)), recent_of(invoice)
        assert told is not None
        recent += len(told)
        method, at = case.methods[0].instrument_id, case.failed_at + timedelta(hours=5)
        assert Permits(case, recent=told).ask(at, method) == Permits(case).ask(at, method)
        assert recent_of(replace(invoice, history=tuple(invoice.history))) is None
    assert recent > 20


def test_what_a_model_sees_of_a_case_is_kept_for_that_model_alone() -> None:
    case, other = CASES[0], replace(shipped(), persistence=0.1)
    seen = view_of(case, case.failed_at, shipped(), case.readings)
    charge = Sent(
        case.failed_at + timedelta(days=1), case.methods[0].instrument_id, case.routes[0], False, case.decline
    )
    for model in (shipped(), other, shipped()):
        for met in (case, after_charge(case, charge)):
            kept, anew = (view_of(each, met.failed_at, model, met.readings) for each in (met, replace(met)))
            assert kept.layout is anew.layout
            assert (kept.failed, kept.sent, kept.usual) == (anew.failed, anew.sent, anew.usual)
    assert view_of(case, case.failed_at, other, case.readings).layout is not seen.layout


@pytest.mark.parametrize("name", ["uniform-8", "payday", "random", "stripe-legacy", "code-aware", "advice-following"])
def test_a_timetable_that_a_case_keeps_is_that_of_the_policy_that_asks(name: str) -> None:
    for case in CASES:
        anew, policy, other = replace(case), preset(name), preset("daily-20")
        for asked in (policy, other, policy, replace(policy, horizon_days=4.0), policy):
            kept, reasons = timetable(asked, case)
            assert (kept, reasons) == timetable(asked, replace(anew))
            assert list(kept) == sorted(at for at in kept if case.failed_at < at <= case.deadline)
            assert len(kept) == len(reasons)


def test_pay_on_a_closed_day_comes_on_the_working_day_before() -> None:
    table = pay_table("US", (date(2026, 2, 10) - EPOCH).days)
    labels = [hypothesis.label for hypothesis in HYPOTHESES]
    plain, moved = labels.index("monthly, day 1"), labels.index("monthly, day 1, or the working day before")
    day = (date(2026, 2, 10) - EPOCH).days
    # The first of February 2026 is a Sunday.
    assert table.last[day - table.first_day, plain] == day - 9
    assert table.last[day - table.first_day, moved] == day - 11


@pytest.mark.parametrize("name", ["smart", "uniform-8", "payday", "code-aware", "advice-following"])
def test_the_next_charge_is_the_first_of_the_whole_plan(name: str) -> None:
    # Half of the plans explore, so that both ways are met.
    policy = replace(preset(name), exploration=0.5) if name == "smart" else preset(name)
    sent = 0
    for case in CASES:
        method, permits, now, met = case.methods[0].instrument_id, Permits(case), case.failed_at, case
        for _ in range(4):
            made = plan(met, policy, now=now, seed=5, permits=permits)
            following = next_charge(met, policy, now=now, seed=5, permits=permits)
            if not made.attempts:
                assert following is None
                break
            first = made.attempts[0]
            assert following is not None
            assert replace(following, reason=first.reason, propensity=first.propensity) == first
            met = after_charge(met, Sent(first.at, method, first.route, False, case.decline))
            permits.add(met)
            now, sent = first.at + timedelta(minutes=1), sent + 1
    assert sent > len(CASES)


def test_the_next_charge_keeps_a_promise_and_answers_a_fix() -> None:
    case = CASES[0]
    promised = replace(preset("never"), floor=Floor(2, 6.0), attempts_max=4)
    fixed = replace(case, fixed_at=case.failed_at + timedelta(hours=5))
    for given, policy in ((case, promised), (fixed, preset("uniform-8")), (fixed, preset("smart"))):
        now = given.fixed_at or given.failed_at
        made = plan(given, policy, now=now, seed=5, permits=Permits(given), look_ahead=1)
        assert next_charge(given, policy, now=now, seed=5, permits=Permits(given)) == made.attempts[0]


@pytest.mark.parametrize("name", ["America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"])
def test_local_seconds_are_those_of_the_wall_clock(name: str) -> None:
    where = ZoneInfo(name)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    # Every 97 minutes of two years, so that each change of the clocks is met from both sides.
    for number in range(0, 2 * 366 * 24 * 60, 97):
        at = start + timedelta(minutes=number, milliseconds=number % 1000)
        wall = at.astimezone(where).replace(tzinfo=UTC, microsecond=0)
        assert local_seconds(at, where) == int(wall.timestamp())
