"""The scenario model: what P(approve) would be at an instant if one hidden story were true.

Owns: the rows (stories) and their chances at columns (instants). Refuses: how likely a story is; see `posterior`.
Stories are coarse on purpose: a pay rhythm and how long money lasts, a credit line that frees up, a limit that resets,
a bank's temper, an outage, an updated card. Their numbers are data (`parameters`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dunwell_retry.planning.parameters import REASONS, Floats, Model
from dunwell_retry.planning.rhythm import PERIOD_HOURS, PayTable

Reals = NDArray[np.float32]
Ints = NDArray[np.int64]
_DAY, _HOUR = 86400, 3600
CYCLE, LINE, LIMIT, RISK, BLOCK, OUTAGE, EXPIRED, DEAD, REVOKED, AUTH = range(10)
# Pay counts as three hours old at three in the morning whatever the bank's hour; the booking curve does the rest.
_POSTING_HOUR = 3.0


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


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Layout of the stories: reason and weight within the reason of each row.

    Args:
        hypothesis: Pay hypothesis of each row, -1 outside the cycle rows.
        risk: Rows whose chance falls with every further charge.
    """

    reason: Ints
    within: Floats
    hypothesis: Ints
    risk: slice


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
    )


def ages(table: PayTable, hypotheses: Ints, day: Ints, second: Ints) -> tuple[Reals, NDArray[np.bool_]]:
    """Return (hours since pay, True on the pay day itself), both (instant, hypothesis)."""
    last = table.last[table.rows(day)][:, hypotheses]
    elapsed = (day[:, None] - last) * 24 + (second[:, None] / _HOUR - _POSTING_HOUR)
    return np.maximum(elapsed, 0).astype(np.float32), last == day[:, None]


def cycle_chances(model: Model, table: PayTable, hypotheses: Ints, columns: Columns) -> Reals:
    """Return P(approve), (instant, hypothesis x span), when money comes by a rhythm and lasts a span of it."""
    age, today = ages(table, hypotheses, columns.day, columns.second)
    booked = np.where(today, model.posted[columns.second // _HOUR][:, None], 1.0).astype(np.float32)
    lasts = (PERIOD_HOURS[hypotheses][:, None] * model.spans[None, :]).astype(np.float32)
    there = age[:, :, None] < lasts[None, :, :]
    lift = np.float32(model.funds_open - model.funds_shut)
    chance = np.float32(model.funds_shut) + there * (booked * lift)[:, :, None]
    return chance.reshape(columns.day.size, -1)


def other_chances(model: Model, columns: Columns, failed_local: int, usual_hour: int | None) -> Reals:
    """Return P(approve), (instant, row), of every story that is not a pay cycle; order of `fixed_rows`."""
    at = columns.day * _DAY + columns.second
    hours = (at - failed_local) / _HOUR
    parts = [
        _line(model, hours),
        _limit(model, at, failed_local),
        _risk(model, columns, usual_hour),
        np.where(columns.other_route, model.section("block")["other_route"], model.section("block")["same_route"])[
            :, None
        ],
        _after(hours, model.section("outage")["ends_hours"], model.section("outage")),
        _expired(model, hours),
        np.zeros((hours.size, 3)),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _line(model: Model, hours: Floats) -> Floats:
    line = model.section("line")
    starts = np.repeat(np.array(line["starts_days"]), len(line["lasts_days"])) * 24
    ends = starts + np.tile(np.array(line["lasts_days"]), len(line["starts_days"])) * 24
    free = (hours[:, None] >= starts) & (hours[:, None] < ends)
    chance = np.where(free, line["open"], line["shut"])
    return np.concatenate([chance, np.full((hours.size, 1), line["shut"] / 2)], axis=1)


def _limit(model: Model, at: Ints, failed_local: int) -> Floats:
    limit = model.section("limit")
    day = failed_local // _DAY
    month = np.datetime64(int(day), "D").astype("datetime64[M]")
    first = int((month + 1).astype("datetime64[D]").astype(np.int64))
    resets = np.array([day + 1, day + 7 - (day + 3) % 7, first]) * _DAY
    return np.where(at[:, None] >= resets, limit["open"], limit["shut"])


def _risk(model: Model, columns: Columns, usual_hour: int | None) -> Floats:
    risk = model.section("risk")
    factor = risk["repeat"] ** columns.repeat * np.where(columns.since_hours < risk["soon_hours"], risk["soon"], 1.0)
    if usual_hour is not None:
        apart = np.abs(columns.second // _HOUR - usual_hour) % 24
        near = np.minimum(apart, 24 - apart) <= 3
        factor = factor * np.where(near, risk["near_usual_hour"], risk["far"])
    return np.asarray(np.minimum(0.97, factor[:, None] * np.array(risk["levels"])))


def _after(hours: Floats, ends: list[float], numbers: object) -> Floats:
    assert isinstance(numbers, dict)
    return np.where(hours[:, None] >= np.array(ends), numbers["open"], numbers["shut"])


def _expired(model: Model, hours: Floats) -> Floats:
    expired = model.section("expired")
    answered = hours[:, None] >= np.array(expired["answers_days"]) * 24
    chance = np.where(answered, expired["open"], 0.0)
    return np.concatenate([chance, np.zeros((hours.size, 1))], axis=1)


def chances(
    model: Model, table: PayTable, hypotheses: Ints, columns: Columns, failed_local: int, usual_hour: int | None
) -> Reals:
    """Return P(approve) at every instant (first axis) under every story."""
    return np.concatenate(
        [
            cycle_chances(model, table, hypotheses, columns),
            other_chances(model, columns, failed_local, usual_hour),
        ],
        axis=1,
    )


assert len(REASONS) == AUTH + 1
