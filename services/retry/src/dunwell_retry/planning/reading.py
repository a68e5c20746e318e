"""What a refusal means to the model: the canonical reason, and whether it is final.

Owns: the step from the taxonomy's answer to the model's observed classes. Refuses: codes; those are data in
`dunwell_gateways`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

from dunwell_retry.planning.model import Case, Decline
from dunwell_retry.rules.meaning import meaning, since


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


@lru_cache(maxsize=65536)
def _read(
    gateway_code: str | None, network_code: str | None, advice_code: str | None, message: str | None, gateway: str,
    network: str, on: date, region: str | None,
) -> Reading:  # fmt: skip
    found = meaning(gateway_code, network_code, advice_code, message, gateway, network, on, region)
    return Reading(str(found.reason), bool(found.hard), str(found.decided_by))


def read(decline: Decline | None, gateway: str, network: str, on: date, region: str | None = None) -> Reading:
    """Return the reading of a refusal by an issuer of a country (`region`); of none at all, `unknown`."""
    if decline is None:
        return Reading("unknown", False, "none")
    return _read(
        decline.gateway_code, decline.network_code, decline.advice_code, decline.message, gateway, network, since(on),
        region,
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
