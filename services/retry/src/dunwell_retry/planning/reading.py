"""What a refusal means to the model: the canonical reason, and whether it is final.

Owns: the step from the taxonomy's answer to the model's observed classes. Refuses: codes; those are data in
`dunwell_gateways`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache

from dunwell_gateways.decline_tables import tables
from dunwell_gateways.declines import classify
from dunwell_gateways.port import RawDecline
from dunwell_retry.planning.model import Case, Decline


@dataclass(frozen=True, slots=True)
class Reading:
    """A refusal as the planner sees it.

    Args:
        observed: Name of the observed class of the model; `unknown` when the taxonomy does not know.
        hard: True when the taxonomy says that the same data can never pass.
        decided_by: Which of the four raw values decided.
    """

    observed: str
    hard: bool
    decided_by: str


@cache
def _edges() -> tuple[date, ...]:
    """Return the dates on which any row of the taxonomy starts or ends: between two of them nothing changes."""
    rows = (row for table in tables().values() for row in table.rows)
    return tuple(sorted({edge for row in rows for edge in (row.effective_from, row.effective_to) if edge is not None}))


def _since(on: date) -> date:
    """Return the first day from which on the taxonomy has said the same as on a date."""
    edges = _edges()
    place = bisect_right(edges, on)
    return edges[place - 1] if place else date.min


@lru_cache(maxsize=65536)
def _read(
    gateway_code: str, network_code: str, advice_code: str, message: str, gateway: str, network: str, on: date,
    region: str | None,
) -> Reading:  # fmt: skip
    raw = RawDecline(gateway_code, network_code, advice_code, message)
    found = classify(raw, gateway=gateway, network=network, on=on, region=region)
    return Reading(str(found.reason), bool(found.hard), str(found.decided_by))


def read(decline: Decline | None, gateway: str, network: str, on: date, region: str | None = None) -> Reading:
    """Return the reading of a refusal by an issuer of a country (`region`); of none at all, `unknown`."""
    if decline is None:
        return Reading("unknown", False, "none")
    return _read(
        decline.gateway_code or "", decline.network_code or "", decline.advice_code or "", decline.message or "",
        gateway, network, _since(on), region,
    )  # fmt: skip


def outage_since(case: Case, readings: Sequence[Reading]) -> datetime | None:
    """Return when the bank's present outage was first seen, or None when the last refusal was no outage.

    Args:
        readings: Of the first refusal and of every later one on the first method, oldest first.
    """
    first = case.methods[0].instrument_id
    times = [case.failed_at, *(sent.at for sent in case.sent if sent.instrument_id == first and not sent.approved)]
    since = None
    for at, reading in zip(reversed(times), reversed(readings), strict=True):
        if reading.observed != "outage":
            break
        since = at
    return since
