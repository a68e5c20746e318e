"""Choosing a set of charges that together cover the stories best.

Owns: the greedy choice of instants. Refuses: what the stories are.
The chance that at least one of a set of charges passes is submodular in the set, so greedy picks come within 1 - 1/e
of the best set (Nemhauser, Wolsey, Fisher, Mathematical Programming 14, 1978); single best instants do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dunwell_retry.planning.parameters import Floats
from dunwell_retry.planning.scenarios import Ints, Reals
from dunwell_retry.rules.values import quick


@dataclass(slots=True, eq=False)
class Option:
    """Instants at which one method can be charged, under stories independent of the other methods'.

    Args:
        weight: P(story), (story).
        chance: P(approve), (instant, story); the choice lowers the rows of `tiring` in place.
        at: Wall-clock seconds of the instants.
        allowed: False where the rules or the policy forbid.
        cost: Minor units of US dollars per charge.
        tiring: Stories whose chance falls by `tires` with every charge.
        ordered: How many of the instants, the first ones, are in order of time.
        discount: Share of the value that is left at each instant; 0 where none may be chosen any more.
    """

    weight: Floats
    chance: Reals
    at: Ints
    allowed: NDArray[np.bool_]
    cost: float
    tiring: slice
    tires: float
    ordered: int = 0
    alive: Floats = field(default_factory=lambda: np.empty(0))
    discount: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        self.alive = self.weight.astype(np.float32)


@quick
@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen instant: option, column, and what it adds to the set."""

    option: int
    column: int
    gain: float
    chance: float


@quick
@dataclass(frozen=True, slots=True)
class Terms:
    """What a recovery is worth and what limits the set.

    Args:
        value: Minor units of US dollars.
        gain_min: A charge that adds less is not worth a bank's patience.
        gap_seconds: Least distance of two charges.
        delay_per_second: Share of the value lost with every second from `start`, wall-clock seconds.
    """

    value: float
    gain_min: float
    gap_seconds: int
    delay_per_second: float
    start: int


def gains(options: list[Option]) -> list[Floats]:
    """Return for every option what each instant would add to the charges already taken."""
    found = [np.asarray(option.chance @ option.alive, dtype=np.float64) for option in options]
    if len(options) == 1:
        return found
    masses = [float(option.alive.sum()) for option in options]
    for number, gain in enumerate(found):
        others = 1.0
        for other, mass in enumerate(masses):
            if other != number:
                others *= mass
        gain *= others
    return found


def choose(
    options: list[Option], budget: int, terms: Terms, fixed: Sequence[int] = (), *, picks_only: bool = False
) -> list[Pick]:  # fmt: skip
    """Return up to `budget` picks in order of choice; each adds more than it costs.

    Args:
        fixed: Columns of the first option that are taken before anything is chosen, whatever their distance.
        picks_only: The options need not be left as all of the charges leave them: nobody looks at them again.
    """
    picks: list[Pick] = []
    first = None
    for option in options:
        option.discount = np.maximum(0.0, 1 - (option.at - terms.start) * terms.delay_per_second)
        # An instant that is worth nothing earns less than it costs, so that it need not be left out again every time.
        option.discount[~option.allowed] = 0.0
    for column in fixed:
        if len(picks) < budget and options[0].allowed[column]:
            now = gains(options)
            first = first or now
            picks.append(Pick(0, column, float(now[0][column]), float(first[0][column])))
            _take(options, 0, column)
    for pick in picks:
        _rest(options, int(options[0].at[pick.column]), terms.gap_seconds)
    for _ in range(budget - len(picks)):
        now = gains(options)
        first = first or now
        best: tuple[float, int, int] | None = None
        for number, option in enumerate(options):
            net = now[number] * option.discount
            net *= terms.value
            net -= option.cost
            column = int(net.argmax())
            if now[number][column] < terms.gain_min:
                net[now[number] < terms.gain_min] = -np.inf
                column = int(net.argmax())
            if net[column] > 0 and (best is None or net[column] > best[0]):
                best = (float(net[column]), number, column)
        if best is None:
            break
        _, number, column = best
        picks.append(Pick(number, column, float(now[number][column]), float(first[number][column])))
        if picks_only and len(picks) == budget:
            break
        _take(options, number, column)
        _rest(options, int(options[number].at[column]), terms.gap_seconds)
    return picks


def _take(options: list[Option], number: int, column: int) -> None:
    taken = options[number]
    taken.alive = taken.alive * (1 - taken.chance[column])
    if taken.tires != 1.0:
        taken.chance[:, taken.tiring] *= np.float32(taken.tires)


def _rest(options: list[Option], at: int, gap_seconds: int) -> None:
    """Forbid the instants that lie closer than the gap to a charge."""
    for option in options:
        # In order of time up to there: two look-ups and a stretch are a quarter of what four passes over all cost.
        grid = option.at[: option.ordered]
        near = slice(int(grid.searchsorted(at - gap_seconds, "right")), int(grid.searchsorted(at + gap_seconds)))
        option.allowed[near] = False
        option.discount[near] = 0.0
        if option.ordered < option.at.size:
            clashing = np.abs(option.at[option.ordered :] - at) < gap_seconds
            option.allowed[option.ordered :][clashing] = False
            option.discount[option.ordered :][clashing] = 0.0
