"""The statistics: subject and anchor in alternating slices, judged by the ratio of each pair.

Owns: pairing, quartiles, verdicts. Refuses: what is measured; absolute figures are kept but decide nothing,
since a shared machine's speed swings within minutes while the ratio of two neighbours in time does not.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a gate came out."""

    HOLDS = "holds"
    # The median is outside, but not three quarters of the pairs: noise, or a gate just met. Look, do not fail.
    EDGE = "edge"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one slice gave.

    Args:
        figure: The metric's number, in its unit.
        operations: What was done in the slice.
        seconds: CPU or wall seconds, whichever the figure is made of.
    """

    figure: float
    operations: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two neighbouring slices."""

    subject: Reading
    anchor: Reading

    @property
    def ratio(self) -> float:
        """Subject over anchor."""
        return self.subject.figure / self.anchor.figure


@dataclass(frozen=True, slots=True)
class Quartiles:
    """The middle of a row of numbers, and where its outer quarters begin."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """Return the quartiles of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))


@dataclass(frozen=True, slots=True)
class Gate:
    """What a ratio must keep.

    Args:
        bound: The last ratio that is good; None = only the figure is judged.
        stretch: What we would like, of the ratio where there is a bound, else of the figure.
        at_least: True for rates, where more is better; else the ratio is a cost.
        figure_max: The subject's own figure must stay below it too; None = no such limit.
    """

    bound: float | None
    stretch: float
    at_least: bool = False
    figure_max: float | None = None

    def judged(self, pairs: Sequence[Pair]) -> Verdict:
        """Judge the pairs: breached only when even the quartile on the good side is outside."""
        found = []
        if self.bound is not None:
            found.append(_judged([pair.ratio for pair in pairs], self.bound, self.at_least))
        if self.figure_max is not None:
            found.append(_judged([pair.subject.figure for pair in pairs], self.figure_max, False))
        return max(found, key=list(Verdict).index)


def _judged(values: Sequence[float], bound: float, at_least: bool) -> Verdict:
    # A rate is judged as its cost, so that "lower is better" holds for all.
    sign = -1 if at_least else 1
    quartiles = Quartiles.of([sign * value for value in values])
    if quartiles.lower > sign * bound:
        return Verdict.BREACHED
    return Verdict.HOLDS if quartiles.median <= sign * bound else Verdict.EDGE


Measure = Callable[[float], Awaitable[Reading]]


async def run_pairs(
    subject: Measure, anchor: Measure, pairs: int, slice_seconds: float, after_pair: Callable[[], None]
) -> list[Pair]:
    """Measure both in turn and return the pairs, without a first one that only warms both up.

    Which of the two goes first changes from pair to pair, so that a slow drift of the machine favours neither.
    """
    found: list[Pair] = []
    for number in range(pairs + 1):
        if number % 2:
            of_anchor = await anchor(slice_seconds)
            of_subject = await subject(slice_seconds)
        else:
            of_subject = await subject(slice_seconds)
            of_anchor = await anchor(slice_seconds)
        if number:
            found.append(Pair(of_subject, of_anchor))
        after_pair()
    return found
