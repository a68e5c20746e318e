"""Decisions: given a situation, when something happens, then these outputs. The real gate, a fixed ladder."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_kit.errors import IllegalTransition
from dunwell_retry.decide import attempts, ends, failures
from dunwell_retry.decide.outputs import (
    AttemptAt,
    Canceled,
    Charge,
    DeadlineAt,
    Decided,
    Exhausted,
    NoAttempt,
    Opened,
    Paused,
    PauseEndsAt,
    Planned,
    Resumed,
    Scheduled,
    Skipped,
    StopTimers,
    Succeeded,
)
from dunwell_retry.decide.planning import replan
from dunwell_retry.machines.case import ENDS, CaseState
from dunwell_retry.model import Case, Decline, Method, Place, Situation, plan_document, plan_from
from dunwell_retry.planners import PAYER_ACTIONS, planner
from dunwell_retry.policies import Policy, preset
from dunwell_retry.policy import HORIZON, RetryPolicy, assign
from dunwell_retry.rules import allow
from dunwell_retry.rules.model import Block, Initiator, PastAttempt, Verdict

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
PLACE = Place("t", "stripe", "acct", "cus_1", "in_1", "sub_1")
POOR = Decline("card_declined", "51", "24", "no funds", "insufficient_funds", "edition")
DEAD = Decline("stolen_card", "43", "", "stolen", "dead_card", "edition")
VISA = Method("pm_1", "card", "visa", "debit", "US", "fp_1", 5, 2029)
OTHER = replace(VISA, instrument_id="pm_2", account_reference="fp_2")
POLICY = RetryPolicy(
    planners={"fixed": planner(Policy("fixed", 1, "fixed", days=(3, 5, 7), attempts_max=3)), "never": planner(preset("never"))},
    main_policy="fixed", holdout_policy="never", holdout_share=0.0, experiment="e", gate=allow,
    classify=lambda decline, *_: decline, idempotency_secret=b"secret", merchant_country="US",
)  # fmt: skip


def opened(decline: Decline = POOR, policy: RetryPolicy = POLICY, **more: Any) -> Decided:
    return failures.opened(
        "rec_1", PLACE, "t:cus_1", ("USD", 2000), decline, VISA, policy, failed_at=AT, now=AT, cause="evt_1", **more
    )


def failure(decline: Decline = POOR, method: Method = VISA, at: datetime = AT) -> PastAttempt:
    return PastAttempt(
        at, "in_1", 2000, "USD", Initiator.MERCHANT, method.instrument_id, False, method.account_reference,
        method.instrument_id, network_code=decline.network_code or None, gateway_code=decline.gateway_code or None,
    )  # fmt: skip


def situation(case: Case, *history: PastAttempt, blocks: tuple[Block, ...] = ()) -> Situation:
    return Situation(case, history or (failure(case.decline),), (case.method,), blocks)


def waiting(decline: Decline = POOR, policy: RetryPolicy = POLICY) -> Case:
    return replan(situation(opened(decline, policy).case), policy, now=AT, cause="rec_1").case


def in_state(state: CaseState) -> Case:
    return replace(waiting(), state=state, attempt_numbers=1)


def kinds(decided: Decided) -> list[type]:
    return [type(output) for output in decided.outputs]


def one(decided: Decided, kind: type) -> Any:
    (found,) = [output for output in decided.outputs if isinstance(output, kind)]
    return found


def test_a_failure_opens_a_case_that_asks_first_and_plans_nothing_yet() -> None:
    decided = opened()
    assert (decided.case.state, decided.case.amount_minor, kinds(decided)) == (CaseState.OPENING, 2000, [Opened])
    assert one(decided, Opened).why.evidence == ("evt_1",)


def test_a_new_case_goes_on_counting_where_earlier_cases_of_the_invoice_stopped() -> None:
    case = replan(situation(opened(numbers_used=4).case), POLICY, now=AT, cause="c").case
    charge = one(attempts.due(situation(case), POLICY, due_at=AT + 3 * DAY, now=AT + 3 * DAY), Charge)
    assert charge.attempt_number == 5


def test_a_plan_arms_its_first_attempt_and_its_end() -> None:
    decided = replan(situation(opened().case), POLICY, now=AT, cause="rec_1")
    assert kinds(decided) == [Planned, AttemptAt, Scheduled, DeadlineAt]
    assert one(decided, AttemptAt).at == one(decided, Scheduled).at == AT + 3 * DAY
    assert one(decided, DeadlineAt).at == AT + HORIZON
    assert (decided.case.state, decided.case.plan_number) == (CaseState.WAITING, 1)
    assert one(decided, Planned).inputs["case"]["invoice_id"] == "in_1"


def test_a_plan_without_attempts_calls_off_the_one_that_was_armed() -> None:
    decided = failures.failed_elsewhere(situation(waiting(), failure(DEAD)), DEAD, POLICY, now=AT + DAY, cause="evt_2")
    assert kinds(decided) == [Planned, NoAttempt, DeadlineAt]
    assert decided.case.plan is not None
    assert decided.case.plan.payer_action == "update_method"


def test_a_new_plan_never_moves_the_end_that_was_promised() -> None:
    case = replace(waiting(), failed_at=AT + 10 * DAY)
    assert one(replan(situation(case), POLICY, now=AT + 10 * DAY, cause="c"), DeadlineAt).at == AT + HORIZON


def test_a_plan_past_the_end_exhausts_the_case() -> None:
    decided = replan(situation(waiting()), POLICY, now=AT + HORIZON, cause="c")
    assert (decided.case.state, kinds(decided)) == (CaseState.EXHAUSTED, [StopTimers, Exhausted])


def test_a_due_attempt_that_the_gate_permits_is_charged_with_its_permit() -> None:
    decided = attempts.due(situation(waiting()), POLICY, due_at=AT + 3 * DAY, now=AT + 3 * DAY)
    charge = one(decided, Charge)
    assert (decided.case.state, decided.case.attempt_numbers) == (CaseState.CHARGING, 1)
    assert (charge.attempt_number, charge.initiator, charge.verdict.permit) == (1, "merchant", True)
    assert charge.why.text == "fixed schedule: day 3"


def test_a_refused_instant_is_not_planned_again_though_the_planner_would() -> None:
    refusing = replace(POLICY, gate=lambda *_: Verdict(False, "tenant.own", "no"))
    decided = attempts.due(situation(waiting()), refusing, due_at=AT + 3 * DAY, now=AT + 3 * DAY)
    assert one(decided, AttemptAt).at == AT + 5 * DAY


def test_a_charge_before_its_date_is_told_to_be_an_operators() -> None:
    charge = one(attempts.due(situation(waiting()), POLICY, due_at=AT + DAY, now=AT + DAY), Charge)
    assert charge.why.text == "An operator asked for it."


def test_a_hard_decline_stops_retries() -> None:
    decided = attempts.due(situation(waiting(), failure(DEAD)), POLICY, due_at=AT + 3 * DAY, now=AT + 3 * DAY)
    assert kinds(decided) == [Skipped, Planned, NoAttempt, DeadlineAt]
    assert one(decided, Skipped).why.rule


@pytest.mark.parametrize("kind", ["kill_switch", "moratorium", "dispute", "legal"])
def test_a_block_stops_a_due_attempt(kind: str) -> None:
    blocked = situation(waiting(), blocks=(Block(kind, AT),))
    decided = attempts.due(blocked, POLICY, due_at=AT + 3 * DAY, now=AT + 3 * DAY)
    assert Charge not in kinds(decided)
    assert one(decided, Skipped).why.rule == f"block.{kind}"


def test_a_block_with_an_end_moves_the_attempt_to_that_end() -> None:
    blocked = situation(waiting(), blocks=(Block("moratorium", AT, AT + 6 * DAY),))
    decided = attempts.due(blocked, POLICY, due_at=AT + 3 * DAY, now=AT + 3 * DAY)
    assert kinds(decided) == [Skipped, AttemptAt]
    assert one(decided, AttemptAt).at == AT + 6 * DAY


@pytest.mark.parametrize("state", sorted(set(CaseState) - {CaseState.WAITING}))
def test_a_timer_that_fires_late_does_nothing(state: CaseState) -> None:
    case = in_state(state)
    assert attempts.due(situation(case), POLICY, due_at=AT, now=AT) == Decided(case)


def charging() -> Case:
    return attempts.due(situation(waiting()), POLICY, due_at=AT + 3 * DAY, now=AT + 3 * DAY).case


def test_a_refused_attempt_teaches_and_the_rest_is_planned_anew() -> None:
    told = situation(charging(), failure(), failure(at=AT + 3 * DAY))
    decided = attempts.declined(told, POOR, POLICY, instrument_id="pm_1", now=AT + 3 * DAY, cause="att_1")
    assert (decided.case.state, decided.case.attempts, decided.case.plan_number) == (CaseState.WAITING, 1, 2)
    assert one(decided, AttemptAt).at == AT + 5 * DAY


def test_the_last_refusal_after_the_end_exhausts_the_case() -> None:
    decided = attempts.declined(
        situation(charging()), POOR, POLICY, instrument_id="pm_1", now=AT + HORIZON, cause="att_1"
    )
    assert (decided.case.state, kinds(decided)) == (CaseState.EXHAUSTED, [StopTimers, Exhausted])


def test_an_attempt_never_made_is_planned_anew_and_its_number_stays_used() -> None:
    decided = attempts.withdrawn(situation(charging()), POLICY, now=AT + 3 * DAY, cause="att_1", why="")
    assert (decided.case.state, decided.case.attempts, decided.case.attempt_numbers) == (CaseState.WAITING, 0, 1)


def test_after_an_unknown_outcome_nothing_more_is_planned() -> None:
    decided = attempts.lost_sight(situation(charging()))
    assert (decided.case.state, decided.outputs) == (CaseState.UNCERTAIN, ())
    assert attempts.deadline_reached(situation(decided.case), now=AT + HORIZON) == Decided(decided.case)


def test_the_end_of_time_exhausts_a_waiting_case() -> None:
    decided = attempts.deadline_reached(situation(waiting()), now=AT + HORIZON)
    assert (decided.case.state, decided.case.ended_at) == (CaseState.EXHAUSTED, AT + HORIZON)


def test_a_new_method_is_charged_at_once_on_the_payers_initiative() -> None:
    decided = failures.method_fixed(situation(waiting(DEAD)), OTHER, POLICY, now=AT + DAY, cause="evt_2")
    assert one(decided, AttemptAt).at == AT + DAY
    assert one(decided, Planned).why.rule == "retry.payer_fixed"
    assert NoAttempt not in kinds(decided)
    fixed = replace(situation(decided.case, failure(DEAD)), methods=(OTHER,))
    charge = one(attempts.due(fixed, POLICY, due_at=AT + DAY, now=AT + DAY), Charge)
    assert (charge.initiator, charge.method.instrument_id) == ("payer", "pm_2")


@pytest.mark.parametrize("state", [CaseState.CHARGING, CaseState.UNCERTAIN])
def test_a_method_given_while_an_attempt_is_open_is_charged_once_that_is_refused(state: CaseState) -> None:
    decided = failures.method_fixed(situation(in_state(state)), OTHER, POLICY, now=AT + DAY, cause="evt_2")
    assert (decided.outputs, decided.case.method, decided.case.payer_fixed) == ((), OTHER, True)
    refused = situation(decided.case, failure())
    after = attempts.declined(refused, POOR, POLICY, instrument_id="pm_1", now=AT + DAY, cause="att_1")
    assert one(after, AttemptAt).at == AT + DAY
    assert (after.case.plan is not None and after.case.plan.attempts[0].instrument_id) == "pm_2"


def test_the_refusal_of_the_new_method_itself_starts_no_second_charge_at_once() -> None:
    case = replace(charging(), method=OTHER, payer_fixed=True)
    after = attempts.declined(situation(case), POOR, POLICY, instrument_id="pm_2", now=AT + 3 * DAY, cause="att_1")
    assert one(after, AttemptAt).at > AT + 3 * DAY
    assert after.case.payer_fixed is False


@pytest.mark.parametrize("by", ["retry", "payer", "gateway", "self_cured"])
@pytest.mark.parametrize("state", sorted(set(CaseState) - ENDS))
def test_money_ends_a_case_from_every_state(by: str, state: CaseState) -> None:
    decided = ends.settled(in_state(state), by, "pi_1", at=AT + DAY, now=AT + DAY, cause="evt_9")
    assert (decided.case.state, kinds(decided)) == (CaseState.RECOVERED, [StopTimers, Succeeded])
    told = one(decided, Succeeded)
    assert (told.by, told.payment_id, told.why.evidence) == (by, "pi_1", ("evt_9",))


@pytest.mark.parametrize("state", sorted(ENDS))
def test_an_ended_case_hears_nothing_any_more(state: CaseState) -> None:
    case = in_state(state)
    assert ends.settled(case, "payer", "pi", at=AT, now=AT, cause="c") == Decided(case)
    assert ends.canceled(case, "r", "t", now=AT, cause="c") == Decided(case)
    assert attempts.deadline_reached(situation(case), now=AT + HORIZON) == Decided(case)


@pytest.mark.parametrize("state", sorted(set(CaseState) - ENDS))
def test_a_gone_debt_cancels_from_every_state(state: CaseState) -> None:
    decided = ends.canceled(in_state(state), "retry.invoice_voided", "Voided.", now=AT, cause="evt_9")
    assert (decided.case.state, kinds(decided)) == (CaseState.CANCELED, [StopTimers, Canceled])


def pause(case: Case, until: datetime | None = None) -> Decided:
    return ends.paused(case, "ada", now=AT + DAY, cause="operator:ada", until=until)


def test_a_paused_case_holds_its_timers_and_resumes_with_a_fresh_plan() -> None:
    held = pause(waiting(), AT + 9 * DAY)
    assert (held.case.held_by, held.case.held_since, held.case.held_until) == ("ada", AT + DAY, AT + 9 * DAY)
    assert kinds(held) == [StopTimers, PauseEndsAt, Paused]
    assert one(held, PauseEndsAt).at == AT + 9 * DAY
    assert one(held, Paused).why.text == "Paused by ada until 2026-03-11 10:00 UTC."
    freed = ends.resumed(situation(held.case), POLICY, "ada", now=AT + 4 * DAY, cause="operator:ada")
    assert (freed.case.state, freed.case.held_by) == (CaseState.WAITING, "")
    assert (freed.case.held_since, freed.case.held_until) == (None, None)
    assert kinds(freed) == [StopTimers, Resumed, Planned, AttemptAt, Scheduled, DeadlineAt]
    assert one(freed, AttemptAt).at == AT + 5 * DAY


def test_a_pause_that_nobody_ends_is_planned_again_and_says_why() -> None:
    held = pause(waiting(), AT + 4 * DAY).case
    freed = ends.pause_ended(situation(held), POLICY, now=AT + 4 * DAY)
    assert (freed.case.state, freed.case.held_until) == (CaseState.WAITING, None)
    why = one(freed, Resumed).why
    assert (why.rule, why.source) == ("retry.pause_ended", "retry")
    assert "pause by ada since 2026-03-03 10:00 UTC is over" in why.text
    assert one(freed, AttemptAt).at == AT + 5 * DAY


def test_a_pause_past_the_deadline_ends_in_the_end_that_was_promised() -> None:
    held = pause(waiting(), AT + 60 * DAY).case
    ended = ends.pause_ended(situation(held), POLICY, now=AT + 60 * DAY)
    assert ended.case.state is CaseState.EXHAUSTED
    assert kinds(ended) == [StopTimers, Resumed, StopTimers, Exhausted]


def test_a_hold_without_an_end_lasts_to_the_deadline_and_sends_nothing() -> None:
    case = waiting()
    held = pause(case).case
    assert held.held_until == case.deadline_at is not None
    assert ends.pause_ended(situation(held), POLICY, now=held.held_until).case.state is CaseState.EXHAUSTED


def test_the_end_of_a_pause_that_was_moved_or_resumed_does_nothing() -> None:
    moved_on = pause(waiting(), AT + 9 * DAY).case
    for case in (moved_on, waiting()):
        assert ends.pause_ended(situation(case), POLICY, now=AT + 4 * DAY) == Decided(case)


@pytest.mark.parametrize("state", sorted({CaseState.CHARGING, CaseState.UNCERTAIN} | ENDS))
def test_a_case_with_an_open_attempt_or_an_end_cannot_be_paused(state: CaseState) -> None:
    with pytest.raises(IllegalTransition):
        pause(in_state(state))


def test_an_operator_may_ask_for_the_next_attempt_only_while_the_case_waits() -> None:
    assert kinds(ends.retry_now(waiting(), now=AT + DAY)) == [AttemptAt]
    for state in set(CaseState) - {CaseState.WAITING}:
        with pytest.raises(IllegalTransition):
            ends.retry_now(in_state(state), now=AT)


@pytest.mark.parametrize("reason", sorted(PAYER_ACTIONS))
def test_every_reason_that_only_the_payer_can_lift_asks_him(reason: str) -> None:
    case = waiting(replace(POOR, reason=reason))
    assert case.plan is not None
    assert case.plan.payer_action == PAYER_ACTIONS[reason] != "wait"


def test_without_any_attempt_ahead_the_payer_gets_a_link() -> None:
    case = waiting(policy=replace(POLICY, main_policy="never"))
    assert case.plan is not None
    assert (case.plan.attempts, case.plan.payer_action) == ((), "pay_link")


def test_a_payers_arm_is_sticky_and_the_shares_are_kept() -> None:
    policy = replace(POLICY, holdout_share=0.2)
    arms = [assign(policy, "t", f"cus_{n}") for n in range(2000)]
    assert arms == [assign(policy, "t", f"cus_{n}") for n in range(2000)]
    held = [a for a in arms if a.arm == "holdout"]
    assert 0.17 < len(held) / len(arms) < 0.23
    assert {(a.policy, a.propensity) for a in held} == {("never", 0.2)}
    assert assign(POLICY, "t", "cus_1").arm == ""


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.lists(st.integers(0, 27), max_size=6), st.booleans())
def test_a_plan_is_strictly_increasing_ahead_of_now_and_before_its_end(late: int, past: list[int], dead: bool) -> None:
    history = [failure(at=AT + n * DAY) for n in sorted(past)] + ([failure(DEAD)] if dead else [])
    now = AT + late * DAY
    plan = POLICY.planners["fixed"](situation(waiting(), *history), now)
    times = [attempt.at for attempt in plan.attempts]
    assert times == sorted(set(times))
    # What is due this very minute is still ahead; nothing older is.
    assert all(now - timedelta(minutes=1) < at < plan.deadline_at for at in times)
    assert plan_from(plan_document(plan)) == plan


WORDS = st.lists(st.sampled_from(["due", "decline", "elsewhere", "withdraw", "lose", "fix", "pause", "resume", "paid", "deadline"]), max_size=12)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(WORDS)
def test_no_sequence_of_news_opens_two_attempts_or_leaves_an_end(words: list[str]) -> None:
    case, now, numbers = waiting(), AT, []
    for word in words:
        now += DAY
        here = situation(case)
        try:
            decided = {
                "due": lambda: attempts.due(here, POLICY, due_at=now, now=now),  # noqa: B023 - called at once
                "decline": lambda: attempts.declined(here, POOR, POLICY, instrument_id="pm_1", now=now, cause="c"),  # noqa: B023
                "elsewhere": lambda: failures.failed_elsewhere(here, POOR, POLICY, now=now, cause="c"),  # noqa: B023
                "withdraw": lambda: attempts.withdrawn(here, POLICY, now=now, cause="c", why=""),  # noqa: B023
                "lose": lambda: attempts.lost_sight(here),  # noqa: B023
                "fix": lambda: failures.method_fixed(here, OTHER, POLICY, now=now, cause="c"),  # noqa: B023
                "pause": lambda: ends.paused(here.case, "ada", now=AT, cause="c"),  # noqa: B023
                "resume": lambda: ends.resumed(here, POLICY, "ada", now=now, cause="c"),  # noqa: B023
                "paid": lambda: ends.settled(here.case, "payer", "pi", at=now, now=now, cause="c"),  # noqa: B023
                "deadline": lambda: attempts.deadline_reached(here, now=now),  # noqa: B023
            }[word]()
        except IllegalTransition:
            continue
        charged = [output for output in decided.outputs if isinstance(output, Charge)]
        assert not (charged and case.state is not CaseState.WAITING)
        assert not (case.ended and decided.case.state is not case.state)
        numbers += [charge.attempt_number for charge in charged]
        case = decided.case
    assert numbers == sorted(set(numbers))
