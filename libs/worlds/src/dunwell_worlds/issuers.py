"""What issuing banks do to everybody's charges: nights, maintenance, outages, drift.

Owns: the factor an issuer applies at an hour and whether it is down. Refuses: any payer.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date

import numpy as np

from dunwell_worlds.draws import ISSUERS
from dunwell_worlds.hashing import generator
from dunwell_worlds.parameters import Parameters
from dunwell_worlds.paydays import EPOCH

MAINTENANCE_FACTOR = 0.35
_MAINTENANCE_SHARE = 0.30
_NIGHT_HOURS = 6
# Every 60 days one issuer in ten draws its night effect anew.
DRIFT_DAYS, _DRIFT_SHARE = 60, 0.10
_MONTH_HOURS = 730.0


class Issuers:
    """The issuers of one world; hours are whole hours since 1970."""

    def __init__(self, seed: int, parameters: Parameters, start: date, days: int) -> None:
        self._first_day = (start - EPOCH).days
        epochs = (days + 60) // DRIFT_DAYS + 1
        rng = generator(seed, "issuers")
        night = np.empty((epochs, ISSUERS))
        current = rng.normal(0, 0.10, ISSUERS)
        for epoch in range(epochs):
            if epoch:
                redrawn = rng.random(ISSUERS) < _DRIFT_SHARE
                current = np.where(redrawn, rng.normal(0, 0.10, ISSUERS), current)
            night[epoch] = 1 + np.clip(current * parameters.night_sign, -0.25, 0.20)
        self._night = night.tolist()
        maintained = generator(seed, "maintenance").random(ISSUERS) < _MAINTENANCE_SHARE
        self._maintained = maintained.tolist()
        self._maintenance = frozenset(parameters.maintenance_hours)
        self._outages = _outages(seed, parameters.outages_per_issuer_month, self._first_day, days)

    def factor(self, issuer: int, utc_hour: int, local_hour: int) -> float:
        """Return the multiplier of the chance of approval at a local hour of the day."""
        factor = 1.0
        if local_hour < _NIGHT_HOURS:
            epoch = min(len(self._night) - 1, max(0, (utc_hour // 24 - self._first_day) // DRIFT_DAYS))
            factor = float(self._night[epoch][issuer])
        if local_hour in self._maintenance and self._maintained[issuer]:
            factor *= MAINTENANCE_FACTOR
        return factor

    def maintained(self, issuer: int, local_hour: int) -> bool:
        """Tell whether the issuer is in its daily maintenance."""
        return local_hour in self._maintenance and self._maintained[issuer]

    def down(self, issuer: int, utc_hour: int) -> bool:
        """Tell whether the whole issuer is out of order."""
        starts, ends = self._outages[issuer]
        at = bisect_right(starts, utc_hour)
        return at > 0 and utc_hour < ends[at - 1]


def _outages(seed: int, per_month: float, first_day: int, days: int) -> list[tuple[list[int], list[int]]]:
    """Draw each issuer's outages of 1 to 12 hours over the world's span and the horizon after it."""
    rng = generator(seed, "outages")
    hours = (days + 62) * 24
    outages = []
    for _ in range(ISSUERS):
        count = int(rng.poisson(per_month * hours / _MONTH_HOURS))
        starts = np.sort(first_day * 24 + rng.integers(0, hours, count))
        ends = np.maximum.accumulate(starts + rng.integers(1, 13, count)) if count else starts
        outages.append((starts.tolist(), ends.tolist()))
    return outages
