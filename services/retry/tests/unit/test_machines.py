"""The two state machines: no dead end, no way out of an end, and money always wins."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from dunwell_kit.errors import IllegalTransition
from dunwell_retry.machines import attempt, case, drawing, moved
from dunwell_retry.machines.attempt import AttemptState
from dunwell_retry.machines.case import ENDS, CaseState

_A = AttemptState
ATTEMPT_ENDS = frozenset({_A.SUCCEEDED, _A.DECLINED, _A.WITHDRAWN, _A.ABSENT})
MACHINES: list[tuple[Mapping[Any, Any], type[StrEnum], frozenset[Any], StrEnum]] = [
    (case.TRANSITIONS, CaseState, ENDS, CaseState.OPENING),
    (attempt.TRANSITIONS, AttemptState, ATTEMPT_ENDS, AttemptState.INTENT),
]


def reached(table: Mapping[Any, Any], start: Any) -> set[Any]:
    found, new = {start}, {start}
    while new:
        new = {to for (state, _), to in table.items() if state in new} - found
        found |= new
    return found


@pytest.mark.parametrize(("table", "states", "ends", "start"), MACHINES)
def test_every_state_can_be_reached_and_has_an_exit_or_is_an_end(
    table: Mapping[Any, Any], states: type[StrEnum], ends: frozenset[Any], start: StrEnum
) -> None:
    assert reached(table, start) == set(states)
    for state in states:
        leaves = any(each == state for each, _ in table)
        assert leaves is (state not in ends)
        assert ends & reached(table, state)


@pytest.mark.parametrize(("table", "states", "ends", "start"), MACHINES)
def test_what_the_table_does_not_allow_is_refused_by_name(
    table: Mapping[Any, Any], states: type[StrEnum], ends: frozenset[Any], start: StrEnum
) -> None:
    events = {on for _, on in table}
    for state in states:
        for on in events:
            if (state, on) in table:
                assert moved(table, state, on) is table[state, on]
            else:
                with pytest.raises(IllegalTransition, match=f"nothing may '{on}' in state '{state.value}'"):
                    moved(table, state, on)


@pytest.mark.parametrize("state", sorted(set(CaseState) - ENDS))
def test_money_and_a_gone_debt_end_a_case_from_every_state(state: CaseState) -> None:
    assert moved(case.TRANSITIONS, state, "settle") is CaseState.RECOVERED
    assert moved(case.TRANSITIONS, state, "cancel") is CaseState.CANCELED


@pytest.mark.parametrize("state", [CaseState.CHARGING, CaseState.UNCERTAIN])
def test_a_case_with_an_open_attempt_can_neither_pause_nor_charge_nor_give_up(state: CaseState) -> None:
    for on in ("pause", "charge", "exhaust", "plan"):
        with pytest.raises(IllegalTransition):
            moved(case.TRANSITIONS, state, on)


def test_an_attempt_of_unknown_outcome_is_never_intended_or_sent_again() -> None:
    for state in (AttemptState.UNKNOWN, AttemptState.STUCK):
        assert not {AttemptState.INTENT, AttemptState.SENT} & reached(attempt.TRANSITIONS, state)


@pytest.mark.parametrize(("table", "states", "ends", "start"), MACHINES)
def test_the_drawing_shows_every_arrow(
    table: Mapping[Any, Any], states: type[StrEnum], ends: frozenset[Any], start: StrEnum
) -> None:
    drawn = drawing(table, "title")
    assert drawn.startswith("```mermaid\n")
    assert drawn.endswith("```\n")
    assert all(f"    {state} --> {to}: {on}\n" in drawn for (state, on), to in table.items())
