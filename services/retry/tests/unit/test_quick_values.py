"""A value that is filled the fast way is the same value: it compares, prints, copies and refuses like any other."""

import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell_retry.planning.model import Case, Decline, Method, Plan, PlannedAttempt, Sent
from dunwell_retry.rules.model import Attempt, Initiator, Instrument, PastAttempt, Verdict, asked_at
from dunwell_retry.rules.values import kept, maker, quick

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plain:
    name: str
    number: int = 7
    marks: Mapping[str, int] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class Slotted:
    name: str
    number: int = 7
    marks: Mapping[str, int] = field(default_factory=dict)


@quick
@dataclass(frozen=True)
class Open:
    name: str
    number: int = 7
    marks: Mapping[str, int] = field(default_factory=dict)
    worked: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("no name")

    @kept
    def twice(self) -> int:
        """Twice the number."""
        calls.append(self.number)
        return self.number * 2


calls: list[int] = []


@pytest.mark.parametrize("kind", [Slotted, Open])
def test_defaults_and_keywords_are_those_of_a_dataclass(kind: Any) -> None:
    made = kind("a", marks={"x": 1})
    assert (made.name, made.number, made.marks) == ("a", 7, {"x": 1})
    assert kind("a").marks == {}
    assert kind("a").marks is not kind("a").marks
    for wrong in ({}, {"name": "a", "more": 1}):
        with pytest.raises(TypeError):
            kind(**wrong)


@pytest.mark.parametrize("kind", [Slotted, Open])
def test_a_quick_value_is_frozen_compared_copied_and_printed_as_usual(kind: Any) -> None:
    made = kind("a", 3, {})
    with pytest.raises(FrozenInstanceError):
        made.number = 4
    with pytest.raises(FrozenInstanceError):
        del made.number
    assert type(made) is kind
    assert made == kind("a", 3, {})
    assert made != kind("b", 3, {})
    assert replace(made, number=5) == kind("a", 5, {})
    assert pickle.loads(pickle.dumps(made)) == made
    assert repr(made).startswith(f"{kind.__name__}(name='a', number=3")


def test_a_quick_value_prints_like_a_slow_one_of_the_same_fields() -> None:
    assert repr(Slotted("a", 3)) == repr(Plain("a", 3)).replace("Plain", "Slotted")


def test_checks_after_construction_still_run() -> None:
    with pytest.raises(ValueError, match="no name"):
        Open("")


def test_what_a_value_keeps_is_worked_out_once_and_is_no_part_of_it() -> None:
    calls.clear()
    one = Open("a", 21)
    assert (one.twice, one.twice, calls) == (42, 42, [21])
    assert one == Open("a", 21)
    assert replace(one, number=4).twice == 8


@pytest.mark.parametrize("kind", [Attempt, PastAttempt, Verdict, Instrument, Plan, PlannedAttempt, Sent, Method])
def test_every_quick_value_of_the_service_fills_every_field(kind: Any) -> None:
    values = {entry.name: object() for entry in fields(kind)}
    made = kind(**values)
    assert type(made) is kind
    assert all(getattr(made, name) is value for name, value in values.items())
    assert not hasattr(made, "__dict__")


def test_what_is_made_the_short_way_is_the_same_value() -> None:
    make = maker(Slotted)
    made = make("a", marks={"x": 1})
    assert type(made) is Slotted
    assert made == Slotted("a", 7, {"x": 1})
    assert make("a").marks is not make("a").marks
    with pytest.raises(FrozenInstanceError):
        made.number = 4  # type: ignore[misc]
    for wrong in ({}, {"name": "a", "more": 1}):
        with pytest.raises(TypeError):
            make(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PastAttempt, Verdict, PlannedAttempt, Sent])
def test_every_value_made_the_short_way_has_every_field(kind: Any) -> None:
    values = {entry.name: object() for entry in fields(kind)}
    assert maker(kind)(**values) == kind(**values)
    assert type(maker(kind)(*values.values())) is kind


def test_a_value_that_checks_itself_is_not_made_the_short_way() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        name: str

        def __post_init__(self) -> None:
            raise ValueError("no name")

    with pytest.raises(AssertionError, match="Checked checks itself"):
        maker(Checked)


def test_an_attempt_at_another_instant_differs_by_that_alone() -> None:
    card = Instrument("pm_1", "card", "visa", country="DE", token="t")
    first = Attempt(
        NOW, "in_1", 500, "EUR", Initiator.PAYER, "stripe", card, "FR", "auth", NOW, NOW - timedelta(days=1), True
    )
    later = NOW + timedelta(hours=5)
    assert asked_at(first, later) == replace(first, at=later)


def test_a_case_names_its_oddities_and_a_changed_one_its_own() -> None:
    case = Case(
        "c", "in", "p", "t", 500, "EUR", "Mars/North", "stripe", NOW, NOW + timedelta(days=9), Decline(), (Method("m"),)
    )
    assert case.oddities == ("unknown time zone 'Mars/North': planned in UTC",)
    assert replace(case, timezone="UTC").oddities == ()
