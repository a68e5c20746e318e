"""What another policy would have earned, estimated from decisions that were logged with their propensities.

Owns: inverse propensity (self-normalised) and doubly robust estimates with bootstrap intervals. Refuses: policies that
the log cannot speak about; the effective sample size says how much it can.
Source: Dudik, Langford, Li, "Doubly robust policy evaluation and learning", ICML 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dunwell_retry.planning.parameters import Floats

# A single case may not carry an estimate: weights are cut here, which trades a little bias for much less variance.
_WEIGHT_MAX = 50.0
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Choice:
    """One logged decision.

    Args:
        propensity: Chance with which the logged policy chose what was sent, in (0, 1].
        target: Chance with which the new policy would choose the same, in [0, 1].
        reward: What came of it, e.g. 1.0 for recovered.
        expected: The model's expectation of the reward of the logged choice.
        expected_target: The model's expectation of the reward of the new policy's choice.
    """

    propensity: float
    target: float
    reward: float
    expected: float = 0.0
    expected_target: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean reward of the new policy with a 95 % interval; few effective cases mean that it is only a hint."""

    method: str
    mean: float
    low: float
    high: float
    effective_cases: float


def _weights(choices: Sequence[Choice]) -> Floats:
    if not choices:
        raise ValueError("no decisions were logged")
    if any(not 0 < choice.propensity <= 1 for choice in choices):
        raise ValueError("propensities lie in (0, 1]")
    return np.asarray(np.minimum(_WEIGHT_MAX, [choice.target / choice.propensity for choice in choices]))


def _effective(weights: Floats) -> float:
    square = float((weights**2).sum())
    return 0.0 if square == 0 else float(weights.sum()) ** 2 / square


def inverse_propensity(choices: Sequence[Choice], seed: int) -> Estimate:
    """Return the self-normalised inverse propensity estimate."""
    weights = _weights(choices)
    rewards = np.array([choice.reward for choice in choices])
    rng = np.random.default_rng(seed)

    def mean(at: NDArray[np.int64]) -> float:
        total = float(weights[at].sum())
        return float((weights[at] * rewards[at]).sum()) / total if total > 0 else 0.0

    return _estimate("inverse propensity", mean, len(choices), rng, _effective(weights))


def doubly_robust(choices: Sequence[Choice], seed: int) -> Estimate:
    """Return the doubly robust estimate: the model's expectation, corrected by what really happened."""
    weights = _weights(choices)
    direct = np.array([choice.expected_target for choice in choices])
    gap = np.array([choice.reward - choice.expected for choice in choices])
    values = direct + weights * gap
    rng = np.random.default_rng(seed)
    return _estimate("doubly robust", lambda at: float(values[at].mean()), len(choices), rng, _effective(weights))


def _estimate(
    method: str, mean: Callable[[NDArray[np.int64]], float], count: int, rng: np.random.Generator, effective: float
) -> Estimate:
    draws = [mean(rng.integers(0, count, count)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(method, float(mean(np.arange(count))), float(low), float(high), effective)
