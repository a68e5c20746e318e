"""Decline data: the types of its columns, and how the files become tables.

Owns: what a row may say, and that no two rows of one code are in force at once. Refuses: deciding between codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from dunwell_kit.errors import Invalid

_EEA = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "HR",
        "CY",
        "CZ",
        "DK",
        "EE",
        "FI",
        "FR",
        "DE",
        "GR",
        "HU",
        "IS",
        "IE",
        "IT",
        "LV",
        "LI",
        "LT",
        "LU",
        "MT",
        "NL",
        "NO",
        "PL",
        "PT",
        "RO",
        "SK",
        "SI",
        "ES",
        "SE",
    ]
)


class Reason(StrEnum):
    """Why a payment was refused, whoever said it."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_VELOCITY = "limit_velocity"
    GENERIC_REFUSAL = "generic_refusal"
    ISSUER_RISK = "issuer_risk"
    OUTAGE = "outage"
    EXPIRED = "expired"
    BAD_CREDENTIAL = "bad_credential"
    DEAD_CARD = "dead_card"
    REVOKED = "revoked"
    AUTH_REQUIRED = "auth_required"
    NOT_PERMITTED = "not_permitted"
    DUPLICATE = "duplicate"
    CONFIG_ERROR = "config_error"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_MOVED = "account_moved"
    MANDATE_INVALID = "mandate_invalid"
    DEBIT_DISPUTED = "debit_disputed"
    PAYER_DECEASED = "payer_deceased"
    UNKNOWN = "unknown"


class Failover(StrEnum):
    """Whether another route may be tried at once."""

    NO = "no"
    MAYBE = "maybe"
    ONCE = "once"
    YES = "yes"


class Retry(StrEnum):
    """How a later try on the same credential is timed."""

    KEEP = "keep"  # the code's own timing stays; only advice rows without a reason say so
    ADVICE = "advice"  # when the advice says
    PAYDAY = "payday"
    RESET = "reset"  # after the limit's day, week or month
    SPACED = "spaced"  # 24 h and more apart
    CAUTIOUS = "cautious"  # 48 h and more, at the payer's usual hour
    SOON = "soon"  # 1 h, 4 h, 12 h
    RARELY = "rarely"
    ONCE = "once"
    AFTER_FIX = "after_fix"  # after an updater or the payer gave new data
    RECONCILE_FIRST = "reconcile_first"
    ON_SESSION = "on_session"
    NEVER = "never"


class PayerAction(StrEnum):
    """What the payer can do."""

    KEEP = "keep"
    NONE = "none"
    LATER = "later"  # told only after the silent phase
    APPROVE_IN_APP = "approve_in_app"
    UPDATE_METHOD = "update_method"
    OTHER_METHOD = "other_method"
    CONFIRM_CANCEL = "confirm_cancel"
    AUTHENTICATE = "authenticate"
    NEW_MANDATE = "new_mandate"
    CONTACT = "contact"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What follows from a refusal; `mask` = the payer is told a generic reason."""

    immediate_failover: Failover
    delayed_retry: Retry
    payer_action: PayerAction
    mask: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row of one file: from inclusive, to exclusive, None = open; reason None = the code's own stays."""

    file: str
    section: str
    code: str
    reason: Reason | None
    treatment: Treatment
    hard: bool
    effective_from: date | None
    effective_to: date | None
    region: str | None
    network: str | None
    advice: str | None
    category: int | None
    source: str
    grade: str
    edition: str

    def holds(self, on: date, region: str | None) -> bool:
        """Return whether the row is in force on a date in a region (the issuer's country)."""
        in_time = (self.effective_from is None or self.effective_from <= on) and (
            self.effective_to is None or on < self.effective_to
        )
        return in_time and (self.region is None or self.region == region or (self.region == "EEA" and region in _EEA))


@dataclass(frozen=True, slots=True)
class Table:
    """One declines.yaml, indexed."""

    name: str
    edition: str
    read: str
    rows: tuple[Row, ...]
    index: Mapping[tuple[str, str, str], tuple[Row, ...]]

    def find(self, section: str, code: str, extra: str, on: date, region: str | None) -> Row | None:
        """Return the row in force; a row of the region wins over a general one."""
        found = [row for row in self.index.get((section, code, extra), ()) if row.holds(on, region)]
        return min(found, key=lambda row: row.region is None, default=None)


