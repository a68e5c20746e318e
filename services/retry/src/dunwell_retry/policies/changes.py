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
