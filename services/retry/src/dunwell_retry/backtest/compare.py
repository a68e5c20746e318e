"""Several policies on common random numbers, and the report of the comparison.

Owns: the JSON report and the spreading over processes. Refuses: drawing; see `html` and `docs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

from dunwell_retry.backtest.loading import factory_of, open_world
from dunwell_retry.backtest.oracle import oracle_bound
from dunwell_retry.backtest.runner import Outcome, Progress, Settings, no_search_for_cycles, run_policy
from dunwell_retry.backtest.statistics import difference, summary
from dunwell_retry.planning.model import as_json
from dunwell_retry.policies.document import Policy, PolicyInvalid
from dunwell_retry.policies.presets import preset

# The oracle asks 120 times per attempt and invoice: a sample tells the bound well enough.
_ORACLE_INVOICES = 2000
Started = Callable[[str, int], Progress | None]


def named(name: str) -> Policy:
    """Return a shipped policy; `NAME@N` limits it to N attempts."""
    base, _, most = name.partition("@")
    policy = preset(base)
    if not most:
        return policy
    if not most.isdecimal() or int(most) < 1:
        raise PolicyInvalid("name", f"{name!r}: after @ comes a number of attempts, 1 or more")
    return replace(policy, name=name, attempts_max=min(policy.attempts_max, int(most)))


def run_backtest(
    world: str,
    policies: Sequence[str | Policy],
    baselines: Sequence[str | Policy] = (),
    *,
    invoices: int = 10_000,
    seed: int = 1,
    settings: Settings | None = None,
    jobs: int = 1,
    oracle: bool = True,
    attempts: bool = True,
    started: Started | None = None,
) -> dict[str, Any]:
    """Return the report of policies against baselines on one world.

    Args:
        world: `module:factory`, `history:FILE` or a shipped world's short name.
        policies: Names of presets, `NAME@N`, or documents.
        jobs: Processes; 1 runs in this one.
        oracle: Whether to add the bound where the world offers it.
        attempts: Whether every charge is listed.
        started: Called with a policy's name and the number of invoices; returns what to call with progress.

    Raises:
        WorldUnknown, WorldBroken, PolicyInvalid: What the names or the world get wrong.
    """
    if invoices < 1:
        raise ValueError(f"a back-test needs 1 or more invoices, not {invoices}")
    with no_search_for_cycles():
        return _report(
            world, policies, baselines, invoices, seed, settings or Settings(), jobs, oracle, attempts, started
        )


def _report(
    world: str, policies: Sequence[str | Policy], baselines: Sequence[str | Policy], invoices: int, seed: int,
    settings: Settings, jobs: int, oracle: bool, attempts: bool, started: Started | None,
) -> dict[str, Any]:  # fmt: skip
    by_name = _by_name((*policies, *baselines))
    factory = factory_of(world)
    # No charge has been sent in it yet: it will do for the first policy, or for the bound.
    fresh = [open_world(factory, seed, invoices)]
    title, offered = fresh[0].name, len(fresh[0].failures())
    found: dict[str, list[Outcome]] = {}
    for name, policy in by_name.items():
        progress = started(name, invoices) if started else None
        if jobs > 1:
            found[name] = _spread(world, seed, invoices, policy, settings, jobs, progress)
        else:
            opened = fresh.pop() if fresh else open_world(factory, seed, invoices)
            found[name] = run_policy(opened, policy, settings, progress)
    report: dict[str, Any] = {
        "world": title,
        "world_source": world,
        "seed": seed,
        "invoices": offered,
        "emails": settings.emails,
        "policies": {name: _entry(by_name[name], outcomes, attempts) for name, outcomes in found.items()},
        "differences": _differences(found, [_name(entry) for entry in baselines], seed),
    }
    if oracle:
        most = max((policy.attempts_max for policy in by_name.values()), default=8)
        opened = fresh.pop() if fresh else open_world(factory, seed, invoices)
        if (bound := oracle_bound(opened, most, _ORACLE_INVOICES)) is not None:
            report["oracle_bound"] = bound
    return report


def _by_name(policies: Sequence[str | Policy]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    for entry in policies:
        policy = named(entry) if isinstance(entry, str) else entry
        if found.setdefault(policy.name, policy) != policy:
            raise PolicyInvalid("name", f"two different policies are called {policy.name!r}: give one another name")
    return found


def _name(entry: str | Policy) -> str:
    return entry if isinstance(entry, str) else entry.name


def _entry(policy: Policy, outcomes: Sequence[Outcome], attempts: bool) -> dict[str, Any]:
    entry = {"kind": policy.kind, "version": policy.version, "attempts_max": policy.attempts_max, **summary(outcomes)}
    if attempts:
        entry["attempts"] = [
            {
                "invoice_id": outcome.invoice_id,
                "at": as_json(attempt.at),
                "instrument_id": attempt.instrument_id,
                "route": attempt.route,
                "initiator": attempt.initiator,
                "approved": attempt.approved,
            }
            for outcome in outcomes
            for attempt in outcome.attempts
        ]
    return entry


def _differences(found: Mapping[str, list[Outcome]], baselines: Sequence[str], seed: int) -> dict[str, Any]:
    return {
        f"{name} - {baseline}": difference(outcomes, found[baseline], seed)
        for baseline in dict.fromkeys(baselines)
        for name, outcomes in found.items()
        if name != baseline
    }


def _part(
    world: str, seed: int, invoices: int, policy: Policy, settings: Settings, first: int, last: int
) -> list[Outcome]:
    opened = open_world(factory_of(world), seed, invoices)
    return run_policy(opened, policy, settings, span=slice(first, last))


def _spread(
    world: str, seed: int, invoices: int, policy: Policy, settings: Settings, jobs: int, progress: Progress | None
) -> list[Outcome]:
    """Run parts of the invoices in processes of their own; each builds the same world."""
    bounds = [invoices * number // jobs for number in range(jobs + 1)]
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(jobs) as pool:
        parts = [
            pool.submit(_part, world, seed, invoices, policy, settings, first, last) for first, last in pairwise(bounds)
        ]
        for part in parts:
            outcomes += part.result()
            if progress is not None:
                progress(len(outcomes))
    return outcomes
