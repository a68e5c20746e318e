"""Fitting the scenario model to logged decisions on random schedules.

Owns: expectation-maximisation over the hidden reasons and the stories within them, shrunk towards the model it starts
from, and the approval chance of an open account by likelihood. Refuses: to invent stories; their grid is the model's.
The start acts as a prior worth `strength` cases, so that a new tenant starts where everybody is and moves as its own
cases come in (empirical Bayes).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from dunwell_retry.planning.logged import Logged
from dunwell_retry.planning.model import Case
from dunwell_retry.planning.parameters import FUNDINGS, REASONS, Floats, Model, parse
from dunwell_retry.planning.posterior import reason_weights
from dunwell_retry.planning.scenarios import CYCLE, EXPIRED, LINE, OUTAGE, RISK, Ints, Reals, chances, fixed_rows
from dunwell_retry.planning.view import logged_view

# Steps until the shares move by less than sampling noise; more only follow the noise.
_ROUNDS = 12
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One logged case, ready for the E-step: likelihood of what happened under every story."""

    funding: str
    observed: int
    reasons: Floats
    reason_of: Ints
    within: Floats
    likelihood: Floats
    span_of: Ints


@dataclass(frozen=True, slots=True)
class Fitted:
    """The outcome: the new model file, and how well it and the old one explain the log (mean log likelihood)."""

    text: str
    cases: int
    charges: int
    before: float
    after: float


def _happened(case: Case, sent: Sequence[Any], chance: Reals) -> Floats:
    """Return the likelihood of the charges' results; the first row is the refused charge itself."""
    result = 1 - chance[0].astype(np.float64)
    for charge, row in zip(sent, chance[1:], strict=True):
        result = result * (row if charge.approved else 1 - row)
    return np.asarray(np.maximum(result, 1e-9))


def _row(logged: Logged, model: Model) -> _Row:
    case = logged.case
    first = case.methods[0].instrument_id
    sent = [charge for charge in logged.sent if charge.instrument_id == first]
    whole, columns = logged_view(case, tuple(sent), model)
    chance = chances(model, whole.table, whole.past.hypotheses, columns, whole.failed, whole.usual)
    reading = case.readings[0]
    layout = whole.layout
    spans = model.span_weights.size
    cycle = int((layout.reason == CYCLE).sum())
    return _Row(
        funding=case.methods[0].funding if case.methods[0].funding in FUNDINGS else "none",
        observed=model.observed.get(reading.observed, model.observed["unknown"]),
        reasons=reason_weights(model, case, whole.past, [reading]),
        reason_of=layout.reason,
        within=layout.within,
        likelihood=_happened(case, sent, chance),
        span_of=np.arange(cycle) % spans,
    )


class _Counts:
    """Expected counts of an E-step, starting at the prior's pseudo-counts."""

    def __init__(self, model: Model, strength: float) -> None:
        self.prior = {funding: model.prior[funding] * strength for funding in FUNDINGS}
        self.emission = model.emission * strength
        self.spans = model.span_weights * strength
        reason, within = fixed_rows(model)
        self.fixed = {number: within[reason == number] * strength for number in (LINE, RISK, OUTAGE, EXPIRED)}
        self.log_likelihood = 0.0

    def add(self, row: _Row) -> None:
        joint = row.reasons[row.reason_of] * row.within * row.likelihood
        total = float(joint.sum())
        self.log_likelihood += float(np.log(total))
        share = joint / total
        by_reason = np.bincount(row.reason_of, weights=share, minlength=len(REASONS))
        self.prior[row.funding] += by_reason
        self.emission[:, row.observed] += by_reason
        cycle = row.span_of.size
        self.spans += np.bincount(row.span_of, weights=share[:cycle], minlength=self.spans.size)
        rest, reasons = share[cycle:], row.reason_of[cycle:]
        for number, counts in self.fixed.items():
            counts += rest[reasons == number]


def fit(logged: Sequence[Logged], start: Model, *, edition: str, strength: float = 200.0) -> Fitted:
    """Return the model that explains the log best, shrunk towards the start.

    Args:
        logged: Cases whose charges were sent on a schedule that did not depend on their chances.
        edition: Name of the new edition.
        strength: How many cases the start is worth.
    """
    if not logged:
        raise ValueError("nothing was logged: a fit needs cases")
    model, before, after = start, 0.0, 0.0
    anchor = start
    for step in range(_ROUNDS):
        rows = [_row(entry, model) for entry in logged]
        counts = _Counts(anchor, strength)
        for row in rows:
            counts.add(row)
        after = counts.log_likelihood / len(rows)
        before = after if step == 0 else before
        model = _updated(model, counts, edition)
    model = _open_chance(logged, model)
    text = _stamped(model, logged, edition, start.edition)
    return Fitted(text, len(logged), sum(len(entry.sent) for entry in logged), before, after)


def _shares(values: Floats) -> list[float]:
    floored = np.maximum(values / values.sum(), _FLOOR)
    return [round(float(value), 5) for value in floored / floored.sum()]


def _updated(model: Model, counts: _Counts, edition: str) -> Model:
    raw: dict[str, Any] = deepcopy(dict(model.raw))
    raw["edition"] = edition
    raw["prior"] = {funding: _shares(counts.prior[funding]) for funding in FUNDINGS}
    raw["emission"] = {reason: _shares(counts.emission[number]) for number, reason in enumerate(REASONS)}
    raw["funds"]["weights"] = _shares(counts.spans)
    raw["risk"]["weights"] = _shares(counts.fixed[RISK])
    raw["outage"]["weights"] = _shares(counts.fixed[OUTAGE])
    expired = _shares(counts.fixed[EXPIRED])
    raw["expired"]["weights"], raw["expired"]["never"] = expired[:-1], expired[-1]
    line = np.array(_shares(counts.fixed[LINE]))
    grid = line[:-1].reshape(len(raw["line"]["starts_days"]), -1)
    raw["line"]["start_weights"] = [round(float(value), 5) for value in grid.sum(axis=1)]
    raw["line"]["last_weights"] = _shares(grid.sum(axis=0))
    raw["line"]["never"] = round(float(line[-1]), 5)
    return parse(json.dumps(raw))


def _open_chance(logged: Sequence[Logged], model: Model) -> Model:
    """Choose by likelihood how often an account with money approves; one number, so that a search will do."""
    sample = logged[:: max(1, len(logged) // 400)]

    def with_open(chance: float) -> Model:
        raw: dict[str, Any] = deepcopy(dict(model.raw))
        raw["funds"]["open"] = round(chance, 4)
        return parse(json.dumps(raw))

    def loss(chance: float) -> float:
        tried = with_open(chance)
        counts = _Counts(tried, 1.0)
        for entry in sample:
            counts.add(_row(entry, tried))
        return -counts.log_likelihood

    best = minimize_scalar(loss, bounds=(0.6, 0.99), method="bounded", options={"maxiter": 8})  # type: ignore[no-untyped-call]
    return with_open(float(best.x))


def _stamped(model: Model, logged: Sequence[Logged], edition: str, start: str) -> str:
    raw: dict[str, Any] = deepcopy(dict(model.raw))
    times = [entry.case.failed_at for entry in logged]
    raw["edition"] = edition
    raw["origin"] = "Fitted by expectation-maximisation on logged decisions."
    raw["fitted_on"] = {
        "cases": len(logged),
        "charges": sum(len(entry.sent) for entry in logged),
        "from": min(times).date().isoformat(),
        "to": max(times).date().isoformat(),
        "start": start,
    }
    return json.dumps(raw, indent=2) + "\n"
