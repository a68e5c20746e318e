"""Numbers of a run and paired differences between runs.

Owns: rates, percentiles, bootstrap intervals, calibration. Refuses: running anything.
The denominator is always the failed invoices that entered recovery; a payer who cancels counts as lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dunwell_retry.backtest.runner import EMAIL_COST_MINOR_USD, Outcome
from dunwell_retry.planning.parameters import shipped

Floats = NDArray[np.float64]
# Resamples of the bootstrap: the interval's ends move by less than a tenth of their width.
_RESAMPLES = 2000
# What a lost subscriber was still worth, in monthly amounts. Source: stripe.com/blog/how-we-built-it-smart-retries
# (a recovered subscription goes on for seven months on average); a margin of one half is assumed.
_MONTHS_LOST, _MARGIN = 7, 0.5
_DELAY_PER_DAY = 0.005
_DAY_SECONDS = 86400.0
_BINS = 10
# Least number of pairs of which a difference is called significant. The bootstrap's interval is narrower than the truth
# when pairs are few: as wide as a normal one with the sample's own deviation, which covers 90 % with 10 pairs, 94 %
# with 30 (Student's t of 9 and of 29 degrees at 1.96 * sqrt((n - 1) / n)), where it says 95.
PAIRS_MIN = 30
# Least number of those that differ at all: five that all differ one way come by chance in 2 of 2^5 = 6 % of cases, so
# that no two-sided test at 5 % can tell; six come in 3 %.
DIFFERING_MIN = 6


def usd_minor(outcome: Outcome) -> float:
    """Return the invoice's amount in US cents; an unknown currency counts one to one."""
    minor, rate = _rate_of(outcome.currency)
    return outcome.amount_minor / minor * 100 * rate


@cache
def _rate_of(currency: str) -> tuple[int, float]:
    """Return minor units in one unit of a currency, and US dollars for one unit."""
    minor = 1 if currency in ("JPY", "KRW", "CLP", "VND") else 100
    return minor, shipped().usd_per_unit.get(currency, 1.0)


def days_to_recovery(outcome: Outcome) -> float | None:
    """Return days from the failure to the approval or the payer's payment; None when lost."""
    at = outcome.recovered_at or outcome.paid_at
    return None if at is None else (at - outcome.failed_at).total_seconds() / _DAY_SECONDS


def _rate(part: float, whole: float) -> float | None:
    return None if whole == 0 else round(part / whole, 6)


def net_value(outcome: Outcome) -> float:
    """Return US cents won: the amount less delay, fees and messages; a cancellation costs what was still to come."""
    return _net(outcome, _fees(outcome), usd_minor(outcome), days_to_recovery(outcome))


def _fees(outcome: Outcome) -> int:
    return sum([attempt.cost_minor_usd for attempt in outcome.attempts])


