"""What a change of policy would change: between documents, and for open cases.

Owns: `diff` and `dry_run`. Refuses: to change anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dunwell_retry.planning.model import Case, Plan
from dunwell_retry.planning.planner import plan
from dunwell_retry.policies.document import Policy, document_of


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs; `path` is dotted."""

    path: str
    before: Any
    after: Any


def diff(before: Policy, after: Policy) -> tuple[Change, ...]:
    """Return every field in which two documents differ, sorted by path."""
    old, new = _flat(document_of(before)), _flat(document_of(after))
    paths = sorted(old.keys() | new.keys())
    return tuple(Change(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path))


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


@dataclass(frozen=True, slots=True)
class CaseChange:
    """What another policy would do with one open case; `moved` tells whether the next charge differs."""

    case_id: str
    before: Plan
    after: Plan

    @property
    def moved(self) -> bool:
        """Return whether the next charge is another one, at another time, or none."""
        old, new = self.before.attempts[:1], self.after.attempts[:1]
        if not old or not new:
            return bool(old) != bool(new)
        return (old[0].at, old[0].instrument_id, old[0].route) != (new[0].at, new[0].instrument_id, new[0].route)


@dataclass(frozen=True, slots=True)
class DryRun:
    """A change of policy over open cases."""

    cases: tuple[CaseChange, ...]

    def totals(self) -> dict[str, int]:
        """Return counts: cases, moved, stopped by the change, revived by it, charges planned before and after."""
        return {
            "cases": len(self.cases),
            "moved": sum(case.moved for case in self.cases),
            "stopped": sum(bool(case.before.attempts) and not case.after.attempts for case in self.cases),
            "revived": sum(bool(case.after.attempts) and not case.before.attempts for case in self.cases),
            "charges_before": sum(len(case.before.attempts) for case in self.cases),
            "charges_after": sum(len(case.after.attempts) for case in self.cases),
        }


def dry_run(cases: Sequence[Case], before: Policy, after: Policy, *, now: datetime, seed: int = 0) -> DryRun:
    """Return what a change of policy would do to open cases at an instant."""
    return DryRun(
        tuple(
            CaseChange(case.case_id, plan(case, before, now=now, seed=seed), plan(case, after, now=now, seed=seed))
            for case in cases
        )
    )


# What a field is in a sentence; `{}` takes its value.
_WORDS = {
    "kind": "plans by the rule {}",
    "attempts_max": "sends at most {} charges",
    "horizon_days": "sends nothing later than {} days after the failure",
    "days": "charges {} days after the failure",
    "every_hours": "charges every {} hours",
    "pay_days": "takes {} for pay days",
    "hour": "charges at {} o'clock local time",
    "min_gap_hours": "keeps charges {} hours apart",
    "gain_min": "sends a charge when it adds a chance of at least {}",
    "outage_ladder_hours": "charges {} hours after a bank's outage",
    "silent_days": "tells the payer nothing for {} days while time alone may solve it",
    "exploration": "tries another instant in a share of {} of the decisions",
    "model_edition": "uses only the model {}",
    "holdout.share": "leaves a share of {} of the payers to another policy",
    "holdout.policy": "leaves held-out payers to {}",
    "floor.attempts": "promises at least {} charges",
    "floor.within_days": "keeps its promise within {} days",
    "when.tenants": "is for the tenants {}",
    "when.plans": "is for the plans {}",
    "when.segments": "is for the segments {}",
    "when.countries": "is for methods issued in {}",
    "when.gateways": "is for the gateways {}",
    "when.currency": "is for the currency {}",
    "when.amount_from": "is for amounts from {} minor units",
    "when.amount_to": "is for amounts up to {} minor units",
}


def sentences(changes: Sequence[Change]) -> tuple[str, ...]:
    """Return each change as a sentence about the new policy, with what was before."""
    return tuple(_sentence(change) for change in changes if not _empty_both(change))


def _empty_both(change: Change) -> bool:
    """True for the placeholder of a part that is given as a whole or not at all; its fields are told one by one."""
    return change.path in ("holdout", "floor")


def _sentence(change: Change) -> str:
    if change.path in ("name", "version"):
        return f"{change.path}: {change.after} instead of {change.before}"
    words = _WORDS.get(change.path)
    if words is None and change.path.startswith("ladders."):
        words = f"after {change.path.removeprefix('ladders.')} charges {{}} days after the failure"
    text = (words or f"sets {change.path} to {{}}").format(_said(change.after))
    return f"{text}; before: {_said(change.before)}"


def _said(value: Any) -> str:
    if value is None:
        return "none set"
    if isinstance(value, list):
        return ", ".join(_said(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
