"""The instants at which a charge may be planned.

Owns: the local grid ahead, an outage ladder, a second route's noons, and their chances. Refuses: choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from dunwell_retry.planning.landscape import Landscape, landscape
from dunwell_retry.planning.local import GRID_DAYS, grid, local_seconds
from dunwell_retry.planning.parameters import Model
from dunwell_retry.planning.scenarios import Columns, Ints, Reals, fill_changing
from dunwell_retry.planning.view import View, charges, gaps, repeats
from dunwell_retry.policies.document import Policy
from dunwell_retry.rules.values import quick

_DAY, _HOUR = 86400, 3600
# Time for a decision to reach the bank.
_LEAD_SECONDS = 300
_NOON, _NOONS = 12 * _HOUR, 14


@quick
@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Instants and their chances.

    Args:
        at: Wall-clock seconds.
        ordered: How many of them, the first ones, are in order of time.
        allowed: Which are still ahead.
        ladder: The columns of the outage ladder.
        other_route: Which go through another processor than the first one.
        chance: P(approve), (instant, story).
        refused: The same of the first charge and of every later one on the first method.
    """

    at: Ints
    ordered: int
    allowed: NDArray[np.bool_]
    ladder: Sequence[int]
    other_route: NDArray[np.bool_]
    chance: Reals
    refused: Reals


def candidates(view: View, policy: Policy, model: Model, outage: datetime | None) -> Candidates:
    """Return the candidates from the present instant to the end of the policy's horizon.

    Args:
        outage: Since when the bank is out of order, if it is.
    """
    first_day = view.now // _DAY
    end = min(local_seconds(view.case.deadline, view.where), view.failed + int(policy.horizon_days * _DAY))
    days = min(GRID_DAYS, max(1, end // _DAY - first_day + 1))
    land = landscape(model, view.table, view.past, view.failed, first_day, first_day + days - 1)
    ahead, second = grid(days)
    at = (ahead + first_day) * _DAY + second
    rows, ordered = land.grid_rows(first_day, days), at.size
    noons = (second == _NOON).nonzero()[0][:_NOONS] if _another_route(view) else None
    ladder = range(0)
    if outage is not None and policy.outage_ladder_hours:
        since = local_seconds(outage, view.where)
        later = [since + int(hours * _HOUR) for hours in policy.outage_ladder_hours]
        ladder = range(at.size, at.size + len(later))
        at, rows = np.concatenate([at, later]), np.concatenate([rows, [land.row(moment) for moment in later]])
    direct = at.size
    if noons is not None:
        at, rows = np.concatenate([at, at[noons]]), np.concatenate([rows, rows[noons]])
    other = np.zeros(at.size, dtype=bool)
    other[direct:] = True
    allowed = (at > view.now + _LEAD_SECONDS) & (at <= end)
    chance, tried = _chances(view, model, land, at, rows, other)
    return Candidates(at, ordered, allowed, ladder, other, chance[tried:], chance[:tried])


def _another_route(view: View) -> bool:
    routes = view.case.routes
    return len(routes) > 1 and all(charge.route == routes[0] for charge in view.case.sent)


def _chances(
    view: View, model: Model, land: Landscape, at: Ints, rows: Ints, other: NDArray[np.bool_]
) -> tuple[Reals, int]:
    """Return P(approve), (instant, story), of the charges that were sent and then of the candidates; how many sent."""
    sent, sent_other = charges(view)
    tried = len(sent)
    every = np.concatenate([sent, at])
    chance = land.read(np.concatenate([[land.row(moment) for moment in sent], rows]), every)
    last = view.sent[-1] if view.sent else view.failed
    repeat, since = np.full(every.size, float(len(view.sent))), (every - last) / _HOUR
    repeat[:tried], since[:tried] = repeats(sent), gaps(sent)
    columns = Columns(every // _DAY, every % _DAY, repeat, since, np.concatenate([sent_other, other]))
    fill_changing(model, chance, view.layout.cycles, columns, view.usual)
    return chance, tried
