"""The scenario model: what P(approve) would be at an instant if one hidden story were true.

Owns: the rows (stories) and their chances at columns (instants). Refuses: how likely a story is; see `posterior`.
Stories are coarse on purpose: a pay rhythm and how long money lasts, a credit line that frees up, a limit that resets,
a bank's temper, an outage, an updated card. Their numbers are data (`parameters`).
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dunwell_retry.planning.parameters import REASONS, Floats, Model
from dunwell_retry.planning.rhythm import EPOCH, PERIOD_HOURS, PayTable
from dunwell_retry.rules.values import quick

Reals = NDArray[np.float32]
Ints = NDArray[np.int64]
_DAY, _HOUR = 86400, 3600
CYCLE, LINE, LIMIT, RISK, BLOCK, OUTAGE, EXPIRED, DEAD, REVOKED, AUTH = range(10)
# Pay counts as three hours old at three in the morning whatever the bank's hour; the booking curve does the rest.
_POSTING_HOUR = 3.0


@quick
@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Instants as the payer's wall clock shows them.

    Args:
        day: Local days since 1970.
        second: Seconds of the local day.
        repeat: How many charges were sent before, the first one not counted.
        since_hours: Hours since the last charge of any kind.
        other_route: True where the charge goes through another processor than the first one.
    """

    day: Ints
    second: Ints
    repeat: Floats
    since_hours: Floats
    other_route: NDArray[np.bool_]

    def and_then(self, others: Columns) -> Columns:
        """Return these columns followed by others."""
        return Columns(
            np.concatenate([self.day, others.day]),
            np.concatenate([self.second, others.second]),
            np.concatenate([self.repeat, others.repeat]),
            np.concatenate([self.since_hours, others.since_hours]),
            np.concatenate([self.other_route, others.other_route]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Layout of the stories: reason and weight within the reason of each row.

    Args:
        hypothesis: Pay hypothesis of each row, -1 outside the cycle rows.
        risk: Rows whose chance falls with every further charge.
        cycles: How many rows, the first ones, are pay-cycle rows.
    """

    reason: Ints
    within: Floats
    hypothesis: Ints
    risk: slice
    cycles: int


def _product(starts: list[float], lasts: list[float]) -> list[float]:
    return [start * last for start in starts for last in lasts]


@lru_cache(maxsize=16)
def fixed_rows(model: Model) -> tuple[Ints, Floats]:
    """Return (reason, weight within the reason) of every row that is not a pay-cycle row."""
    line, limit, risk = model.section("line"), model.section("limit"), model.section("risk")
    outage, expired = model.section("outage"), model.section("expired")
    groups: list[tuple[int, list[float]]] = [
        (LINE, [*_product(line["start_weights"], line["last_weights"]), line["never"]]),
        (LIMIT, [limit["midnight"], limit["week"], limit["month"]]),
        (RISK, risk["weights"]),
        (BLOCK, [1.0]),
        (OUTAGE, outage["weights"]),
        (EXPIRED, [*expired["answers_days"], 1.0]),
        (DEAD, [1.0]),
        (REVOKED, [1.0]),
        (AUTH, [1.0]),
    ]
    groups[5] = (EXPIRED, [*expired["weights"], expired["never"]])
    reason = np.concatenate([np.full(len(weights), number) for number, weights in groups])
    within = np.concatenate([np.array(weights) / sum(weights) for _, weights in groups])
    return reason.astype(np.int64), within


def rows(model: Model, hypotheses: Ints, hypothesis_weights: Floats) -> Rows:
    """Return the layout for the pay hypotheses that are kept."""
    reason, within = fixed_rows(model)
    spans = model.span_weights.size
    cycle = (hypothesis_weights[:, None] * model.span_weights[None, :]).ravel()
    count = cycle.size
    first_risk = count + int(np.argmax(reason == RISK))
    return Rows(
        reason=np.concatenate([np.zeros(count, dtype=np.int64), reason]),
        within=np.concatenate([cycle, within]),
        hypothesis=np.concatenate([np.repeat(hypotheses, spans), np.full(reason.size, -1, dtype=np.int64)]),
        risk=slice(first_risk, first_risk + int((reason == RISK).sum())),
        cycles=count,
    )


def ages(table: PayTable, hypotheses: Ints, day: Ints, second: Ints) -> tuple[Reals, NDArray[np.bool_]]:
    """Return (hours since pay, True on the pay day itself), both (instant, hypothesis)."""
    since = day[:, None] - table.last.take(table.rows(day), axis=0).take(hypotheses, axis=1)
    elapsed = since.astype(np.float32) * np.float32(24) + _since_posting(second)[:, None]
    return np.maximum(elapsed, 0, out=elapsed), since == 0


def _since_posting(second: Ints) -> Reals:
    return (second / _HOUR - _POSTING_HOUR).astype(np.float32)


def cycle_chances(model: Model, table: PayTable, hypotheses: Ints, columns: Columns) -> Reals:
    """Return P(approve), (instant, hypothesis x span), when money comes by a rhythm and lasts a span of it."""
    age, today = ages(table, hypotheses, columns.day, columns.second)
    return _funded(model, hypotheses, age, today, _booked(model, columns.second)[:, None])


@lru_cache(maxsize=8)
def _by_age(model: Model, seconds: tuple[int, ...]) -> tuple[Reals, int]:
    """Return chances by (second of the day, hypothesis, days since pay) and span, flat; and how many days they hold."""
    longest = float(PERIOD_HOURS.max() * model.spans.max())
    # On the last of these days and on all later ones no money is left under any hypothesis.
    days = int(longest / 24) + 3
    every = np.arange(PERIOD_HOURS.size, dtype=np.int64)
    since = np.repeat(np.arange(days)[:, None], every.size, axis=1)
    second = np.array(seconds, dtype=np.int64)
    elapsed = (since.astype(np.float32) * np.float32(24))[None] + _since_posting(second)[:, None, None]
    np.maximum(elapsed, 0, out=elapsed)
    chance = _funded(model, every, elapsed, (since == 0)[None], _booked(model, second)[:, None, None])
    by_day = chance.reshape(second.size, days, every.size, -1)
    return np.ascontiguousarray(by_day.swapaxes(1, 2)).reshape(-1, model.spans.size), days


def cycle_grid(model: Model, table: PayTable, hypotheses: Ints, day: Ints, seconds: tuple[int, ...]) -> Reals:
    """Return what `cycle_chances` does for every given second of every given day, in that order.

    Looked up by days since pay, as the same few days and hours come up in every case.
    """
    chance, days = _by_age(model, seconds)
    since = day[:, None] - table.last.take(table.rows(day), axis=0).take(hypotheses, axis=1)
    place = np.maximum(np.minimum(since, days - 1), 0) + hypotheses * days
    slot = np.arange(len(seconds), dtype=np.int64) * (PERIOD_HOURS.size * days)
    found = chance.take(place[:, None, :] + slot[:, None], axis=0)
    return np.asarray(found.reshape(day.size * len(seconds), -1))


def _booked(model: Model, second: Ints) -> Reals:
    """Return what pay adds to the chance on its own day, by the hour at which it is booked."""
    lift = np.float32(model.funds_open - model.funds_shut)
    return (model.posted[second // _HOUR] * lift).astype(np.float32)


def _funded(model: Model, hypotheses: Ints, age: Reals, today: NDArray[np.bool_], booked: Reals) -> Reals:
    """Return P(approve), (instant, hypothesis x span), from ages whose last axis is the hypothesis."""
    shut = np.float32(model.funds_shut)
    open_ = np.where(today, booked, np.float32(model.funds_open - model.funds_shut)) + shut
    lasts = (PERIOD_HOURS[hypotheses][:, None] * model.spans[None, :]).astype(np.float32)
    chance = np.where(age[..., None] < lasts, open_[..., None], shut)
    return chance.reshape(-1, lasts.size)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Rows that are shut, then open from an hour after the failure to another."""

    start: Reals
    end: Reals
    open: Reals
    shut: Reals


@lru_cache(maxsize=16)
def _steps(model: Model) -> _Steps:
    """Return the rows of `fixed_rows`; those that do not step have an infinite start and are filled in later."""
    never, line = np.inf, model.section("line")
    limit, outage, expired = model.section("limit"), model.section("outage"), model.section("expired")
    rows_: list[tuple[float, float, float, float]] = [
        (start * 24, (start + lasts) * 24, line["open"], line["shut"])
        for start in line["starts_days"]
        for lasts in line["lasts_days"]
    ]
    rows_.append((never, never, 0.0, line["shut"] / 2))
    rows_ += [(never, never, limit["open"], limit["shut"])] * 3
    rows_ += [(never, never, 0.0, 0.0)] * len(model.section("risk")["levels"])
    rows_.append((never, never, 0.0, model.section("block")["same_route"]))
    rows_ += [(hours, never, outage["open"], outage["shut"]) for hours in outage["ends_hours"]]
    rows_ += [(days * 24, never, expired["open"], 0.0) for days in expired["answers_days"]]
    rows_ += [(never, never, 0.0, 0.0)] * 4
    array = np.array(rows_, dtype=np.float32)
    return _Steps(array[:, 0], array[:, 1], array[:, 2], array[:, 3])


def steady_chances(model: Model, at: Ints, failed_local: int) -> Reals:
    """Return P(approve), (instant, row), of every story that is not a pay cycle, as far as no charge changes it.

    Args:
        at: Wall-clock seconds; the rows are those of `fixed_rows`.
    """
    steps = _steps(model)
    hours = ((at - failed_local) / _HOUR).astype(np.float32)
    start = steps.start.copy()
    limit = _limit_row(model)
    start[limit : limit + 3] = _resets(failed_local)
    open_ = (hours[:, None] >= start) & (hours[:, None] < steps.end)
    return np.where(open_, steps.open, steps.shut)


def _limit_row(model: Model) -> int:
    line = model.section("line")
    return len(line["starts_days"]) * len(line["lasts_days"]) + 1


def fill_changing(model: Model, chance: Reals, cycles: int, columns: Columns, usual_hour: int | None) -> None:
    """Fill in the rows that earlier charges and the route change, in place.

    Args:
        chance: (instant, story), its first `cycles` stories pay cycles and the rest in the order of `fixed_rows`.
    """
    levels = _levels(model)
    risk = cycles + _limit_row(model) + 3
    np.minimum(0.97, _temper(model, columns, usual_hour)[:, None] * levels, out=chance[:, risk : risk + levels.size])
    if columns.other_route.any():
        chance[columns.other_route, risk + levels.size] = model.section("block")["other_route"]


@lru_cache(maxsize=16)
def _levels(model: Model) -> Reals:
    return np.array(model.section("risk")["levels"], dtype=np.float32)


def _resets(failed_local: int) -> list[float]:
    """Return hours to the next local midnight, Monday and first of the month."""
    day = failed_local // _DAY
    on = EPOCH + timedelta(days=day)
    month = monthrange(on.year, on.month)[1] - on.day + 1
    return [(ahead * _DAY - failed_local % _DAY) / _HOUR for ahead in (1, 7 - (day + 3) % 7, month)]


def _temper(model: Model, columns: Columns, usual_hour: int | None) -> Floats:
    """Return the factor on a bank's willingness: it tires, dislikes haste, and knows its customer's hours."""
    risk = model.section("risk")
    factor = risk["repeat"] ** columns.repeat
    factor[columns.since_hours < risk["soon_hours"]] *= risk["soon"]
    if usual_hour is not None:
        factor *= _usual(model, usual_hour)[columns.second // _HOUR]
    return np.asarray(factor)


@lru_cache(maxsize=256)
def _usual(model: Model, usual_hour: int) -> Floats:
    """Return the factor of each hour of the day for a payer with usual hours."""
    risk = model.section("risk")
    apart = np.abs(np.arange(24) - usual_hour)
    return np.asarray(np.where((apart <= 3) | (apart >= 21), risk["near_usual_hour"], risk["far"]))


def still_chances(model: Model, table: PayTable, hypotheses: Ints, columns: Columns, failed_local: int) -> Reals:
    """Return P(approve) at every instant under every story, as far as no charge changes it."""
    at = columns.day * _DAY + columns.second
    cycle = cycle_chances(model, table, hypotheses, columns)
    return np.concatenate([cycle, steady_chances(model, at, failed_local)], axis=1)


def chances(
    model: Model, table: PayTable, hypotheses: Ints, columns: Columns, failed_local: int, usual_hour: int | None
) -> Reals:
    """Return P(approve) at every instant (first axis) under every story."""
    found = still_chances(model, table, hypotheses, columns, failed_local)
    fill_changing(model, found, hypotheses.size * model.spans.size, columns, usual_hour)
    return found


assert len(REASONS) == AUTH + 1
