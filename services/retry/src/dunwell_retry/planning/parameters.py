"""The planner's model file: its numbers, its edition, its checks.

Owns: reading `data/*.json` into arrays. Refuses: where the numbers come from; see `fit` and the model card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SCHEMA = 1
REASONS = ("cycle", "line", "limit", "risk", "block", "outage", "expired", "dead", "revoked", "auth")
FUNDINGS = ("credit", "debit", "prepaid", "none")


class ModelUnusable(ValueError):
    """A model file that is missing, damaged or of another schema; the planner falls back and says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Numbers of the scenario model; probabilities unless the name says otherwise.

    Args:
        prior: By funding, over `REASONS`.
        emission: (reason, observed class).
        raw: The file, for cards and fitting.
    """

    edition: str
    prior: Mapping[str, Floats]
    observed: Mapping[str, int]
    emission: Floats
    raw: Mapping[str, Any]
    spans: Floats
    span_weights: Floats
    funds_open: float
    funds_shut: float
    posted: Floats
    levels: Floats
    level_weights: Floats
    past: Mapping[str, float]
    persistence: float
    advice_hours: Mapping[str, float]
    advice_factor: float
    attempt_cost: float
    debit_cost: float
    delay_per_day: float
    usd_per_unit: Mapping[str, float]

    def section(self, name: str) -> Mapping[str, Any]:
        """Return one group of numbers of the file."""
        part: Mapping[str, Any] = self.raw[name]
        return part


def _shares(values: Sequence[float], name: str) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or (array < 0).any() or array.sum() <= 0:
        raise ModelUnusable(f"{name}: needs numbers >= 0 with a positive sum")
    return np.asarray(array / array.sum())


def _posted(points: Mapping[str, float]) -> Floats:
    """Return by hour of day the share of pay that has been booked, straight between the given hours."""
    hours = sorted(int(hour) for hour in points)
    return np.asarray(np.interp(np.arange(24), hours, [points[str(hour)] for hour in hours]))


def parse(text: str) -> Model:
    """Return the model of a file's text.

    Raises:
        ModelUnusable: Not JSON, another schema, a part missing or out of bounds.
    """
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            raise ModelUnusable(f"this planner reads schema {SCHEMA}")
        if tuple(raw["reasons"]) != REASONS:
            raise ModelUnusable("reasons differ from this planner's")
        return _model(raw)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelUnusable(f"model file: {error!r}") from error


def _model(raw: dict[str, Any]) -> Model:
    funds, past, costs = raw["funds"], raw["past"], raw["costs"]
    observed = {name: at for at, name in enumerate(raw["observed"])}
    emission = np.stack([_shares(raw["emission"][reason], f"emission.{reason}") for reason in REASONS])
    if emission.shape[1] != len(observed):
        raise ModelUnusable("emission does not fit observed")
    return Model(
        edition=str(raw["edition"]),
        prior={funding: _shares(raw["prior"][funding], f"prior.{funding}") for funding in FUNDINGS},
        observed=observed,
        emission=emission,
        raw=raw,
        spans=np.array(funds["spans"], dtype=np.float64),
        span_weights=_shares(funds["weights"], "funds.weights"),
        funds_open=float(funds["open"]),
        funds_shut=float(funds["shut"]),
        posted=_posted(funds["posted"]),
        levels=np.array(past["levels"], dtype=np.float64),
        level_weights=_shares(past["level_weights"], "past.level_weights"),
        past={name: float(value) for name, value in past.items() if isinstance(value, int | float)},
        persistence=float(raw["persistence"]),
        advice_hours={code: float(hours) for code, hours in raw["advice_hours"].items()},
        advice_factor=float(raw["advice_factor"]),
        attempt_cost=float(costs["attempt_minor_usd"]),
        debit_cost=float(costs["bank_debit_attempt_minor_usd"]),
        delay_per_day=float(costs["delay_per_day"]),
        usd_per_unit={code: float(rate) for code, rate in raw["usd_per_unit"].items()},
    )


@cache
def shipped() -> Model:
    """Return the model that ships with this package."""
    return parse((resources.files("dunwell_retry.planning") / "data" / "smart.json").read_text("utf-8"))
