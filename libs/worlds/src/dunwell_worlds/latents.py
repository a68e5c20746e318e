"""When a hidden obstacle goes away, for the reasons that have such an instant.

Owns: the clearing instants. Refuses: balances, which come and go with pay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dunwell_worlds import zones
from dunwell_worlds.draws import Ints, Population
from dunwell_worlds.hashing import generator
from dunwell_worlds.parameters import EXPIRED, LIMIT, NSF, OUTAGE, PLACES, Parameters

_DAY, _HOUR = 86400, 3600
_NEVER = float("inf")


@dataclass(frozen=True)
class Latents:
    """Seconds since 1970 by invoice; infinity = never."""

    clear: list[float]
    refill: list[float]


def latents(seed: int, people: Population, parameters: Parameters) -> Latents:
    """Draw the clearing instant of every invoice that has one."""
    del parameters  # clearing is the same in every variant
    rng = generator(seed, "latents")
    count = people.reason.size
    uniforms = rng.random(count)
    exponential, second = rng.exponential(10 * _DAY, count), rng.exponential(8 * _DAY, count)
    lognormal = np.exp(rng.normal(np.log(3), 1.2, count)) * _HOUR
    geometric = rng.geometric(0.25, count)
    failed = people.failed.astype(np.float64)
    clear = np.full(count, _NEVER)
    line = (people.reason == NSF) & people.credit_line
    clear = np.where(line & (uniforms >= 0.28), failed + exponential, clear)
    clear = np.where(people.reason == OUTAGE, failed + lognormal, clear)
    updated = (people.reason == EXPIRED) & (uniforms < 0.35)
    clear = np.where(updated, failed + (1 + geometric) * _DAY, clear)
    clear = np.where(people.reason == LIMIT, _limit(people, uniforms), clear)
    return Latents(clear.tolist(), (clear + second).tolist())


def _limit(people: Population, uniforms: np.ndarray) -> np.ndarray:
    """Return the next local midnight (.55), Monday (.25) or first of the month (.20)."""
    day: Ints = people.due_local // _DAY
    monday = day + 7 - (day + 3) % 7
    month = day.astype("datetime64[D]").astype("datetime64[M]")
    first = (month + 1).astype("datetime64[D]").astype(np.int64)
    chosen = np.where(uniforms < 0.55, day + 1, np.where(uniforms < 0.80, monday, first)) * _DAY
    utc = np.zeros(chosen.size, dtype=np.int64)
    for number, (_, zone, _) in enumerate(PLACES):
        here = people.place == number
        utc[here] = zones.utc_seconds(zone, chosen[here])
    return utc.astype(np.float64)
