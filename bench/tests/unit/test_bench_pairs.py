"""The statistics of pairs: what fails a gate, what does not, and that a slow subject cannot hide."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.contest import exactly_once
from bench.pairs import Gate, Measure, Pair, Quartiles, Reading, Verdict, run_pairs

COST = Gate(bound=2, stretch=1.5)
RATE = Gate(bound=0.5, stretch=0.8, at_least=True)


def pairs_of(*ratios: float) -> list[Pair]:
    """Return pairs of those ratios over an anchor of 10."""
    return [Pair(Reading(10 * ratio, 1, 1), Reading(10, 1, 1)) for ratio in ratios]


class Counted:
    """Work that is counted instead of timed: each operation takes so many steps of a real loop."""

    def __init__(self, steps: Callable[[int], int]) -> None:
        self._steps, self.slices, self.done = steps, 0, 0

    async def measure(self, seconds: float) -> Reading:
        """Do the operations of one slice and return steps an operation."""
        operations, before = int(100 * seconds), self.done
        for _ in range(operations):
            for _ in range(self._steps(self.slices)):
                self.done += 1
        self.slices += 1
        return Reading((self.done - before) / operations, operations, seconds)


async def race(subject: Measure, anchor: Measure, pairs: int = 8) -> list[Pair]:
    return await run_pairs(subject, anchor, pairs, 0.5, lambda: None)


async def test_a_subject_three_times_as_slow_breaches_a_gate_of_two() -> None:
    slow, quick = Counted(lambda _: 30), Counted(lambda _: 10)
    found = await race(slow.measure, quick.measure)
    assert {pair.ratio for pair in found} == {3.0}
    assert COST.judged(found) is Verdict.BREACHED


async def test_a_subject_as_slow_as_the_gate_allows_holds() -> None:
    found = await race(Counted(lambda _: 20).measure, Counted(lambda _: 10).measure)
    assert COST.judged(found) is Verdict.HOLDS


async def test_a_machine_that_becomes_ten_times_slower_between_pairs_changes_no_ratio() -> None:
    def weather(slice_number: int) -> int:
        return 10 if slice_number < 4 else 100

    found = await race(Counted(lambda n: weather(n) * 3 // 2).measure, Counted(weather).measure)
    assert {pair.ratio for pair in found} == {1.5}
    assert {pair.anchor.figure for pair in found} == {10, 100}


async def test_the_first_pair_only_warms_up_and_the_order_alternates() -> None:
    order: list[str] = []

    def named(name: str, first: int) -> Measure:
        work = Counted(lambda n: first if n == 0 else 10)

        async def measure(seconds: float) -> Reading:
            order.append(name)
            return await work.measure(seconds)

        return measure

    found = await race(named("subject", 1_000), named("anchor", 10), pairs=3)
    assert [pair.ratio for pair in found] == [1, 1, 1]
    assert order == ["subject", "anchor", "anchor", "subject", "subject", "anchor", "anchor", "subject"]


async def test_each_pair_is_told_once() -> None:
    told: list[int] = []
    work = Counted(lambda _: 1).measure
    await run_pairs(work, work, 5, 0.5, lambda: told.append(1))
    assert len(told) == 6


def test_one_bad_pair_in_five_fails_nothing() -> None:
    assert COST.judged(pairs_of(1.5, 1.6, 1.5, 1.7, 9)) is Verdict.HOLDS
    assert RATE.judged(pairs_of(0.6, 0.7, 0.6, 0.6, 0.01)) is Verdict.HOLDS


def test_a_median_outside_with_a_good_quarter_inside_is_on_the_edge() -> None:
    assert COST.judged(pairs_of(1.8, 1.9, 2.1, 2.2, 2.3)) is Verdict.EDGE
    assert RATE.judged(pairs_of(0.55, 0.52, 0.49, 0.45, 0.4)) is Verdict.EDGE


def test_three_quarters_outside_breach() -> None:
    assert COST.judged(pairs_of(1.5, 2.1, 2.1, 2.2, 2.3)) is Verdict.BREACHED
    assert RATE.judged(pairs_of(0.6, 0.49, 0.48, 0.45, 0.4)) is Verdict.BREACHED


def test_a_bound_that_is_just_met_holds() -> None:
    assert COST.judged(pairs_of(2, 2, 2)) is Verdict.HOLDS
    assert RATE.judged(pairs_of(0.5, 0.5, 0.5)) is Verdict.HOLDS


def test_a_good_ratio_does_not_excuse_a_figure_past_its_own_limit() -> None:
    gate = Gate(bound=20, stretch=8, figure_max=500)
    late = [Pair(Reading(600, 1, 1), Reading(100, 1, 1))] * 4
    assert gate.judged(late) is Verdict.BREACHED
    assert gate.judged([Pair(Reading(400, 1, 1), Reading(100, 1, 1))] * 4) is Verdict.HOLDS
    assert gate.judged([Pair(Reading(400, 1, 1), Reading(10, 1, 1))] * 4) is Verdict.BREACHED


def test_a_gate_without_a_ratio_judges_the_figure_alone() -> None:
    gate = Gate(bound=None, stretch=100, figure_max=300)
    assert gate.judged([Pair(Reading(250, 1, 1), Reading(1, 1, 1))] * 3) is Verdict.HOLDS
    assert gate.judged([Pair(Reading(350, 1, 1), Reading(350, 1, 1))] * 3) is Verdict.BREACHED


positive = st.floats(0.01, 1_000)


@settings(max_examples=60)
@given(st.lists(positive, min_size=1, max_size=30))
def test_quartiles_are_in_order_and_inside_the_values(values: list[float]) -> None:
    found = Quartiles.of(values)
    assert min(values) <= found.lower <= found.median <= found.upper <= max(values)


@settings(max_examples=60)
@given(st.lists(positive, min_size=3, max_size=20), positive)
def test_a_rate_is_judged_as_its_cost(ratios: list[float], bound: float) -> None:
    rate = Gate(bound=bound, stretch=bound, at_least=True)
    cost = Gate(bound=-bound, stretch=-bound)
    assert rate.judged(pairs_of(*ratios)) is cost.judged(pairs_of(*[-ratio for ratio in ratios]))


@settings(max_examples=60)
@given(st.lists(positive, min_size=3, max_size=20), st.floats(1.01, 50))
def test_a_slower_subject_is_never_judged_better(ratios: list[float], times: float) -> None:
    order = list(Verdict)
    slower = COST.judged(pairs_of(*[ratio * times for ratio in ratios]))
    assert order.index(slower) >= order.index(COST.judged(pairs_of(*ratios)))


@pytest.mark.parametrize(
    ("accepted", "downstream", "lost", "doubled", "good"),
    [
        (["a", "b"], ["b", "a"], 0, 0, True),
        (["a", "b"], ["a"], 1, 0, False),
        (["a", "b"], ["a", "b", "b"], 0, 1, False),
        (["a"], ["a", "warm-up"], 0, 0, True),
        ([], ["a"], 0, 0, False),
    ],
)
def test_a_run_is_good_only_when_each_accepted_id_is_downstream_once(
    accepted: list[str], downstream: list[str], lost: int, doubled: int, good: bool
) -> None:
    found = exactly_once(accepted, downstream)
    assert (found.lost, found.doubled, found.good) == (lost, doubled, good)
