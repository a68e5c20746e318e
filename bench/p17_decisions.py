"""P17: what one decision costs, from a case to a whole plan: pure code, one core."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from bench.contest import Contest, Metric
from bench.cores import pinned
from bench.pairs import Gate, Measure, Reading
from bench.parts import Parts
from dunwell_retry.backtest.cases import case_of
from dunwell_retry.backtest.loading import factory_of, open_world
from dunwell_retry.planning.model import Case
from dunwell_retry.planning.planner import plan
from dunwell_retry.policies.document import Policy
from dunwell_retry.policies.presets import preset

CASES, SEED = 400, 17
# As in production: the decision comes a moment after the event.
_REACTION = timedelta(minutes=1)


def _measure(cases: Sequence[Case], policy: Policy, parts: Parts) -> Measure:
    async def measure(seconds: float) -> Reading:
        asked = cases[: max(1, int(CASES * seconds))]
        with pinned(parts.cores.subject):
            before = time.process_time()
            plans = [plan(case, policy, now=case.failed_at + _REACTION, seed=SEED) for case in asked]
            used = time.process_time() - before
        assert any(made.attempts for made in plans), "no case was given a single attempt"
        return Reading(used / len(asked) * 1e6, len(asked), used)

    return measure


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Take the cases of a world."""
    world = open_world(factory_of("base"), SEED, CASES)
    cases = [case_of(invoice, world.horizon) for invoice in world.failures()]
    yield Contest(_measure(cases, preset("smart"), parts), _measure(cases, preset("uniform-8"), parts))


METRIC = Metric(
    id="P17",
    title="CPU per pure decision, the whole plan of a case",
    subject="the smart policy",
    anchor="the uniform-8 policy",
    unit="us",
    # 1,000 decisions a second and core, and 10,000.
    gate=Gate(bound=None, stretch=100, figure_max=1_000),
    opened=opened,
)