def _net(outcome: Outcome, fees: int, worth: float, days: float | None) -> float:
    cost = fees + outcome.contacts * EMAIL_COST_MINOR_USD
    if outcome.canceled:
        return -cost - worth * _MONTHS_LOST * _MARGIN
    return -cost if days is None else worth * (1 - _DELAY_PER_DAY * days) - cost


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of one policy; rates lie in 0..1, money is US cents."""
    count = len(outcomes)
    won = [outcome for outcome in outcomes if outcome.recovered_at is not None]
    ended = [days_to_recovery(outcome) for outcome in outcomes]
    kept = [day for day in ended if day is not None]
    attempts = sum(len(outcome.attempts) for outcome in outcomes)
    paid = [_fees(outcome) for outcome in outcomes]
    fees = sum(paid)
    days = sorted(
        day
        for outcome, day in zip(outcomes, ended, strict=True)
        if day is not None and outcome.recovered_at is not None
    )
    values = [usd_minor(outcome) for outcome in outcomes]
    value = sum(values)
    value_won = sum(
        [worth for outcome, worth in zip(outcomes, values, strict=True) if outcome.recovered_at is not None]
    )
    contacts = sum(outcome.contacts for outcome in outcomes)
    never = sum(outcome.never_retry for outcome in outcomes)
    cap = sum(outcome.over_cap for outcome in outcomes)
    return {
        "recovered_rate": _rate(len(won), count),
        "recovered_value_rate": _rate(value_won, value),
        "kept_rate": _rate(len(kept), count),
        "paid_by_payer_rate": _rate(sum(outcome.paid_at is not None for outcome in outcomes), count),
        "attempts_per_invoice": _rate(attempts, count),
        "attempts_per_recovery": _rate(attempts, len(won)),
        "median_days": round(float(np.percentile(days, 50)), 3) if days else None,
        "p90_days": round(float(np.percentile(days, 90)), 3) if days else None,
        "violations": never + cap,
        "never_retry_violations": never,
        "over_cap_attempts": cap,
        "fees_minor_usd": fees,
        "fees_minor_usd_per_1000": _rate(fees * 1000, count),
        "net_value_minor_usd": round(sum(map(_net, outcomes, paid, values, ended))),
        "contacts": contacts,
        "contacts_per_recovery": _rate(contacts, len(kept)),
        "cancels_rate": _rate(sum(outcome.canceled for outcome in outcomes), count),
        "complaints_per_1000": _rate(1000 * sum(outcome.complaints for outcome in outcomes), count),
        "opt_outs_rate": _rate(sum(outcome.opted_out for outcome in outcomes), count),
        "by_funding": _groups(outcomes, won, "funding"),
        "by_country": _groups(outcomes, won, "country"),
        "by_code": _groups(outcomes, won, "observed_code", "none"),
        "by_hidden_reason": _groups(outcomes, won, "hidden_reason", "unknown"),
        "curve_by_day": curve(kept, count),
        "by_attempt_number": _by_number(outcomes),
        "calibration": calibration(outcomes),
    }


def _groups(
    outcomes: Sequence[Outcome], won: Sequence[Outcome], field: str, absent: str = ""
) -> dict[str, dict[str, float | int | None]]:
    """Return size and rate by the values of a field; `absent` stands for an empty one."""
    name = attrgetter(field)
    every, recovered = Counter(map(name, outcomes)), Counter(map(name, won))
    named = sorted({value or absent for value in every})
    found: dict[str, dict[str, float | int | None]] = {}
    for key in named:
        values = [value for value in every if (value or absent) == key]
        size = sum(every[value] for value in values)
        found[key] = {"invoices": size, "recovered_rate": _rate(sum(recovered[value] for value in values), size)}
    return found


def curve(days: Sequence[float], count: int) -> list[float]:
    """Return the share of `count` invoices recovered or paid by the end of day 0, 1, … 30, from the days it took."""
    ended = np.array(days)
    return [round(float((ended <= day).sum()) / max(1, count), 5) for day in range(31)]


def _by_number(outcomes: Sequence[Outcome]) -> list[dict[str, float | int | None]]:
    lengths = Counter([len(outcome.attempts) for outcome in outcomes])
    won = Counter(
        [number for outcome in outcomes for number, attempt in enumerate(outcome.attempts) if attempt.approved]
    )
    sent = [
        sum(count for length, count in lengths.items() if length > number) for number in range(max(lengths, default=0))
    ]
    return [{"sent": count, "approved_rate": _rate(won[number], count)} for number, count in enumerate(sent)]


def calibration(outcomes: Sequence[Outcome]) -> list[dict[str, float | int]]:
    """Return expected against real approval by tenth of the planner's P(approve); empty without a model."""
    pairs = np.array(
        [
            (entry.chance, entry.approved)
            for outcome in outcomes
            for entry in outcome.attempts
            if entry.chance is not None
        ]
    ).reshape(-1, 2)
    rows: list[dict[str, float | int]] = []
    for number in range(_BINS):
        low, high = number / _BINS, (number + 1) / _BINS
        chosen = pairs[(pairs[:, 0] >= low) & ((pairs[:, 0] < high) | (number == _BINS - 1))]
        if len(chosen):
            expected, real = chosen.mean(axis=0)
            rows.append({"expected": round(float(expected), 4), "real": round(float(real), 4), "attempts": len(chosen)})
    return rows


def difference(policy: Sequence[Outcome], baseline: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """Return policy minus baseline on the same invoices, with 95 % bootstrap intervals."""
    assert [one.invoice_id for one in policy] == [one.invoice_id for one in baseline]
    won = _paired(policy, baseline, lambda outcome: float(outcome.recovered_at is not None))
    sent = _paired(policy, baseline, lambda outcome: float(len(outcome.attempts)))
    worth = _paired(policy, baseline, net_value)
    total = sum(usd_minor(outcome) for outcome in baseline) / max(1, len(baseline))
    value = _paired(policy, baseline, lambda outcome: usd_minor(outcome) * (outcome.recovered_at is not None)) / total
    rng = np.random.default_rng(seed)
    return {
        "recovered_rate": interval(won, rng),
        "recovered_value_rate": interval(value, rng),
        "attempts_per_invoice": interval(sent, rng),
        "net_value_minor_usd_per_invoice": interval(worth, rng),
        "only_policy": int((won > 0).sum()),
        "only_baseline": int((won < 0).sum()),
        "pairs": int(won.size),
    }


def _paired(policy: Sequence[Outcome], baseline: Sequence[Outcome], of: Callable[[Outcome], float]) -> Floats:
    return np.array([of(one) - of(other) for one, other in zip(policy, baseline, strict=True)])


def enough(pairs: int, differing: int) -> bool:
    """Return whether so many pairs, of which so many differ, can show a difference at all."""
    return pairs >= PAIRS_MIN and differing >= DIFFERING_MIN


def interval(values: Floats, rng: np.random.Generator) -> dict[str, float | bool]:
    """Return mean, 95 % bootstrap interval, and whether it excludes zero on enough pairs to say so.

    Args:
        values: Differences, one a pair.
    """
    if values.size == 0:
        return {"mean": 0.0, "low": 0.0, "high": 0.0, "significant": False}
    distinct, counts = np.unique(values, return_counts=True)
    if distinct.size <= 64:
        # Resampling few distinct values is a multinomial draw.
        draws = rng.multinomial(values.size, counts / values.size, _RESAMPLES)
        means = draws @ distinct / values.size
    else:
        means = np.array([values[rng.integers(0, values.size, values.size)].mean() for _ in range(_RESAMPLES // 4)])
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "mean": round(float(values.mean()), 6),
        "low": round(float(low), 6),
        "high": round(float(high), 6),
        "significant": bool(enough(values.size, int(np.count_nonzero(values))) and (low > 0 or high < 0)),
    }
