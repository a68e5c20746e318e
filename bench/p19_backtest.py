"""P19: what the back-test costs an invoice, all in, on one core; and how many plans a second the smart policy makes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.contest import Contest, Metric
from bench.cores import pinned
from bench.pairs import Gate, Measure, Reading
from bench.parts import Parts
from dunwell_retry.backtest.compare import run_backtest
from dunwell_retry.backtest.loading import factory_of, open_world
from dunwell_retry.backtest.runner import run_policy
from dunwell_retry.policies.presets import preset

# As many as fill a slice of a second: few invoices would bear what a run costs once.
UNIFORM_INVOICES, SMART_INVOICES, SEED = 2_000, 200, 19


def _uniform(parts: Parts) -> Measure:
    """Measure the whole back-test, as the command runs it: the world made, the cases run, the statistics."""

    async def measure(seconds: float) -> Reading:
        number = max(1, int(UNIFORM_INVOICES * seconds))
        with pinned(parts.cores.subject):
            before = time.process_time()
            report = run_backtest("base", ["uniform-8"], invoices=number, seed=SEED, oracle=False, attempts=False)
            used = time.process_time() - before
        assert report["policies"]["uniform-8"]["attempts_per_invoice"] > 0, "no charge was sent"
        return Reading(used / number * 1e6, number, used)

    return measure


def _smart(parts: Parts, extra: dict[str, Any]) -> Measure:
    """Measure a run of the smart policy, and keep the best rate of its plans."""

    async def measure(seconds: float) -> Reading:
        number = max(1, int(SMART_INVOICES * seconds))
        # A world answers each charge once, so each run has a fresh one.
        world = open_world(factory_of("base"), SEED, number)
        with pinned(parts.cores.subject):
            before = time.process_time()
            outcomes = run_policy(world, preset("smart"))
            used = time.process_time() - before
        # A plan sends one charge and is then made anew; the last one of a case that is lost sends none.
        plans = sum(len(outcome.attempts) + (outcome.recovered_at is None) for outcome in outcomes)
        extra["smart_plans_per_second"] = max(extra.get("smart_plans_per_second", 0), int(plans / used))
        return Reading(used / number * 1e6, number, used)

    return measure


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Run both policies over worlds of one seed."""
    extra: dict[str, Any] = {}
    yield Contest(_uniform(parts), _smart(parts, extra), extra=extra)


METRIC = Metric(
    id="P19",
    title="back-test CPU per invoice and policy, all in",
    subject="the uniform-8 policy on the base world: world made, cases run, statistics",
    anchor="the smart policy on the same world, its run alone",
    unit="us",
    # 100,000 invoices in 30 s, and in 10 s.
    gate=Gate(bound=None, stretch=100, figure_max=300),
    opened=opened,
)
