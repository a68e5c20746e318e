"""The population of the base world, drawn for all invoices at once.

Owns: who the payers are and why they failed. Refuses: what happens after the failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from dunwell_worlds import paydays, zones
from dunwell_worlds.hashing import generator
from dunwell_worlds.parameters import (
    FUNDING_SHARE,
    NETWORK_SHARE,
    NSF,
    PLACES,
    REASONS,
    TENANTS,
    Parameters,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ISSUERS = 60
_ZIPF = 1.6
_POSTING_HOURS, _POSTING_SHARE = np.array([0, 3, 6, 9]), (0.35, 0.25, 0.25, 0.15)
# Balance right after pay, in invoices: lognormal around 1.22 (fitted).
_FUNDS_LOG_MEAN, _FUNDS_LOG_SD, _FUNDS_NOISE = float(np.log(1.22)), 0.75, 0.2
# Share of failed-for-funds credit cards that follow a credit line rather than a bank balance.
_CREDIT_LINE_SHARE = 0.60
_REDRAW_ROUNDS = 60


@dataclass(frozen=True)
class Population:
    """Arrays over invoices; times are seconds since 1970, local ones by the payer's wall clock."""

    reason: Ints
    network: Ints
    funding: Ints
    amount_minor: Ints
    issuer: Ints
    place: Ints
    tenant: Ints
    due_local: Ints
    due: Ints
    failed: Ints
    usual_hour: Ints
    credit_line: Bools
    variant: Ints
    posting_hour: Ints
    funds: Floats
    funds_z: Floats
    tau_hours: Floats
    noise: NDArray[np.float32]
    risk_q: Floats
    engagement: Floats
    tenure_months: Ints


def balance_age(table: NDArray[np.int32], variant: Ints, posting: Ints, local_seconds: Ints) -> Floats:
    """Return hours since pay was last posted, for local wall-clock seconds; it counts once its hour has struck."""
    day, hour = local_seconds // 86400, local_seconds % 86400 / 3600
    effective = np.where(hour > posting, day, day - 1)
    last = table[variant, effective - paydays.FIRST_DAY]
    return np.asarray((day - last) * 24 + hour - posting, dtype=np.float64)


def population(seed: int, invoices: int, parameters: Parameters, start: date, days: int) -> Population:
    """Draw every invoice of a world whose due dates lie in [start, start + days)."""

    def choice(concern: str, shares: tuple[float, ...]) -> Ints:
        weights = np.array(shares) / sum(shares)
        return np.asarray(generator(seed, concern).choice(len(shares), invoices, p=weights), dtype=np.int64)

    ranks = np.arange(1, ISSUERS + 1, dtype=np.float64) ** -_ZIPF
    reason = choice("reason", parameters.mix)
    funding = choice("funding", FUNDING_SHARE)
    place = choice("place", tuple(share for _, _, share in PLACES))
    uniforms = generator(seed, "line").random(invoices)
    credit_line = (funding == 0) & (uniforms < _CREDIT_LINE_SHARE)
    money = _money(seed, invoices, parameters, start, days, (reason == NSF) & ~credit_line)
    due_local = money.due_local
    due = np.zeros(invoices, dtype=np.int64)
    for number, (_, zone, _) in enumerate(PLACES):
        chosen = place == number
        due[chosen] = zones.utc_seconds(zone, due_local[chosen])
    amount = np.clip(np.exp(generator(seed, "amount").normal(np.log(28), 0.9, invoices)), 3, 600)
    beta = generator(seed, "risk").beta(0.58, 3.1, invoices)
    idle = generator(seed, "idle").random(invoices) < 0.5
    # Charged a few minutes after the full hour at which the batch is due.
    late = generator(seed, "late").integers(20, 1500, invoices)
    return Population(
        reason=reason,
        network=choice("network", NETWORK_SHARE),
        funding=funding,
        amount_minor=np.round(amount * 100).astype(np.int64),
        issuer=choice("issuer", tuple((ranks / ranks.sum()).tolist())),
        place=place,
        tenant=choice("tenant", tuple(share for _, share, _ in TENANTS)),
        due_local=due_local,
        due=due,
        failed=due + late,
        usual_hour=np.clip(np.round(generator(seed, "hour").normal(15, 4, invoices)), 6, 23).astype(np.int64),
        credit_line=credit_line,
        variant=money.variant,
        posting_hour=money.posting,
        funds=money.funds,
        funds_z=(np.log(money.funds) - _FUNDS_LOG_MEAN) / _FUNDS_LOG_SD,
        tau_hours=money.tau,
        noise=money.noise,
        risk_q=np.clip(beta * np.array([1.2, 0.85, 0.85])[funding], 0, 0.97),
        engagement=np.where(idle, 0.05, generator(seed, "engagement").gamma(2, 0.75, invoices)),
        tenure_months=generator(seed, "tenure").integers(6, 25, invoices),
    )


@dataclass(frozen=True)
class _Money:
    due_local: Ints
    variant: Ints
    posting: Ints
    funds: Floats
    tau: Floats
    noise: NDArray[np.float32]


def _due(rng: np.random.Generator, count: int, start: date, days: int) -> Ints:
    """Draw local due instants: 42 % in the first six hours (batch billing), the rest over the day."""
    day = (start - paydays.EPOCH).days + rng.integers(0, days, count)
    batch = rng.random(count) < 0.42
    hour = np.where(batch, rng.integers(0, 6, count), rng.integers(0, 24, count))
    return np.asarray(day * 86400 + hour * 3600, dtype=np.int64)


def _money(seed: int, count: int, parameters: Parameters, start: date, days: int, short: Bools) -> _Money:
    """Draw pay cycles and due dates; payers who are `short` fell due while they could not pay.

    Redrawing the date, and not the payer, over-represents bills that come just before pay day, as in life.
    """
    table, shares, cycle_of = paydays.variants(parameters.calendar)
    rng = generator(seed, "money")
    variant = rng.choice(shares.size, count, p=shares / shares.sum())
    if parameters.calendar == "real":
        posting = rng.choice(_POSTING_HOURS, count, p=_POSTING_SHARE)
    else:
        posting = rng.integers(0, 24, count)
    tau = rng.uniform(0.10, 0.60, count) * np.array(paydays.CYCLE_HOURS)[cycle_of[variant]]
    funds = np.exp(rng.normal(_FUNDS_LOG_MEAN, _FUNDS_LOG_SD, count))
    # One value per 12 hours over 31 days after the failure.
    noise = (generator(seed, "noise").standard_normal((count, 62), dtype=np.float32) * _FUNDS_NOISE).astype(np.float32)
    due_local = _due(rng, count, start, days)
    redraw = generator(seed, "redraw")
    open_ = np.flatnonzero(short)
    for turn in range(2 * _REDRAW_ROUNDS):
        age = balance_age(table, variant[open_], posting[open_], due_local[open_])
        open_ = open_[funds[open_] * np.exp(-age / tau[open_]) + noise[open_, 0] >= 1]
        if open_.size == 0:
            break
        if turn >= _REDRAW_ROUNDS:  # this payer is never short: draw another one
            funds[open_] = np.exp(redraw.normal(_FUNDS_LOG_MEAN, _FUNDS_LOG_SD, open_.size))
        due_local[open_] = _due(redraw, open_.size, start, days)
    return _Money(due_local, variant, posting, funds, tau, noise)


def describe(population_: Population) -> dict[str, float]:
    """Return the share of each reason, for reports and tests."""
    counts = np.bincount(population_.reason, minlength=len(REASONS)) / max(1, population_.reason.size)
    return dict(zip(REASONS, counts.tolist(), strict=True))
