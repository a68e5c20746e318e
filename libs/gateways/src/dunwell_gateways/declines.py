"""Declines: what a refusal means, from dated data.

Owns: the canonical reasons and how four raw values become one of them. Refuses: rules about how often one may try
(the rule gate) and when it is best to (the planner).

Order of trust: scheme advice > network code > gateway code > message. The most trusted value that says something
gives the reason, with one exception: when a less trusted code (but never a message) forbids the credential and the
more trusted ones do not, the stricter wins and that code decides. A value without a row says nothing, and neither does
one whose row leaves the reason open without forbidding anything; when none says something, the reason is UNKNOWN, and
`rows` is empty so that the gate permits one cautious attempt and a person is shown the code.
Advice numbers mean different things per network, so an advice is only ever read under its own network: the gateway's
rows for that network, then the network's own, then the gateway's rows for any network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from dunwell_gateways.decline_tables import (
    Failover,
    PayerAction,
    Reason,
    Retry,
    Row,
    Table,
    Treatment,
    named_lists,
    sources,
    table_of,
    tables,
)
from dunwell_gateways.port import RawDecline
from dunwell_kit.errors import Invalid

__all__ = [
    "CAUTIOUS_ONCE",
    "Classification",
    "Coverage",
    "Failover",
    "PayerAction",
    "Reason",
    "Retry",
    "Row",
    "Treatment",
    "classify",
    "coverage",
    "editions",
    "explain",
    "named_lists",
    "sources",
    "table_of",
]

# A tenant sees some hundred distinct refusals a day; the date is part of the key.
_CACHED = 65_536
# Card networks that answer with plain ISO 8583 and have no file of their own.
_GENERIC = "iso8583"


@dataclass(frozen=True, slots=True)
class Classification:
    """What a refusal means.

    Args:
        decided_by: `scheme_advice`, `network_code`, `gateway_code`, `message` or `none`.
        hard: The same credential must not be charged again off-session.
        rows: The evidence, most trusted first; empty when no value says anything.
        edition: Editions of the data used, e.g. `stripe/2026.11.0 visa/2026.11.0`.
    """

    reason: Reason
    treatment: Treatment
    decided_by: str
    hard: bool
    rows: tuple[Row, ...]
    edition: str


# What an unknown code gets: one careful try, and a person sees it.
CAUTIOUS_ONCE = Treatment(Failover.NO, Retry.ONCE, PayerAction.LATER, False)


def classify(raw: RawDecline, *, gateway: str, network: str, on: date, region: str | None = None) -> Classification:
    """Return what a refusal means under the data in force on a date; the case of the two names is of no matter.

    Args:
        gateway: Name of the gateway; one without data leaves only network code and advice.
        network: Card network or debit scheme; empty or unknown = read as plain ISO 8583.
        region: The issuer's country, ISO 3166 alpha-2.
    """
    return _classified(
        raw.gateway_code, raw.network_code, raw.advice_code, raw.message, gateway.lower(), network.lower(), on, region
    )


@lru_cache(maxsize=_CACHED)
def _classified(
    gateway_code: str,
    network_code: str,
    advice_code: str,
    message: str,
    gateway: str,
    network: str,
    on: date,
    region: str | None,
) -> Classification:
    theirs, scheme = tables().get(gateway), _network(network)
    raw = RawDecline(gateway_code, network_code, advice_code, message)
    evidence = list(_evidence(raw, theirs, scheme, network, on, region))
    edition = " ".join(f"{table.name}/{table.edition}" for table in (theirs, scheme) if table)
    if not evidence:
        return Classification(Reason.UNKNOWN, CAUTIOUS_ONCE, "none", False, (), edition)
    rows = tuple(row for _, row in evidence)
    if all(_open(row) for row in rows):
        by, row = evidence[0]
        return Classification(Reason.UNKNOWN, row.treatment, by, False, (), edition)
    evidence = [(by, row) for by, row in evidence if not _open(row)]
    telling = [(by, row) for by, row in evidence if row.reason is not None]
    strict = [(by, row) for by, row in telling if row.hard and by != "message"]
    by, row = (strict or telling or evidence)[0]
    treatment = row.treatment
    first_by, first = evidence[0]
    if first.reason is None and not row.hard:
        # Advice that only gives a time: the code's meaning, at the advice's time.
        by = first_by
        action = treatment.payer_action if row.reason else PayerAction.LATER
        treatment = Treatment(treatment.immediate_failover, first.treatment.delayed_retry, action, treatment.mask)
    mask = treatment.mask or any(each.treatment.mask for each in rows)
    treatment = Treatment(treatment.immediate_failover, treatment.delayed_retry, treatment.payer_action, mask)
    return Classification(row.reason or Reason.UNKNOWN, treatment, by, row.hard, rows, edition)


def _open(row: Row) -> bool:
    """Return whether a row says that nobody can tell: then the code is as good as unknown."""
    return row.reason is Reason.UNKNOWN and not row.hard


def _evidence(
    raw: RawDecline, theirs: Table | None, scheme: Table | None, network: str, on: date, region: str | None
) -> Iterator[tuple[str, Row]]:
    if raw.advice_code:
        advised = _advice(raw, theirs, scheme, network, on, region)
        if advised:
            yield "scheme_advice", advised
    if raw.network_code and scheme:
        row = scheme.find("codes", raw.network_code, "", on, region)
        if row:
            yield "network_code", row
    if theirs:
        row = theirs.find("codes", raw.gateway_code, "", on, region) if raw.gateway_code else None
        if row:
            yield "gateway_code", row
        lower = raw.message.lower()
        for each in theirs.rows if lower else ():
            if each.section == "messages" and each.code in lower and each.holds(on, region):
                yield "message", each
                return


def _advice(
    raw: RawDecline, theirs: Table | None, scheme: Table | None, network: str, on: date, region: str | None
) -> Row | None:
    code = raw.advice_code
    pair = scheme.find("pairs", raw.network_code, code, on, region) if scheme else None
    own = theirs.find("advice", code, network, on, region) if theirs else None
    general = theirs.find("advice", code, "any", on, region) if theirs else None
    listed = scheme.find("advice", code, network, on, region) if scheme else None
    return pair or own or listed or general


def tables_for(gateway: str, network: str) -> tuple[Table, ...]:
    """Return the tables that `classify` looks into for a gateway and a network."""
    return tuple(table for table in (tables().get(gateway.lower()), _network(network.lower())) if table)


def _network(network: str) -> Table | None:
    every = tables()
    return every.get(f"networks/{network}") or every.get(f"networks/{_GENERIC}")


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one file holds.

    Args:
        codes: Different codes; one number in two sections, e.g. a code and an advice, counts twice.
        named: Codes that lists which were read name; 0 = the file rests on none, so `missing` says nothing.
        missing: Codes of those lists that have no row in their section.
        unmapped: Codes whose row says that nobody can tell the reason: one cautious attempt or none, and shown.
        grades: Rows per grade.
    """

    file: str
    edition: str
    read: str
    rows: int
    codes: int
    named: int
    missing: tuple[str, ...]
    unmapped: tuple[str, ...]
    grades: Mapping[str, int]
    sources: tuple[str, ...]


