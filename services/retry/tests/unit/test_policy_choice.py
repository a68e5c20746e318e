"""Which policy plans a case: documents, the off switch, the holdout; what a shadow would do; what is promised."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell_retry.decide import attempts, failures
from dunwell_retry.decide.choice import compared, governing_policy
from dunwell_retry.decide.inputs import replayed
from dunwell_retry.decide.outputs import AttemptAt, Charge, Planned, Skipped
from dunwell_retry.decide.planning import replan
from dunwell_retry.decide.trial import LoggedChoice, evaluated, logged_cases, tried
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import (
    Assignment,
    Case,
    Decline,
    Governing,
    Method,
    Place,
    Plan,
    PlannedAttempt,
    Situation,
    plan_document,
)
from dunwell_retry.planners import planner, planners, planning_case
from dunwell_retry.planning.logged import dumps, loads
from dunwell_retry.planning.model import Decline as Told
from dunwell_retry.policies import policy_of, preset
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules import allow
from dunwell_retry.rules.model import Initiator, PastAttempt

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
POOR = Decline("insufficient_funds", "51", "", "no funds", "insufficient_funds", "edition")
VISA = Method("pm_1", "card", "visa", "debit", "US", "fp_1", 5, 2029)
SMART = RetryPolicy(
    planners=planners(), main_policy="smart", holdout_policy="uniform-8", holdout_share=0.0, experiment="e", gate=allow,
    classify=lambda decline, *_: decline, idempotency_secret=b"secret", merchant_country="US",
)  # fmt: skip
NOTHING_SET = Governing()
MINE = policy_of({"name": "mine", "version": 3, "kind": "fixed", "attempts_max": 3, "days": [2, 4, 6]})


def case(**changes: Any) -> Case:
    base = Case(
        "rec_1", Place("t", "stripe", "acct", "cus_1", "in_1"), "t:cus_1", "USD", 2000, CaseState.WAITING, AT, AT, POOR,
        VISA, Assignment(policy="smart"),
    )  # fmt: skip
    return replace(base, **changes)


def failure(
    at: datetime = AT, code: str = "51", gateway_code: str = "insufficient_funds", method: str = "pm_1"
) -> PastAttempt:
    return PastAttempt(
        at, "in_1", 2000, "USD", Initiator.MERCHANT, method, False, f"fp_{method[3:]}", method, network_code=code,
        gateway_code=gateway_code,
    )  # fmt: skip


def seen(governing: Governing = NOTHING_SET, **changes: Any) -> Situation:
    return Situation(case(**changes), (failure(),), (VISA,), (), governing)


def named(situation: Situation) -> str:
    return governing_policy(situation, SMART).name


def test_the_services_own_policy_plans_where_nothing_is_saved() -> None:
    assert named(seen()) == "smart"


def test_a_saved_document_that_fits_plans_instead_and_one_that_does_not_fit_leaves_the_case_alone() -> None:
    assert named(seen(Governing((MINE,)))) == "mine@3"
    elsewhere = policy_of({**_document(), "when": {"gateways": ["adyen"]}})
    assert named(seen(Governing((elsewhere,)))) == "smart"


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"tenants": ["t"]}, True),
        ({"tenants": ["u"]}, False),
        ({"plans": ["gold"]}, True),
        ({"plans": ["tin"]}, False),
        ({"segments": ["vip"]}, True),
        ({"countries": ["US"]}, True),
        ({"countries": ["DE"]}, False),
        ({"currency": "USD", "amount_from": 2000, "amount_to": 2000}, True),
        ({"currency": "USD", "amount_from": 2001}, False),
        ({"currency": "EUR"}, False),
    ],
)
def test_a_document_is_selected_by_what_the_service_knows_of_a_case(when: dict[str, Any], fits: bool) -> None:
    document = policy_of({**_document(), "when": when})
    known = seen(Governing((document,)), plan_name="gold", segment="vip")
    assert (named(known) == "mine@3") is fits


def _document() -> dict[str, Any]:
    return {"name": "mine", "version": 3, "kind": "fixed", "attempts_max": 3, "days": [2, 4, 6]}


def test_a_held_out_payer_keeps_the_holdouts_policy_whatever_is_saved() -> None:
    held = seen(Governing((MINE,)), assignment=Assignment("e", 1, "holdout", 0.1, "uniform-8"))
    assert named(held) == "uniform-8"


def test_a_documents_own_holdout_is_sticky_and_named_in_the_choice() -> None:
    document = policy_of({**_document(), "holdout": {"share": 0.5, "policy": "never"}})
    arms = {}
    for number in range(60):
        place = Place("t", "stripe", "acct", f"cus_{number}", "in_1")
        situation = seen(Governing((document,)), place=place)
        arms[number] = governing_policy(situation, SMART)
        assert governing_policy(situation, SMART).name == arms[number].name
    assert {chosen.name for chosen in arms.values()} == {"mine@3", "never@1"}
    assert all(chosen.held_out == (chosen.name == "never@1") for chosen in arms.values())


def test_smart_that_is_off_gives_way_to_pay_days_and_the_why_says_who() -> None:
    off = Governing(smart_off="smart is switched off by ada: drift")
    decided = replan(seen(off), SMART, now=AT, cause="c")
    plan = decided.case.plan
    assert plan is not None
    assert plan.rule == "retry.smart_off"
    assert plan.why.startswith("smart is switched off by ada: drift: pay days are used instead.")
    assert plan.policy == "payday@1"
    assert [a.at for a in plan.attempts] == [a.at for a in planner(preset("payday"))(seen(), AT).attempts]


def test_the_off_switch_also_holds_for_a_tenants_own_smart_document_within_its_bounds() -> None:
    document = policy_of({"name": "own", "version": 1, "kind": "smart", "attempts_max": 2})
    decided = replan(seen(Governing((document,), "smart is switched off by ada")), SMART, now=AT, cause="c")
    assert decided.case.plan is not None
    assert (decided.case.plan.policy, len(decided.case.plan.attempts)) == ("payday@1", 2)


def test_policies_without_a_model_do_not_notice_the_off_switch() -> None:
    off = Governing((MINE,), "smart is switched off by ada")
    decided = replan(seen(off), SMART, now=AT, cause="c")
    assert decided.case.plan is not None
    assert (decided.case.plan.policy, decided.case.plan.rule) == ("mine@3", "retry.policy.mine")


def test_what_smart_planned_is_not_sent_once_it_is_off() -> None:
    planned = replan(seen(), SMART, now=AT, cause="c").case
    assert planned.plan is not None
    due = planned.plan.attempts[0].at
    situation = Situation(planned, (failure(),), (VISA,), (), Governing(smart_off="smart is switched off by ada"))
    decided = attempts.due(situation, SMART, due_at=due, now=due)
    assert [o for o in decided.outputs if isinstance(o, Charge)] == []
    (skipped,) = [o for o in decided.outputs if isinstance(o, Skipped)]
    assert skipped.why.rule == "retry.smart_off"
    again = attempts.due(replace(situation, case=decided.case), SMART, due_at=due, now=_next(decided.case))
    assert any(isinstance(o, Charge) for o in again.outputs)


def _next(planned: Case) -> datetime:
    assert planned.plan is not None
    return planned.plan.attempts[0].at


def test_a_shadow_is_asked_and_changes_nothing() -> None:
    plain = replan(seen(Governing((MINE,))), SMART, now=AT, cause="c")
    beside = replan(seen(Governing((MINE,), shadow=preset("killbill"))), SMART, now=AT, cause="c")
    assert beside.case.plan == plain.case.plan
    (planned,) = [o for o in beside.outputs if isinstance(o, Planned)]
    assert planned.shadow is not None
    assert (planned.shadow["policy"], planned.shadow["verdict"], planned.shadow["hours"]) == (
        "killbill@1",
        "later",
        144.0,
    )
    assert [o.shadow for o in plain.outputs if isinstance(o, Planned)] == [None]


def plan_with(*ats: datetime, method: str = "pm_1") -> Plan:
    ahead = tuple(PlannedAttempt(at, method, "w") for at in ats)
    return Plan(ahead, None, AT + 28 * DAY, "wait", "r", "no more", "p@1")


@pytest.mark.parametrize(
    ("mine", "other", "verdict"),
    [
        (plan_with(), plan_with(), "same"),
        (plan_with(AT), plan_with(AT + timedelta(minutes=60)), "same"),
        (plan_with(AT), plan_with(AT + timedelta(minutes=61)), "later"),
        (plan_with(AT), plan_with(AT - DAY), "earlier"),
        (plan_with(AT), plan_with(AT, method="pm_2"), "other_method"),
        (plan_with(AT), plan_with(), "would_stop"),
        (plan_with(), plan_with(AT), "would_charge"),
    ],
)
def test_two_plans_are_compared_by_their_next_charge(mine: Plan, other: Plan, verdict: str) -> None:
    assert compared(mine, other)["verdict"] == verdict


@pytest.mark.parametrize(
    "governing",
    [
        Governing(),
        Governing((MINE,)),
        Governing(smart_off="smart is switched off by ada"),
        Governing((policy_of({**_document(), "holdout": {"share": 0.5, "policy": "never"}}),), "", preset("smart")),
        Governing(notes=("saved policy 'x' is left aside",)),
    ],
)
def test_replaying_what_was_kept_of_a_decision_makes_it_again(governing: Governing) -> None:
    situation = seen(governing, plan_name="gold", segment="vip")
    decided = replan(situation, SMART, now=AT, cause="c", not_at=AT)
    (planned,) = [o for o in decided.outputs if isinstance(o, Planned)]
    assert decided.case.plan is not None
    assert plan_document(replayed(planned.inputs, SMART)) == plan_document(decided.case.plan)


def test_each_charge_says_by_which_policy_and_chance_it_was_chosen() -> None:
    treated = replan(seen(), SMART, now=AT, cause="c").case
    due = _next(treated)
    (charge,) = _charges(treated, due)
    assert treated.plan is not None
    assert (charge.choice.policy, charge.choice.arm) == ("smart@1", "treated")
    assert charge.choice.propensity == treated.plan.attempts[0].propensity
    assert charge.choice.score == treated.plan.attempts[0].score
    assert charge.choice.model_edition
    (early,) = _charges(treated, due - timedelta(hours=1))
    assert (early.choice.propensity, early.choice.arm) == (None, "operator")


def _charges(planned: Case, now: datetime) -> list[Charge]:
    decided = attempts.due(Situation(planned, (failure(),), (VISA,)), SMART, due_at=now, now=now)
    return [o for o in decided.outputs if isinstance(o, Charge)]


def test_an_explored_instant_is_told_apart_and_a_holdout_stays_one() -> None:
    planned = replan(seen(), SMART, now=AT, cause="c").case
    assert planned.plan is not None
    first = replace(planned.plan.attempts[0], propensity=0.004)
    explored = replace(planned, plan=replace(planned.plan, attempts=(first, *planned.plan.attempts[1:])))
    assert attempts.chosen_by(explored, first).arm == "explore"
    held = replace(explored, assignment=Assignment("e", 1, "holdout", 0.1, "uniform-8"))
    assert attempts.chosen_by(held, first).arm == "holdout"


def test_a_fix_is_planned_at_once_as_the_payers_own_and_what_the_old_card_said_is_not_held_against_the_new_one() -> (
    None
):
    stolen = Decline("stolen_card", "43", "", "stolen", "dead_card", "edition")
    new = replace(VISA, instrument_id="pm_2", account_reference="fp_2")
    dead = Situation(case(decline=stolen), (failure(code="43", gateway_code="stolen_card"),), (VISA,))
    decided = failures.method_fixed(dead, new, SMART, now=AT + DAY, cause="evt")
    fixed = decided.case
    assert (fixed.fixed_at, fixed.plan is not None and fixed.plan.rule) == (AT + DAY, "retry.payer_fixed")
    assert [o.at for o in decided.outputs if isinstance(o, AttemptAt)] == [AT + DAY]
    charging = replace(fixed, state=CaseState.CHARGING, attempt_numbers=1)
    history = (failure(code="43", gateway_code="stolen_card"), failure(AT + DAY, method="pm_2"))
    refused = attempts.declined(
        Situation(charging, history, (new,)), POOR, SMART, instrument_id="pm_2", now=AT + DAY, cause="att"
    )
    after = refused.case
    assert (after.fixed_at, after.payer_fixed) == (None, False)
    assert after.plan is not None
    assert after.plan.attempts
    assert all(a.at > AT + DAY and a.instrument_id == "pm_2" for a in after.plan.attempts)


def test_a_fix_that_could_not_be_charged_is_not_tried_at_once_again() -> None:
    new = replace(VISA, instrument_id="pm_2", account_reference="fp_2")
    fixed = failures.method_fixed(seen(), new, SMART, now=AT + DAY, cause="evt").case
    charging = replace(fixed, state=CaseState.CHARGING, attempt_numbers=1)
    after = attempts.withdrawn(Situation(charging, (failure(),), (new,)), SMART, now=AT + DAY, cause="att", why="down")
    assert (after.case.fixed_at, after.case.payer_fixed) == (None, True)
    assert all(o.at > AT + DAY for o in after.outputs if isinstance(o, AttemptAt))


def test_a_fix_that_came_while_the_old_card_was_to_be_charged_is_tried_when_that_is_withdrawn() -> None:
    new = replace(VISA, instrument_id="pm_2", account_reference="fp_2")
    waiting = replan(seen(), SMART, now=AT, cause="c").case
    charging = replace(waiting, state=CaseState.CHARGING, attempt_numbers=1)
    fixed = failures.method_fixed(Situation(charging, (failure(),), (VISA,)), new, SMART, now=AT + DAY, cause="e").case
    after = attempts.withdrawn(Situation(fixed, (failure(),), (new,)), SMART, now=AT + DAY, cause="att", why="down")
    assert [o.at for o in after.outputs if isinstance(o, AttemptAt)] == [AT + DAY]


# On trial.


def test_a_trial_compares_with_what_is_armed_and_leaves_cases_of_other_policies_alone() -> None:
    armed = replan(seen(), SMART, now=AT, cause="c").case
    situation = Situation(armed, (failure(),), (VISA,))
    found = tried(situation, MINE, SMART, now=AT)
    assert armed.plan is not None
    assert (found["next_now"], found["next_then"]) == (
        armed.plan.attempts[0].at.isoformat(),
        (AT + 2 * DAY).isoformat(),
    )
    assert (found["policy_now"], found["policy_then"], found["attempts_then"]) == ("smart@1", "mine@3", 3)
    stops = policy_of({"name": "mine", "version": 4, "kind": "never", "attempts_max": 0})
    assert tried(situation, stops, SMART, now=AT)["verdict"] == "would_stop"
    elsewhere = policy_of({**_document(), "when": {"gateways": ["adyen"]}})
    same = tried(situation, elsewhere, SMART, now=AT)
    assert (same["verdict"], same["next_then"]) == ("unaffected", same["next_now"])


def test_an_edit_of_a_saved_document_is_on_trial_though_its_version_is_the_same() -> None:
    governing = Governing((MINE,))
    armed = replan(seen(governing), SMART, now=AT, cause="c").case
    edited = policy_of({**_document(), "days": [3, 4, 6]})
    found = tried(Situation(armed, (failure(),), (VISA,), (), governing), edited, SMART, now=AT)
    assert (found["verdict"], found["hours"]) == ("later", 24.0)


def logged(number: int, day: int, approved: bool, share: float = 0.5) -> LoggedChoice:
    """One case of a log whose policy drew day 2 or day 4 by chance."""
    inputs: dict[str, Any] = dict(_inputs())
    inputs["case"] = {**inputs["case"], "invoice_id": f"in_{number}", "case_id": f"rec_{number:04}"}
    inputs["history"] = []
    at = AT + day * DAY
    return LoggedChoice(
        f"rec_{number:04}", "pm_1", at, at, share, None, approved, inputs, None if approved else Told("x", "51")
    )


def _inputs() -> Any:
    (planned,) = [o for o in replan(seen(), SMART, now=AT, cause="c").outputs if isinstance(o, Planned)]
    return planned.inputs


@pytest.mark.simulation
def test_an_estimate_from_the_log_finds_the_better_day() -> None:
    # Day 4 passes in 60 %, day 2 in 20 %; the log took either by half.
    rows = [logged(n, 4 if n % 2 else 2, (n // 2) % 10 < (6 if n % 2 else 2)) for n in range(400)]
    good = policy_of({**_document(), "name": "good", "days": [4]})
    bad = policy_of({**_document(), "name": "bad", "days": [2]})
    found = evaluated(rows, good)
    assert (found["decisions"], found["matched"], found["logged_rate"]) == (400, 200, 0.4)
    assert {e["method"]: e["mean"] for e in found["estimates"]} == {"inverse propensity": 0.6, "doubly robust": 0.6}
    assert found["verdict"] == "Better than what was logged."
    assert evaluated(rows, bad)["verdict"] == "Worse than what was logged."
    assert evaluated(rows[:100], good)["verdict"].startswith("A hint only")
    assert evaluated(rows, preset("killbill"))["verdict"].startswith("The log says nothing")
    assert evaluated([], good)["decisions"] == 0


def test_the_log_survives_its_lines() -> None:
    first = logged(1, 2, False)
    second = replace(logged(1, 4, True), sent_at=AT + 4 * DAY)
    cases = logged_cases([first, second, logged(2, 4, True)])
    assert [len(each.sent) for each in cases] == [2, 1]
    assert list(loads(dumps(cases))) == cases


def test_the_gate_is_asked_with_the_merchants_country_when_planning_too() -> None:

    assert planning_case(seen(), "BR").country == "BR"
    made = planners("US")["uniform-8"](seen(), AT)
    assert [a.at for a in made.attempts] == [a.at for a in planners()["uniform-8"](seen(), AT).attempts]
