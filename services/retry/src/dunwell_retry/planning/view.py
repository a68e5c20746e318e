"""A case by the payer's own calendar, with what his past says.

Owns: the local view that every step of the planner shares. Refuses: decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from zoneinfo import ZoneInfo

import numpy as np

from dunwell_retry.planning.local import local_seconds, zone
from dunwell_retry.planning.model import Case, Past, Sent
from dunwell_retry.planning.parameters import Floats, Model
from dunwell_retry.planning.posterior import Rhythm, past_view, reason_weights, rhythm, usual_hour
from dunwell_retry.planning.reading import Reading
from dunwell_retry.planning.rhythm import PayTable, pay_table
from dunwell_retry.planning.scenarios import Columns, Rows, rows
from dunwell_retry.rules.values import quick

_DAY, _HOUR = 86400, 3600


@quick
@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The case by the payer's calendar, and what the past says.

    Args:
        failed, now, sent: Wall-clock seconds since 1970.
        usual: Local hour of the payer's own purchases, None when unknown.
        reasons: P(reason) after the codes and the past, before the results of the charges.
    """

    case: Case
    where: ZoneInfo
    table: PayTable
    failed: int
    now: int
    sent: tuple[int, ...]
    past: Rhythm
    layout: Rows
    usual: int | None
    reasons: Floats


def view_of(case: Case, now: datetime, model: Model, readings: Sequence[Reading]) -> View:
    """Return the view of a case at an instant; an unknown zone is read as UTC."""
    lasting: _Lasting | None = case.__dict__.get("lasting")
    if lasting is None or lasting.model is not model:
        lasting = case.__dict__["lasting"] = _lasting(case, model)
    where = lasting.where
    return View(
        case=case,
        where=where,
        table=lasting.table,
        failed=lasting.failed,
        now=local_seconds(now, where),
        sent=tuple(sorted([local_seconds(charge.at, where) for charge in case.sent])),
        past=lasting.past,
        layout=lasting.layout,
        usual=lasting.usual,
        reasons=reason_weights(model, case, lasting.past, readings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Lasting:
    """What a model sees in a case that no charge changes: the case keeps it and hands it on after each charge."""

    model: Model
    where: ZoneInfo
    table: PayTable
    failed: int
    past: Rhythm
    usual: int | None
    layout: Rows


def _lasting(case: Case, model: Model) -> _Lasting:
    where = zone(case.timezone) or ZoneInfo("UTC")
    failed, first = local_seconds(case.failed_at, where), case.methods[0]
    table = pay_table(first.country, failed // _DAY)
    past, usual, layout = _past(_History(case.history), where, case.gateway, first.network, failed % _DAY, table, model)
    return _Lasting(model, where, table, failed, past, usual, layout)


class _History:
    """A past as a key: equal when all of it is, hashed by its ends, as hashing every charge costs a tenth of a plan."""

    __slots__ = ("_hash", "rows")

    def __init__(self, rows: tuple[Past, ...]) -> None:
        self.rows = rows
        self._hash = hash((len(rows), rows[0].at, rows[-1].at) if rows else 0)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _History) and self.rows == other.rows


@lru_cache(maxsize=4096)
def _past(
    history: _History, where: ZoneInfo, gateway: str, network: str, due_second: int, table: PayTable, model: Model
) -> tuple[Rhythm, int | None, Rows]:
    """Return what a past says; remembered, since every decision of a case asks for the same."""
    found = past_view(history.rows, where, gateway, network)
    weighed = rhythm(model, table, found)
    return weighed, usual_hour(found, due_second), rows(model, weighed.hypotheses, weighed.weights)


def charges(view: View) -> tuple[list[int], list[bool]]:
    """Return wall-clock seconds of the first charge and of every later one on the first method; which changed route."""
    first, route = view.case.methods[0].instrument_id, view.case.routes[0]
    at, other = [view.failed], [False]
    if view.sent:
        for charge, local in zip(sorted(view.case.sent, key=attrgetter("at")), view.sent, strict=True):
            if charge.instrument_id == first:
                at.append(local)
                other.append(charge.route != route)
    return at, other


def repeats(at: Sequence[int]) -> list[float]:
    """Return how many charges after the first one were sent before each."""
    return [max(0.0, number - 1.0) for number in range(len(at))]


def gaps(at: Sequence[int]) -> list[float]:
    """Return hours since the charge before each; the first one stands alone."""
    return [30.0 * _DAY / _HOUR, *((later - before) / _HOUR for before, later in pairwise(at))]


def charged(view: View) -> Columns:
    """Return the first charge and every later one on the first method as columns."""
    at, other = charges(view)
    moments = np.array(at, dtype=np.int64)
    return Columns(moments // _DAY, moments % _DAY, np.array(repeats(at)), np.array(gaps(at)), np.array(other))


def logged_view(case: Case, sent: tuple[Sent, ...], model: Model) -> tuple[View, Columns]:
    """Return the view of a case after charges, and the columns of the refused one and of those: for fitting."""
    whole = replace(case, sent=sent)
    view = view_of(whole, case.failed_at, model, case.readings)
    return view, charged(view)
