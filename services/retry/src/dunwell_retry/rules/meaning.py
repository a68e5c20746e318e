"""What a refusal's codes mean on a day, remembered between the days on which the taxonomy changes.

Owns: the memory; a replay asks for the same few hundred refusals on every day of a year. Refuses: the taxonomy itself,
which is `dunwell_gateways.declines`.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, time
from functools import lru_cache

from dunwell_gateways.declines import Classification, classify, tables_for
from dunwell_gateways.port import RawDecline


@lru_cache(maxsize=256)
def _edges(gateway: str, network: str) -> tuple[date, ...]:
    """Return the dates on which any row of theirs starts or ends: between two of them nothing changes."""
    rows = (row for table in tables_for(gateway, network) for row in table.rows)
    return tuple(sorted({edge for row in rows for edge in (row.effective_from, row.effective_to) if edge is not None}))


# The days of ten years for a few gateways and networks: a replay asks for the same ones with every refusal.
@lru_cache(maxsize=32_768)
def since(on: date, gateway: str, network: str) -> date:
    """Return the first day from which on a gateway's and a network's codes have meant the same as on a date."""
    edges = _edges(gateway, network)
    place = bisect_right(edges, on)
    return edges[place - 1] if place else date.min


@lru_cache(maxsize=32_768)
def until(on: date, gateway: str, network: str) -> datetime:
    """Return the first later instant, in UTC, from which on they may mean something else than on a date."""
    edges = _edges(gateway, network)
    place = bisect_right(edges, on)
    return datetime.combine(edges[place] if place < len(edges) else date.max, time(), UTC)


@lru_cache(maxsize=16_384)  # distinct refusals of a month's cases
def meaning(
    gateway_code: str | None,
    network_code: str | None,
    advice_code: str | None,
    message: str | None,
    gateway: str,
    network: str,
    on: date,
    country: str | None,
) -> Classification:
    """Return what a refusal means; `on` is a day as `since` gives it, so that equal questions look equal."""
    raw = RawDecline(gateway_code or "", network_code or "", advice_code or "", message or "")
    return classify(raw, gateway=gateway, network=network, on=on, region=country)
