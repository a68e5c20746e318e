"""How likely each hidden story is, given the codes, the advice, the funding, the past and the charges so far.

Owns: Bayes' rule over the rows of `scenarios`. Refuses: when to charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from dunwell_retry.planning.local import local_seconds
from dunwell_retry.planning.model import Case, Past
from dunwell_retry.planning.parameters import FUNDINGS, REASONS, Floats, Model
from dunwell_retry.planning.reading import Reading, read
from dunwell_retry.planning.rhythm import HYPOTHESES, PERIOD_HOURS, PRIOR, PayTable
from dunwell_retry.planning.scenarios import CYCLE, LINE, Ints, Reals, Rows, ages

# Older payments say little about today's job.
_PAST_DAYS_MAX = 760
# Hypotheses that together carry less than this are dropped: they cost time and change nothing.
_DROPPED_SHARE, _KEPT_MAX, _KEPT_BLIND = 0.02, 36, 60
_TINY = 1e-12
# Purchases in person tell the usual hour; fewer than this tell nothing.
_HOURS_NEEDED = 3


@dataclass(frozen=True, slots=True, eq=False)
class PastView:
    """A payer's past as arrays by the local calendar.

    Args:
        kind: 0 approved, 1 refused for funds, 2 refused without a reason.
    """

    day: Ints
    second: Ints
    kind: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Rhythm:
    """What the past says: weights of the kept hypotheses, and log evidence for kinds of reasons.

    Args:
        cycle, line, other: Log likelihood of the past under a pay cycle, a credit line, neither.
    """

    hypotheses: Ints
    weights: Floats
    cycle: float
    line: float
    other: float


_FUNDS, _UNCLEAR = ("insufficient_funds", "limit_velocity"), ("generic_refusal", "unknown")


def past_view(history: Sequence[Past], where: ZoneInfo, gateway: str, network: str) -> PastView:
    """Return the past that speaks about funds, by the payer's wall clock."""
    if not history:
        return PastView(*np.zeros((3, 0), dtype=np.int64))
    oldest = max(payment.at for payment in history) - timedelta(days=_PAST_DAYS_MAX)
    rows: list[tuple[int, int]] = []
    for payment in history:
        if payment.at < oldest:
            continue
        if payment.approved:
            rows.append((local_seconds(payment.at, where), 0))
            continue
        observed = read(payment.decline, gateway, network, payment.at.date()).observed
        if observed in _FUNDS or observed in _UNCLEAR:
            rows.append((local_seconds(payment.at, where), 1 if observed in _FUNDS else 2))
    array = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return PastView(array[:, 0] // 86400, array[:, 0] % 86400, array[:, 1])


_ALL = np.arange(len(HYPOTHESES), dtype=np.int64)
_LOG_PRIOR: Floats = np.log(PRIOR)


def rhythm(model: Model, table: PayTable, past: PastView) -> Rhythm:
    """Weigh the pay hypotheses by the past.

    Each past charge finds money with a chance that falls with the age of the last pay; how fast is the payer's level,
    summed over. The likelihood is tempered: charges of one month are not independent.
    """
    if past.day.size == 0:
        return _kept(PRIOR, _KEPT_BLIND, 0.0, 0.0, 0.0)
    numbers, temper = model.past, model.past["temper"]
    age, today = ages(table, _ALL, past.day, past.second)
    fraction = age / PERIOD_HOURS
    booked = np.where(today, model.posted[past.second // 3600][:, None], 1.0).astype(np.float32)
    approved, generic = past.kind == 0, past.kind == 2
    # Cubed, so that money lasts about `level` of a period and is then gone soon.
    cubed = fraction * fraction * fraction
    chance = cubed[None, :, :] * (model.levels.astype(np.float32) ** -3)[:, None, None]
    chance += 1
    # One array is filled again and again: allocating it six times would cost more than the sums.
    np.divide(booked[None, :, :], chance, out=chance)
    scale = np.where(approved, 0.95, np.where(generic, -numbers["generic_code"], -numbers["funds_code"]))
    offset = np.where(
        approved,
        0.02,
        np.where(generic, numbers["generic_code"] + numbers["other_refusal"], numbers["funds_code"] + 0.005),
    )
    chance *= scale.astype(np.float32)[None, :, None]
    chance += offset.astype(np.float32)[None, :, None]
    likelihood = np.log(chance, out=chance).sum(axis=1).astype(np.float64) * temper
    peak = likelihood.max(axis=0)
    mixed = peak + np.log((model.level_weights[:, None] * np.exp(likelihood - peak)).sum(axis=0))
    joint = _LOG_PRIOR + mixed
    top = joint.max()
    weights = np.exp(joint - top)
    counts = np.bincount(past.kind, minlength=3)
    line = temper * float(counts @ np.log((0.86, 0.09, 0.05)))
    other = temper * float(counts @ np.log((0.955, 0.01, 0.035)))
    return _kept(weights / weights.sum(), _KEPT_MAX, float(top + np.log(weights.sum())), line, other)


def _kept(weights: Floats, most: int, cycle: float, line: float, other: float) -> Rhythm:
    order = np.argsort(-weights, kind="stable")[:most]
    enough = int(np.searchsorted(np.cumsum(weights[order]), 1 - _DROPPED_SHARE)) + 1
    kept = np.sort(order[:enough])
    return Rhythm(kept, weights[kept] / weights[kept].sum(), cycle, line, other)


def usual_hour(past: PastView, due_second: int) -> int | None:
    """Return the local hour of the payer's own purchases, or None when the past does not tell it.

    Charges at the hour of the renewal are the merchant's habit and not the payer's.
    """
    apart = np.abs(past.second - due_second)
    own = (past.kind == 0) & (np.minimum(apart, 86400 - apart) > 5400)
    if int(own.sum()) < _HOURS_NEEDED:
        return None
    angle = past.second[own] / 86400 * 2 * np.pi
    mean = np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())
    return int(mean / (2 * np.pi) * 24 % 24)


def reason_weights(model: Model, case: Case, past: Rhythm, readings: Sequence[Reading]) -> Floats:
    """Return P(reason) after the codes of all refusals and the past, over `REASONS`."""
    funding = case.methods[0].funding if case.methods[0].funding in FUNDINGS else "none"
    telling = [reading.observed for reading in readings[:1]]
    for reading in readings[1:]:
        # Issuers mostly repeat themselves: a further refusal counts only when it says something new.
        # An outage met later is the bank's and says nothing about this failure.
        if reading.observed not in telling and reading.observed != "outage":
            telling.append(reading.observed)
    return _reason_weights(model, funding, past, tuple(telling))


@lru_cache(maxsize=4096)  # most refusals repeat the one before, so that the answer is the same again
def _reason_weights(model: Model, funding: str, past: Rhythm, observed: tuple[str, ...]) -> Floats:
    log = np.log(model.prior[funding] + _TINY)
    evidence = np.full(len(REASONS), past.other)
    evidence[CYCLE], evidence[LINE] = past.cycle, past.line
    log = log + evidence
    for number, name in enumerate(observed):
        column = model.observed.get(name, model.observed["unknown"])
        log = log + np.log(model.emission[:, column]) * (1.0 if number == 0 else model.persistence)
    weights = np.exp(log - log.max())
    shares: Floats = np.asarray(weights / weights.sum())
    shares.flags.writeable = False
    return shares


def row_weights(layout: Rows, reasons: Floats, refused: Reals, advice: Floats | None = None) -> Floats:
    """Return P(story) given that the charges whose chances are `refused` (charge, row) did not pass."""
    weights = reasons[layout.reason] * layout.within
    if advice is not None:
        weights = weights * advice
        # Advice tells which rhythm, not whether there is one.
        cycle = weights[: layout.cycles]
        total = float(cycle.sum())
        if total > 0:
            cycle *= reasons[CYCLE] / total
    weights = weights * np.multiply.reduce(1 - refused, axis=0)
    total = float(weights.sum())
    if total <= 0:
        return np.full(weights.size, 1 / weights.size)
    return np.asarray(weights / total)


def advice_factors(model: Model, table: PayTable, layout: Rows, day: int, advised_hours: float) -> Floats:
    """Return a factor per row: pay hypotheses whose next pay day lies near the advised interval count more."""
    factors = np.ones(layout.reason.size)
    row = int(table.rows(np.array([day + 1]))[0])
    ahead = (table.next[row][layout.hypothesis[: layout.cycles]] - day) * 24
    near = np.abs(ahead - advised_hours) <= max(24.0, 0.2 * advised_hours)
    factors[: layout.cycles] = np.where(near, model.advice_factor, 1.0)
    return factors
