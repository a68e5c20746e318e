"""Proof of lift: the difference between two arms, with an interval that stays valid however often one looks.

Owns: the statistics. Pure. Unit = payer; an arm's rate is the mean of its payers' recovered shares.
Source: Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences",
arXiv 2103.06476, read November 2026.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
# Fewer payers than this in an arm say nothing, whatever the interval.
PAYERS_MIN = 8
# The sequence is tightest near this many payers.
TUNED_FOR = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """Treated minus holdout, as shares.

    Args:
        answer: `collecting`, `not significant yet`, `better` or `worse`.
        low, high: Bounds of the 95 % confidence sequence; -1 and 1 while collecting.
    """

    treated: int
    holdout: int
    treated_rate: float
    holdout_rate: float
    difference: float
    low: float
    high: float
    answer: str


def difference(treated: Sequence[float], holdout: Sequence[float]) -> Difference:
    """Compare two arms, one number in [0, 1] a payer."""
    rate_t, rate_h = _mean(treated), _mean(holdout)
    gap = rate_t - rate_h
    if min(len(treated), len(holdout)) < PAYERS_MIN:
        return Difference(len(treated), len(holdout), rate_t, rate_h, gap, -1.0, 1.0, "collecting")
    standard_error = math.sqrt(_variance(treated) / len(treated) + _variance(holdout) / len(holdout))
    half = standard_error * _widening(len(treated) + len(holdout))
    low, high = max(-1.0, gap - half), min(1.0, gap + half)
    answer = "better" if low > 0 else "worse" if high < 0 else "not significant yet"
    return Difference(len(treated), len(holdout), rate_t, rate_h, gap, low, high, answer)


def _widening(count: int) -> float:
    """Return how many standard errors the sequence spans to each side."""
    log_term = -2 * math.log(ALPHA)
    rho_squared = (log_term + math.log(log_term + 1)) / TUNED_FOR
    scaled = count * rho_squared + 1
    return math.sqrt(count) * math.sqrt(
        2 * scaled * math.log(math.sqrt(scaled) / ALPHA) / (count * count * rho_squared)
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    # Bessel's correction: a variance of a sample, not of a population.
    return sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
