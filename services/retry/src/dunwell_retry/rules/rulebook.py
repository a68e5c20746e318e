"""The rule book: the dated data of the gate, read once and looked up by date.

Owns: the shape of the data files. Refuses: applying a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

import yaml

from dunwell_kit.errors import Invalid


@dataclass(frozen=True, slots=True)
class Rule:
    """One dated row: its id, its numbers, and where it is written down.

    Args:
        limit: The row's number of that name; an attribute of a row that has one only.
        window: The row's `window_days` or `window_hours` as a span, likewise.
    """

    rule: str
    region: str | None
    effective_from: date | None
    effective_to: date | None
    values: Mapping[str, Any]
    sources: tuple[str, ...]
    grade: str
    # Every question about a card reads both: they are taken out of the values once.
    limit: int = field(init=False, compare=False, repr=False)
    window: timedelta = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if "limit" in self.values:
            object.__setattr__(self, "limit", int(self.values["limit"]))
        for unit in ("days", "hours"):
            if f"window_{unit}" in self.values:
                object.__setattr__(self, "window", timedelta(**{unit: int(self.values[f"window_{unit}"])}))

    def holds(self, on: date) -> bool:
        """Return whether the rule is in force on a date: first day inclusive, last exclusive."""
        return (self.effective_from is None or self.effective_from <= on) and (
            self.effective_to is None or on < self.effective_to
        )

    def number(self, name: str) -> int:
        """Return one of the row's integers."""
        return int(self.values[name])

    def text(self, name: str) -> str:
        """Return one of the row's texts, empty if it has none."""
        return str(self.values.get(name) or "")


# By rule, or by rule and region where somebody asks for one of a region.
InForce = dict[str | tuple[str, str], Rule | None]


@dataclass(frozen=True, slots=True)
class RuleData:
    """All rules of all dates.

    Args:
        edition: Of the card and the debit data.
        rules: Rule id -> its dated rows.
        visa: Visa code -> its dated categories.
        mastercard: Advice code -> its rule.
        brazil: The irreversible codes.
        debits: Scheme -> its dated rows.
        lifted: (scheme, code) -> rule: a fresh authorisation lifts the stop.
        blocks: Kind of block -> its rule.
    """

    edition: str
    rules: Mapping[str, tuple[Rule, ...]]
    visa: Mapping[str, tuple[Rule, ...]]
    mastercard: Mapping[str, Rule]
    brazil: Rule
    debits: Mapping[str, tuple[Rule, ...]]
    lifted: Mapping[tuple[str, str], Rule]
    blocks: Mapping[str, Rule]
    _found: dict[date, InForce] = field(default_factory=dict, compare=False, repr=False)
    _visa_final: dict[str, tuple[Rule, ...]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for code, rows in self.visa.items():
            final = tuple(row for row in rows if row.values["category"] == 1)
            if final:
                self._visa_final[code] = final

    def in_force(self, on: date) -> InForce:
        """Return what was found so far for a date; `find` fills it."""
        found = self._found.get(on)
        if found is None:
            found = self._found[on] = {}
        return found

    def find(self, rule: str, on: date, region: str | None = None) -> Rule | None:
        """Return the row in force; one of the region wins over a general one, None when there is none."""
        found, key = self.in_force(on), rule if region is None else (rule, region)
        if key not in found:
            held = [row for row in self.rules[rule] if row.holds(on) and row.region in (None, region)]
            found[key] = min(held, key=lambda row: row.region is None, default=None)
        return found[key]

    def visa_final(self, code: str | None, at: datetime) -> Rule | None:
        """Return the category 1 row of a Visa code on the UTC day of a refusal; None for every other category."""
        rows = self._visa_final.get(code or "")
        if rows is None:
            return None
        on = at.astimezone(UTC).date()
        return next((row for row in rows if row.holds(on)), None)

    def debit(self, scheme: str, on: date) -> Rule:
        """Return the rules of a bank-debit scheme; an unknown scheme gets the careful default."""
        rows = self.debits.get(scheme) or self.debits["other"]
        return next((row for row in rows if row.holds(on)), rows[0])


_HEAD = ("rule", "region", "from", "to", "sources", "grade")


def _rule(row: Mapping[str, Any], name: str, sources: Mapping[str, str]) -> Rule:
    try:
        where = tuple(f"{key}: {sources[key]}" for key in row["sources"])
    except KeyError as error:
        raise Invalid(f"rule {name!r} names a source that is not listed: {error}") from None
    values = {key: value for key, value in row.items() if key not in _HEAD}
    grade = str(row.get("grade", "C"))
    return Rule(name, row.get("region"), row.get("from"), row.get("to"), values, where, grade)


def _by_code(rows: Iterable[Mapping[str, Any]], name: str, sources: Mapping[str, str]) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {}
    for row in rows:
        for code in str(row["codes"]).split():
            found.setdefault(code, []).append(_rule(row, f"{name}{row['category']}", sources))
    return {code: tuple(rules) for code, rules in found.items()}


def read(cards: Mapping[str, Any], debits: Mapping[str, Any], sources: Mapping[str, str]) -> RuleData:
    """Return the rule book of parsed documents; Invalid where they cannot be right."""
    rules: dict[str, list[Rule]] = {}
    for row in (*cards["rules"], *debits["rules"]):
        rules.setdefault(row["rule"], []).append(_rule(row, row["rule"], sources))
    _refuse_overlaps(rules)
    schemes: dict[str, list[Rule]] = {}
    for row in debits["bank_debit"]:
        schemes.setdefault(row["scheme"], []).append(_rule(row, row["scheme"], sources))
    return RuleData(
        edition=f"cards/{cards['edition']} debits/{debits['edition']}",
        rules={name: tuple(rows) for name, rows in rules.items()},
        visa=_by_code(cards["visa_categories"], "visa.cat", sources),
        mastercard={
            row["code"]: _rule(row, f"mastercard.mac{row['code']}", sources) for row in cards["mastercard_advice"]
        },
        brazil=_rule(cards["brazil_irreversible"], "brazil.irreversible", sources),
        debits={name: tuple(rows) for name, rows in schemes.items()},
        lifted={
            (row["scheme"], code): _rule(row, row["scheme"], sources)
            for row in debits["lifted_by_authorization"]
            for code in str(row["codes"]).split()
        },
        blocks={kind: _rule(row, f"block.{kind}", sources) for kind, row in debits["blocks"].items()},
    )


def _refuse_overlaps(rules: Mapping[str, list[Rule]]) -> None:
    for name, rows in rules.items():
        for index, one in enumerate(rows):
            for two in rows[index + 1 :]:
                starts = max(one.effective_from or date.min, two.effective_from or date.min)
                ends = min(one.effective_to or date.max, two.effective_to or date.max)
                if one.region == two.region and starts < ends:
                    raise Invalid(f"two rows of rule {name!r} are in force at once from {starts}")


@cache
def default() -> RuleData:
    """Return the rule book that ships with this version."""
    folder = resources.files("dunwell_retry.rules") / "data"

    def load(name: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.load((folder / name).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        return found

    return read(load("cards.yaml"), load("debits.yaml"), load("sources.yaml"))