@cache
def sources() -> Mapping[str, str]:
    """Return source key -> where it is."""
    return _mapping(_root() / "sources.yaml")


@cache
def named_lists() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return file name -> section -> the codes it must have, as published lists name them."""
    return {
        name: {section: tuple(text.split()) for section, text in sections.items()}
        for name, sections in _mapping(_root() / "named_lists.yaml").items()
    }


@cache
def publishers() -> Mapping[str, frozenset[str]]:
    """Return file name -> who publishes its primary text: hosts, and owners of repositories with a slash."""
    return {name: frozenset(text.split()) for name, text in _mapping(_root() / "publishers.yaml").items()}


def is_primary(file: str, address: str) -> bool:
    """Return whether an address is the own text of the gateway or network that a file is about; subdomains count."""
    first, theirs = address.partition("/")[0], publishers().get(file, frozenset())
    if "." not in first:
        return f"{first}/" in theirs
    return any(first == host or first.endswith(f".{host}") for host in theirs)


def misgraded(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows graded A whose source is not the own text of the gateway or network they are about."""
    return tuple(row for row in rows if row.grade == "A" and not is_primary(row.file, sources().get(row.source, "")))


class _Tables(Mapping[str, Table]):
    """The tables by name, `stripe` or `networks/visa`, each read when it is first asked for: most need only a few."""

    def __init__(self, files: Mapping[str, Traversable]) -> None:
        self._files = files
        self._read: dict[str, Table] = {}

    def __getitem__(self, name: str) -> Table:
        if name not in self._read:
            self._read[name] = table_of(name, _mapping(self._files[name]))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@cache
def tables() -> Mapping[str, Table]:
    """Return the table of every gateway and network; Invalid, when one is read, where it cannot be right."""
    folders: dict[str, Traversable] = {}
    for folder in _root().iterdir():
        if folder.name == "networks":
            folders |= {f"networks/{network.name}": network for network in folder.iterdir()}
        else:
            folders[folder.name] = folder
    files = {name: folder / "declines.yaml" for name, folder in folders.items()}
    return _Tables({name: file for name, file in files.items() if file.is_file()})


def table_of(name: str, document: Mapping[str, Any]) -> Table:
    """Return a table from its document; Invalid naming the row when it cannot be right."""
    edition, read = str(document["edition"]), str(document["read"])
    rows = [
        _row(name, section, edition, each)
        for section in ("codes", "advice", "pairs", "messages")
        for each in document.get(section, ())
    ]
    index: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        extra = (row.network or "") if row.section == "advice" else (row.advice or "")
        same = index.setdefault((row.section, row.code, extra), [])
        for other in same:
            if other.region == row.region and _overlap(other, row):
                raise Invalid(f"{name}: two rows of code {row.code!r} are in force at once")
        same.append(row)
    return Table(name, edition, read, tuple(rows), {key: tuple(value) for key, value in index.items()})


def _overlap(one: Row, two: Row) -> bool:
    starts = max(one.effective_from or date.min, two.effective_from or date.min)
    ends = min(one.effective_to or date.max, two.effective_to or date.max)
    return starts < ends


def _row(name: str, section: str, edition: str, each: Mapping[str, Any]) -> Row:
    try:
        return Row(
            file=name,
            section=section,
            code=each["contains"] if section == "messages" else each["code"],
            reason=Reason(each["reason"]) if each["reason"] else None,
            treatment=Treatment(
                Failover(each["failover"]), Retry(each["retry"]), PayerAction(each["payer"]), each["mask"]
            ),
            hard=each["hard"],
            effective_from=each["from"],
            effective_to=each["to"],
            region=each["region"],
            network=each.get("network"),
            advice=each.get("advice"),
            category=each.get("category"),
            source=each["source"],
            grade=each["grade"],
            edition=edition,
        )
    except (KeyError, ValueError) as error:
        raise Invalid(f"{name}: row {dict(each)!r} is broken: {error}") from None


def _root() -> Traversable:
    return resources.files("dunwell_gateways")


def _mapping(path: Traversable) -> Mapping[str, Any]:
    loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    if not isinstance(loaded, dict):
        raise Invalid(f"{path.name} is not a mapping")
    return loaded
