"""The planners by name: what a policy may choose from."""

from __future__ import annotations

from dunwell_retry.ladders import ladder
from dunwell_retry.policy import Gate, Planner

# Days after the failure. Sources and results of each: docs/reference/backtest.md.
LADDERS = {
    "uniform-8": tuple(1.75 * k for k in range(1, 9)),
    "stripe-legacy": (3, 8, 15),
    "killbill": (8, 16, 24),
    "recurly-2d": (2, 4, 6, 8, 10, 12, 14),
}


def planners(gate: Gate) -> dict[str, Planner]:
    """Return every planner over a rule gate."""
    return {name: ladder(days, name, gate) for name, days in LADDERS.items()}
