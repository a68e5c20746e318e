"""P19: what the back-test costs an invoice, all its charges and decisions included, on one core."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.contest import Contest, Metric
from bench.cores import pinned
from bench.pairs import Gate, Measure, Reading
from bench.parts import Parts
from dunwell_retry.backtest.loading import factory_of, open_world
from dunwell_retry.backtest.runner import run_policy
from dunwell_retry.policies.presets import preset

INVOICES, SEED = 200, 19


def _measure(policy: str, parts: Parts) -> Measure:
    async def measure(seconds: float) -> Reading:
        number = max(1, int(INVOICES * seconds))
        # A world answers each charge once, so each run has a fresh one; opening it is not the back-test's cost.
        world = open_world(factory_of("base"), SEED, number)
        with pinned(parts.cores.subject):
            before = time.process_time()
            outcomes = run_policy(world, preset(policy))
            used = time.process_time() - before
        assert len(outcomes) == number, f"{len(outcomes)} outcomes of {number} invoices"
        return Reading(used / number * 1e6, number, used)

    return measure


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run both policies over equal worlds."""
    yield Contest(_measure("smart", parts), _measure("uniform-8", parts))


METRIC = Metric(
    id="P19",
    title="back-test CPU per invoice and policy",
    subject="the smart policy on the base world",
    anchor="the uniform-8 policy on the same world",
    unit="us",
    # 100,000 invoices in 30 s, and in 10 s.
    gate=Gate(bound=None, stretch=100, figure_max=300),
    opened=opened,
)
