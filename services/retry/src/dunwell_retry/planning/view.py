"""A case by the payer's own calendar, with what his past says.

Owns: the local view that every step of the planner shares. Refuses: decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from dunwell_retry.planning.local import local_seconds, zone
from dunwell_retry.planning.model import Case, Past, Sent
from dunwell_retry.planning.parameters import Floats, Model
from dunwell_retry.planning.posterior import Rhythm, past_view, readings_of, reason_weights, rhythm, usual_hour
from dunwell_retry.planning.reading import Reading
from dunwell_retry.planning.rhythm import PayTable, pay_table
from dunwell_retry.planning.scenarios import Columns, Rows, rows

_DAY, _HOUR = 86400, 3600


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
    where = zone(case.timezone) or ZoneInfo("UTC")
    failed = local_seconds(case.failed_at, where)
    first = case.methods[0]
    table = pay_table(first.country, failed // _DAY)
    past, usual = _past(case.history, where, case.gateway, first.network, failed % _DAY, table, model)
    return View(
        case=case,
        where=where,
        table=table,
        failed=failed,
        now=local_seconds(now, where),
        sent=tuple(sorted(local_seconds(charge.at, where) for charge in case.sent)),
        past=past,
        layout=rows(model, past.hypotheses, past.weights),
        usual=usual,
        reasons=reason_weights(model, case, past, readings),
    )


@lru_cache(maxsize=4096)
def _past(
    history: tuple[Past, ...], where: ZoneInfo, gateway: str, network: str, due_second: int, table: PayTable,
    model: Model,
) -> tuple[Rhythm, int | None]:  # fmt: skip
    """Return what a past says; remembered, since every decision of a case asks for the same."""
    found = past_view(history, where, gateway, network)
    return rhythm(model, table, found), usual_hour(found, due_second)


def charged(view: View) -> Columns:
    """Return the first charge and every later one on the first method as columns."""
    first = view.case.methods[0].instrument_id
    at, other = [view.failed], [False]
    if view.sent:
        for charge, local in zip(sorted(view.case.sent, key=lambda entry: entry.at), view.sent, strict=True):
            if charge.instrument_id == first:
                at.append(local)
                other.append(charge.route != view.case.routes[0])
    moments = np.array(at, dtype=np.int64)
    gaps = np.diff(moments, prepend=moments[0] - 30 * _DAY) / _HOUR
    repeat = np.maximum(0.0, np.arange(moments.size) - 1.0)
    return Columns(moments // _DAY, moments % _DAY, repeat, gaps, np.array(other))


def logged_view(case: Case, sent: tuple[Sent, ...], model: Model) -> tuple[View, Columns]:
    """Return the view of a case after charges, and the columns of the refused one and of those: for fitting."""
    whole = replace(case, sent=sent)
    view = view_of(whole, case.failed_at, model, readings_of(case))
    return view, charged(view)
