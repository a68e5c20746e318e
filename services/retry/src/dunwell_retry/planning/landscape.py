"""The chances over a case's whole calendar, worked out once and read again by every later plan of the case.

Owns: the grid of local hours from the failure to the horizon, and its chances under every story. Refuses: what the
charges sent meanwhile change; a bank's temper is filled in by whoever plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dunwell_retry.planning.local import GRID_DAYS, SLOT_HOURS, grid
from dunwell_retry.planning.parameters import Model
from dunwell_retry.planning.posterior import Rhythm
from dunwell_retry.planning.rhythm import PayTable
from dunwell_retry.planning.scenarios import (
    Columns,
    Ints,
    Reals,
    cycle_chances,
    cycle_grid,
    steady_chances,
    still_chances,
)

_DAY, _HOUR = 86400, 3600
_SECONDS = tuple(int(hour * _HOUR) for hour in SLOT_HOURS)
_SLOTS = len(_SECONDS)
_NONE, _NO = np.zeros(1), np.zeros(1, dtype=bool)
_SLOT_OF = {second: slot for slot, second in enumerate(_SECONDS)}


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """Chances that no charge changes, (instant, story).

    The row of an instant is its day times the slots, plus its slot; the last row is the failure's.

    Args:
        failed: Wall-clock seconds of the failure.
        first_day, days: Local days since 1970.
    """

    model: Model
    table: PayTable
    past: Rhythm
    failed: int
    first_day: int
    days: int
    chance: Reals

    def row(self, moment: int) -> int:
        """Return the row of an instant, wall-clock seconds; -1 when it is not on the grid."""
        if moment == self.failed:
            return self.days * _SLOTS
        day, slot = moment // _DAY - self.first_day, _SLOT_OF.get(moment % _DAY)
        return day * _SLOTS + slot if slot is not None and 0 <= day < self.days else -1

    def grid_rows(self, first_day: int, days: int) -> Ints:
        """Return the rows of `grid(days)` from a day on."""
        return _slots(days) + (first_day - self.first_day) * _SLOTS

    def read(self, rows: Ints, at: Ints) -> Reals:
        """Return a copy of rows; where a row is -1, the chances at that instant, worked out on the spot."""
        found = self.chance.take(rows, axis=0, mode="clip")
        for place in (rows < 0).nonzero()[0].tolist():
            found[place] = _single(self.model, self.table, self.past, self.failed, int(at[place]))
        return found


@lru_cache(maxsize=2048)  # charges of the cases at hand that were not sent on the grid
def _single(model: Model, table: PayTable, past: Rhythm, failed: int, moment: int) -> Reals:
    at = np.array([moment], dtype=np.int64)
    columns = Columns(at // _DAY, at % _DAY, _NONE, _NONE, _NO)
    return np.asarray(still_chances(model, table, past.hypotheses, columns, failed)[0])


def landscape(model: Model, table: PayTable, past: Rhythm, failed: int, first_day: int, last_day: int) -> Landscape:
    """Return the landscape that holds the grid from a day to another, from the failure on where that is not too long."""
    begin = min(failed // _DAY, first_day)
    if last_day - begin >= GRID_DAYS:
        begin = first_day
    return _landscape(model, table, past, failed, begin, last_day - begin + 1)


# Each holds some 300 kB: enough for the cases that are planned at one time, not for all that are open.
@lru_cache(maxsize=32)
def _landscape(model: Model, table: PayTable, past: Rhythm, failed: int, first_day: int, days: int) -> Landscape:
    day = np.arange(first_day, first_day + days, dtype=np.int64)
    at = np.array([failed], dtype=np.int64)
    columns = Columns(at // _DAY, at % _DAY, _NONE, _NONE, _NO)
    cycle = cycle_grid(model, table, past.hypotheses, day, _SECONDS)
    first = cycle_chances(model, table, past.hypotheses, columns)
    grid_at = (day[:, None] * _DAY + np.array(_SECONDS)).ravel()
    steady = steady_chances(model, np.concatenate([grid_at, at]), failed)
    # Filled part by part: joined twice, the largest part would be copied twice.
    cycles = cycle.shape[1]
    chance = np.empty((steady.shape[0], cycles + steady.shape[1]), dtype=np.float32)
    chance[:-1, :cycles], chance[-1, :cycles], chance[:, cycles:] = cycle, first[0], steady
    return Landscape(model, table, past, failed, first_day, days, chance)


@lru_cache(maxsize=64)
def _slots(days: int) -> Ints:
    ahead, second = grid(days)
    return np.asarray(ahead * _SLOTS + np.searchsorted(np.array(_SECONDS), second), dtype=np.int64)
