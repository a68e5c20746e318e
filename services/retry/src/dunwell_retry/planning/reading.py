"""What a refusal means to the model: the canonical reason, and whether it is final.

Owns: the step from the taxonomy's answer to the model's observed classes. Refuses: codes; those are data in
`dunwell_gateways`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from dunwell_retry.rules.meaning import meaning, since

if TYPE_CHECKING:  # a case keeps its readings, so that its module imports this one
    from dunwell_retry.planning.model import Case, Decline, Sent


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
        decline.gateway_code, decline.network_code, decline.advice_code, decline.message, gateway, network,
        since(on, gateway, network), region,
    )  # fmt: skip


def readings_of(case: Case) -> tuple[Reading, ...]:
    """Return the readings of the first refusal and of every later one on the first method.

    What another method was refused for says nothing about this one.
    """
    known = case.decline if case.failed_on is None else None
    first = case.methods[0]
    found: tuple[Reading, ...] = (read(known, case.gateway, first.network, case.failed_at.date(), first.country),)
    for charge in case.sent:
        found = one_more(found, case, known, charge)
        if _counts(case, charge):
            known = charge.decline
    return found


def one_more(found: tuple[Reading, ...], case: Case, known: Decline | None, charge: Sent) -> tuple[Reading, ...]:
    """Return the readings after one more charge.

    Args:
        known: The refusal that the last reading is of.
    """
    if not _counts(case, charge):
        return found
    # Refusals mostly repeat the one before. The gate reads each by its own date; for a posterior one reading will do.
    if charge.decline is known or charge.decline == known:
        return (*found, found[-1])
    first = case.methods[0]
    return (*found, read(charge.decline, case.gateway, first.network, charge.at.date(), first.country))


def _counts(case: Case, charge: Sent) -> bool:
    return not charge.approved and charge.instrument_id == case.methods[0].instrument_id


def outage_since(case: Case, readings: Sequence[Reading]) -> datetime | None:
    """Return when the bank's present outage was first seen, or None when the last refusal was no outage.

    Args:
        readings: Of the first refusal and of every later one on the first method, oldest first.
    """
    if not readings or readings[-1].observed != "outage":
        return None
    first = case.methods[0].instrument_id
    times = [case.failed_at, *(sent.at for sent in case.sent if sent.instrument_id == first and not sent.approved)]
    since = None
    for at, reading in zip(reversed(times), reversed(readings), strict=True):
        if reading.observed != "outage":
            break
        since = at
    return since
