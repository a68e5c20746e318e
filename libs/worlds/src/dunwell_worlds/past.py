"""What each payer's charges came to before the failure.

Owns: up to two years of renewals, their refusals and retries, and purchases made in person, drawn from the same
pay cycle and usual hour that decide the present invoice. Refuses: the present invoice.
The past is informative as in life and no more: funds differ from cycle to cycle, retries were sent at arbitrary
times by whatever ran before, and payers whose first renewal failed have no past at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dunwell_worlds import paydays, zones
from dunwell_worlds.draws import Bools, Floats, Ints, Population, balance_age
from dunwell_worlds.hashing import generator
from dunwell_worlds.parameters import GATEWAY_CODES, NSF, PLACES, Parameters
from dunwell_worlds.payments import Columns
from dunwell_worlds.protocol import Decline

_MONTHS, _RETRIES, _PURCHASES = 24, 3, 12
# How much the funds of one cycle resemble those of the present one.
_PERSISTENCE = 0.5
# Subscribers survived so far, so their past cycles were clearly better than the failed one.
_PAST_LOG_MEAN = float(np.log(1.25)) + 1.1
_CODES = ("51", "05", "61")
# What stands in for a code where a charge was approved.
_PASSED = len(_CODES)


def _declines() -> tuple[Decline | None, ...]:
    """Return the declines that rows refer to by number; the last one stands for none."""
    return (*(Decline(GATEWAY_CODES[code][0], code, None, None) for code in _CODES), None)


@dataclass
class _Rows:
    invoice: list[Ints]
    local: list[Ints]
    approved: list[Bools]
    code: list[Ints]

    def add(self, invoice: Ints, local: Ints, approved: Bools, code: Ints | None = None) -> None:
        self.invoice.append(invoice)
        self.local.append(local)
        self.approved.append(approved)
        self.code.append(np.zeros(invoice.size, dtype=np.int64) if code is None else code)


def past(seed: int, people: Population, parameters: Parameters) -> Columns:
    """Draw the past of all payers; every renewal of one had the same amount."""
    rows = _Rows([], [], [], [])
    _renewals(seed, people, parameters, rows)
    _purchases(seed, people, parameters, rows)
    invoice = np.concatenate(rows.invoice)
    local = np.concatenate(rows.local)
    approved, code = np.concatenate(rows.approved), np.concatenate(rows.code)
    # A day's distance to the failure keeps the past in the past in every zone.
    keep = local < people.due_local[invoice] - 86400
    invoice, local, approved, code = invoice[keep], local[keep], approved[keep], code[keep]
    # One key for both, as a second pass would cost as much as the first: local seconds stay below 2^33 until 2242.
    order = np.argsort((invoice << 33) + local, kind="stable")
    invoice, local, approved = invoice[order], local[order], approved[order]
    code = np.where(approved, _PASSED, code[order])
    at = np.zeros(local.size, dtype=np.int64)
    place = people.place[invoice]
    for number, (_, zone, _) in enumerate(PLACES):
        chosen = place == number
        at[chosen] = zones.utc_seconds(zone, local[chosen])
    first = _told_once(invoice, at, code)
    bounds = np.searchsorted(invoice[first], np.arange(people.reason.size + 1))
    return Columns(bounds, at[first], code[first], _declines())


def _told_once(invoice: Ints, at: Ints, code: Ints) -> Bools:
    """Return which rows are not what the row before them is already.

    Of a million payers one or two draw the same second for two purchases; a past that told both would hold one payment
    twice, which no gateway does. Nobody else's draws change when the second one is left out.
    """
    first = np.ones(invoice.size, dtype=bool)
    first[1:] = (at[1:] != at[:-1]) | (invoice[1:] != invoice[:-1]) | (code[1:] != code[:-1])
    return first


def _months_back(local: Ints, months: int) -> Iterator[Ints]:
    """Yield the same local day and hour 1, 2, … months earlier; a missing day becomes the month's last."""
    day = (local // 86400).astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    following = month.astype("datetime64[D]").astype(np.int64)
    of_month, second = day.astype(np.int64) - following, local % 86400
    for back in range(1, months + 1):
        first = (month - back).astype("datetime64[D]").astype(np.int64)
        moved = first + np.minimum(of_month, following - first - 1)
        following = first
        yield np.asarray(moved * 86400 + second, dtype=np.int64)


def _short(people: Population) -> Bools:
    return np.asarray((people.reason == NSF) & ~people.credit_line)


def _renewals(seed: int, people: Population, parameters: Parameters, rows: _Rows) -> None:
    rng = generator(seed, "past")
    count = people.reason.size
    short = _short(people)
    line = (people.reason == NSF) & people.credit_line
    for month, same_day in enumerate(_months_back(people.due_local, _MONTHS), start=1):
        local = same_day + rng.integers(0, 1500, count)
        luck, z = rng.random(count), rng.standard_normal(count)
        live = people.tenure_months >= month
        level = _PERSISTENCE * people.funds_z + np.sqrt(1 - _PERSISTENCE**2) * z
        funds = np.exp(_PAST_LOG_MEAN + 0.75 * level)
        paid = np.where(short, _funded(people, parameters, funds, local, rng), luck > np.where(line, 0.12, 0.03))
        failed = live & ~paid
        first = np.flatnonzero(live)
        code = np.where(short | line, np.where(luck * 997 % 1 < 0.7, 0, 1), 1).astype(np.int64)
        rows.add(first, local[first], np.asarray(paid[first]), code[first])
        _retries(people, parameters, rows, np.flatnonzero(failed), funds, local, rng)


def _funded(
    people: Population, parameters: Parameters, funds: Floats, local: Ints, rng: np.random.Generator,
    chosen: Ints | None = None,
) -> Bools:  # fmt: skip
    """Return whether a charge at these local times finds enough money."""
    at = slice(None) if chosen is None else chosen
    table, _, _ = paydays.variants(parameters.calendar)
    age = balance_age(table, people.variant[at], people.posting_hour[at], local)
    level = funds * np.exp(-age / people.tau_hours[at]) + rng.normal(0, 0.2, local.size)
    return np.asarray((level >= 1) & (rng.random(local.size) < 0.95))


def _retries(
    people: Population, parameters: Parameters, rows: _Rows, failed: Ints, funds: Floats, local: Ints,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Add what the earlier billing system tried after a refused renewal, at arbitrary gaps."""
    short = _short(people)
    open_, at = failed, local[failed]
    for _ in range(_RETRIES):
        if open_.size == 0:
            return
        at = at + rng.integers(12 * 3600, 5 * 86400, open_.size)
        paid = np.where(
            short[open_], _funded(people, parameters, funds[open_], at, rng, open_), rng.random(open_.size) < 0.4
        )
        rows.add(open_, at, np.asarray(paid), np.where(short[open_], 0, 1).astype(np.int64))
        open_, at = open_[~paid], at[~paid]
    # Who was still open paid by hand, within two days of getting money, around his usual hour.
    _by_hand(people, parameters, rows, open_, at, rng)


def _by_hand(
    people: Population, parameters: Parameters, rows: _Rows, chosen: Ints, local: Ints, rng: np.random.Generator
) -> None:
    """Add payments made in person soon after the first pay day that follows these times."""
    table, _, cycle_of = paydays.variants(parameters.calendar)
    length = np.array(paydays.CYCLE_HOURS)[cycle_of[people.variant[chosen]]] / 24
    ahead = (local // 86400 + np.ceil(length).astype(np.int64)).astype(np.int64)
    day = table[people.variant[chosen], ahead - paydays.FIRST_DAY] + rng.integers(0, 3, chosen.size)
    hour = np.clip(people.usual_hour[chosen] + rng.integers(-2, 3, chosen.size), 0, 23)
    rows.add(
        chosen,
        np.asarray(day * 86400 + hour * 3600 + rng.integers(0, 3600, chosen.size), dtype=np.int64),
        np.ones(chosen.size, dtype=bool),
    )


def _purchases(seed: int, people: Population, parameters: Parameters, rows: _Rows) -> None:
    """Add purchases in person: two payers in five buy extras, more often when they have just been paid."""
    rng = generator(seed, "purchases")
    count = people.reason.size
    buys = rng.random(count) < 0.4
    for month in range(_PURCHASES):
        chosen = np.flatnonzero(buys & (people.tenure_months > month) & (rng.random(count) < 0.5))
        local = people.due_local[chosen] - (month * 30 + rng.integers(2, 32, chosen.size)) * 86400
        paid_lately = rng.random(chosen.size) < 0.6
        _by_hand(people, parameters, rows, chosen[paid_lately], local[paid_lately], rng)
        rest = chosen[~paid_lately]
        day = local[~paid_lately] // 86400
        hour = np.clip(people.usual_hour[rest] + rng.integers(-2, 3, rest.size), 0, 23)
        seconds = day * 86400 + hour * 3600 + rng.integers(0, 3600, rest.size)
        rows.add(rest, np.asarray(seconds, dtype=np.int64), np.ones(rest.size, dtype=bool))
