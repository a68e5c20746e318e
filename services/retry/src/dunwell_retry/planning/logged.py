"""Logged decisions: what fitting and estimates learn from.

Owns: the rows and their JSON Lines form. Refuses: decisions without a propensity; those teach nothing safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dunwell_retry.planning.model import Case, CaseInvalid, Sent, as_json, from_json


@dataclass(frozen=True, slots=True)
class Logged:
    """One case with its charges and the chance with which each instant was chosen.

    Args:
        case: As it was before the first charge; `sent` is empty.
        sent: What was sent, oldest first.
        propensities: One per charge, in (0, 1]; for a random schedule the density relative to uniform.
    """

    case: Case
    sent: tuple[Sent, ...]
    propensities: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.sent) != len(self.propensities):
            raise CaseInvalid(f"case {self.case.case_id!r}: one propensity per charge")
        if any(not 0 < share <= 1 for share in self.propensities):
            raise CaseInvalid(f"case {self.case.case_id!r}: propensities lie in (0, 1]")


def dumps(rows: Iterable[Logged]) -> str:
    """Return JSON Lines."""
    return "".join(
        json.dumps({"case": as_json(row.case), "sent": as_json(row.sent), "propensities": list(row.propensities)})
        + "\n"
        for row in rows
    )


def loads(text: str) -> Sequence[Logged]:
    """Return the rows of JSON Lines; CaseInvalid names the line."""
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            value = json.loads(line)
            sent = tuple(from_json(Sent, entry) for entry in value["sent"])
            rows.append(Logged(from_json(Case, value["case"]), sent, tuple(value["propensities"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CaseInvalid(f"line {number}: {error}") from error
    return rows