def coverage() -> tuple[Coverage, ...]:
    """Return what every file holds and what it lacks of its named list."""
    return tuple(_coverage(table) for _, table in sorted(tables().items()))


def _coverage(table: Table) -> Coverage:
    have = {(row.section, row.code) for row in table.rows}
    named = {(section, code) for section, codes in named_lists().get(table.name, {}).items() for code in codes}
    return Coverage(
        file=table.name,
        edition=table.edition,
        read=table.read,
        rows=len(table.rows),
        codes=len(have),
        named=len(named),
        missing=tuple(f"{code} ({section})" for section, code in sorted(named - have)),
        unmapped=tuple(sorted({row.code for row in table.rows if row.reason is Reason.UNKNOWN})),
        grades={grade: sum(row.grade == grade for row in table.rows) for grade in "ABC"},
        sources=tuple(sorted({row.source for row in table.rows})),
    )


def explain(code: str, *, gateway: str | None = None, network: str | None = None, on: date) -> tuple[Row, ...]:
    """Return every row of a code in force on a date, of one gateway, one network, or all; regions included.

    A network without a file of its own is read as plain ISO 8583, as `classify` reads it.

    Raises:
        Invalid: No gateway of that name has decline data.
    """
    gateway = gateway.lower() if gateway else None
    if gateway and gateway not in tables():
        known = ", ".join(name for name in sorted(tables()) if "/" not in name)
        raise Invalid(f"no decline data of a gateway {gateway!r}; there is some of {known}")
    scheme = _network(network.lower()) if network else None
    wanted = {name for name in (gateway, scheme.name if scheme else None) if name}
    return tuple(
        row
        for name, table in sorted(tables().items())
        if not wanted or name in wanted
        for row in table.rows
        if row.code == code and row.holds(on, row.region)
    )


def editions() -> Mapping[str, str]:
    """Return file name -> edition."""
    return {name: table.edition for name, table in sorted(tables().items())}
