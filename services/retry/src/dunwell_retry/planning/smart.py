"""The planner with a model: all remaining charges chosen together, replanned on every new fact.

Owns: from a case to a plan by way of posterior and coverage. Refuses: rules (asked) and numbers (data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from dunwell_kit.chance import uniform as chance
from dunwell_retry.planning import explain
from dunwell_retry.planning.candidates import Candidates, candidates
from dunwell_retry.planning.coverage import Option, Pick, Terms, choose, gains
from dunwell_retry.planning.local import instant, local_seconds
from dunwell_retry.planning.model import Case, Method, Plan, PlannedAttempt, Refused
from dunwell_retry.planning.parameters import REASONS, Floats, Model
from dunwell_retry.planning.permits import Permits
from dunwell_retry.planning.posterior import (
    advice_factors,
    row_weights,
)
from dunwell_retry.planning.reading import Reading, outage_since, read
from dunwell_retry.planning.scenarios import (
    AUTH,
    CYCLE,
    DEAD,
    EXPIRED,
    OUTAGE,
    REVOKED,
    Columns,
    Ints,
    Reals,
    cycle_chances,
)
from dunwell_retry.planning.view import View, view_of
from dunwell_retry.policies.document import Policy
from dunwell_retry.rules.values import quick

_DAY, _HOUR = 86400, 3600
# An amount in a currency without a rate is valued like a common subscription.
_VALUE_UNKNOWN = 2800.0
# Explorations take an instant whose gain is at least this share of the best one's.
_NEARLY_AS_GOOD = 0.8
_PAYER_FIXABLE = (EXPIRED, DEAD, REVOKED, AUTH)


def story_weights(view: View, model: Model, readings: Sequence[Reading], refused: Reals) -> Floats:
    """Return P(story) after everything that is known; `refused` holds the chances of the charges, (charge, story)."""
    case = view.case
    last = case.sent[-1] if case.sent else None
    first = case.decline if case.failed_on is None else None
    decline, at = (last.decline, view.sent[-1]) if last else (first, view.failed)
    advice = None
    hours = model.advice_hours.get(decline.advice_code or "") if decline else None
    if hours is not None and readings[-1].observed == "insufficient_funds":
        advice = advice_factors(model, view.table, view.layout, at // _DAY, hours)
    return row_weights(view.layout, view.reasons, _telling(view, readings, refused), advice)


def _telling(view: View, readings: Sequence[Reading], refused: Reals) -> Reals:
    """Return the chances of the charges as evidence: one that met an outage tells about nothing but the outage."""
    down = [number for number, reading in enumerate(readings) if reading.observed == "outage"]
    if not down:
        return refused
    told = refused.copy()
    told[np.ix_(np.array(down), np.flatnonzero(view.layout.reason != OUTAGE))] = 0.0
    return told


def _second_method(
    view: View, model: Model, method: Method, at: Ints, cycle: Reals, reading: Reading | None
) -> Option:  # fmt: skip
    """Return the instants of a method that has not failed yet: mostly good, sometimes short of the same money.

    Args:
        cycle: Chances of the first method's pay-cycle stories, (instant, story).
    """
    other = model.section("other_method")
    good = np.full((cycle.shape[0], 1), other["open"], dtype=np.float32)
    dead = np.zeros((cycle.shape[0], 1), dtype=np.float32)
    within = (view.past.weights[:, None] * model.span_weights[None, :]).ravel()
    weight = np.concatenate([other["funds"] * within, [other["good"], other["dead"]]])
    attempts = [
        local_seconds(charge.at, view.where)
        for charge in view.case.sent
        if charge.instrument_id == method.instrument_id and not charge.approved
    ]
    if attempts:
        moments = np.array(attempts, dtype=np.int64)
        tried = Columns(
            moments // _DAY, moments % _DAY, np.zeros(moments.size), np.full(moments.size, 999.0),
            np.zeros(moments.size, dtype=bool),
        )  # fmt: skip
        refused = cycle_chances(model, view.table, view.past.hypotheses, tried)
        weight[:-2] *= np.multiply.reduce(1 - refused, axis=0)
        weight[-2] *= (1 - other["open"]) ** len(attempts)
    if reading is not None and reading.hard:
        weight[:-1] = 0
    cost = model.debit_cost if method.kind == "bank_debit" else model.attempt_cost
    return Option(
        weight / weight.sum(), np.concatenate([cycle, good, dead], axis=1), at, np.ones(at.size, dtype=bool), cost,
        slice(0, 0), 1.0,
    )  # fmt: skip


def _mask_by_rules(
    view: View, permits: Permits, method: str, at: Ints, allowed: NDArray[np.bool_]
) -> str | None:  # fmt: skip
    """Forbid the instants before which the gate refuses a charge; return its reason when it refuses for good."""
    left = at[allowed]
    if not left.size:
        return None
    # The first instant that is left is asked; nothing before the gate's answer can be permitted either.
    start = instant(int(left.min()), view.where)
    verdict = permits.ask(start, method)
    if verdict.permit:
        return None
    if verdict.not_before is None or verdict.not_before > view.case.deadline:
        allowed[:] = False
        return f"{verdict.rule}: {verdict.reason}"
    allowed &= at >= local_seconds(verdict.not_before, view.where) + 60
    return None


@quick
@dataclass(frozen=True, slots=True)
class _Choice:
    """The charges chosen together, and all that they were chosen from.

    Args:
        weights: P(story), as `options` had it before the choice.
        barred: Methods that the gate refuses for good, with its reason.
    """

    view: View
    ahead: Candidates
    weights: Floats
    options: list[Option]
    barred: dict[str, str]
    budget: int
    terms: Terms
    picks: list[Pick]


def smart_plan(
    case: Case, policy: Policy, *, now: datetime, seed: int, permits: Permits, model: Model, readings: Sequence[Reading],
    look_ahead: int | None = None, notes: tuple[str, ...] = (),
) -> Plan:  # fmt: skip
    """Return the plan of a case by the scenario model; its own notes follow the given ones."""
    choice = _chosen(case, policy, now, permits, model, readings)
    chosen, propensity = _explored(case, policy, seed, choice)
    attempts, turned_down = _permitted(choice, permits, chosen, propensity, look_ahead)
    return _assemble(choice, policy, now, seed, model, attempts, turned_down, look_ahead, notes)


def smart_charge(
    case: Case, policy: Policy, *, now: datetime, seed: int, permits: Permits, model: Model, readings: Sequence[Reading]
) -> PlannedAttempt | None:
    """Return the first charge of the plan that `smart_plan` makes, without what only people read of it."""
    exploring = _explores(case, policy, seed)
    choice = _chosen(case, policy, now, permits, model, readings, picks_only=not exploring)
    picks = choice.picks
    if exploring:
        picks, _ = _explored(case, policy, seed, choice)
    for pick in _in_time(choice, picks):
        when, method, route = _place(choice, pick)
        verdict = permits.ask(when, method)
        if verdict.permit:
            return PlannedAttempt(when, method, route, _round(pick.chance), _round(pick.gain), 1.0, "", verdict.rule)
    return None


def _chosen(
    case: Case, policy: Policy, now: datetime, permits: Permits, model: Model, readings: Sequence[Reading],
    *, picks_only: bool = False,
) -> _Choice:  # fmt: skip
    view = view_of(case, now, model, readings)
    ahead = candidates(view, policy, model, outage_since(case, readings))
    at, chance_of = ahead.at, ahead.chance
    weights = story_weights(view, model, readings, ahead.refused)
    barred: dict[str, str] = {}
    options: list[Option] = []
    for number, method in enumerate(case.methods):
        if number == 0:
            cost = model.debit_cost if method.kind == "bank_debit" else model.attempt_cost
            option = Option(
                weights, chance_of, at, ahead.allowed.copy(), cost, view.layout.risk, model.section("risk")["repeat"]
            )
        else:
            cycle = chance_of[:, : view.layout.cycles]
            option = _second_method(view, model, method, at, cycle, _last_reading(case, method))
            option.allowed = ahead.allowed & ~ahead.other_route
        option.ordered = ahead.ordered
        why = _mask_by_rules(view, permits, method.instrument_id, at, option.allowed)
        if why is not None:
            barred[method.instrument_id] = why
        options.append(option)
    budget = _budget(case, policy)
    terms = _terms(view, policy, model)
    picks = choose(options, budget, terms, ahead.ladder, picks_only=picks_only)
    return _Choice(view, ahead, weights, options, barred, budget, terms, picks)


def _last_reading(case: Case, method: Method) -> Reading | None:
    for charge in reversed(case.sent):
        if charge.instrument_id == method.instrument_id and not charge.approved:
            return read(charge.decline, case.gateway, method.network, charge.at.date(), method.country)
    return None


def _budget(case: Case, policy: Policy) -> int:
    most = policy.attempts_max if case.attempts_max is None else min(policy.attempts_max, case.attempts_max)
    return max(0, most - len([charge for charge in case.sent if charge.initiator == "merchant"]))


def _terms(view: View, policy: Policy, model: Model) -> Terms:
    case = view.case
    rate = model.usd_per_unit.get(case.currency)
    # Yen and the like have no minor unit, so that one of them is one of it.
    minor = 1 if case.currency in ("JPY", "KRW", "CLP", "VND") else 100
    value = _VALUE_UNKNOWN if rate is None else case.amount_minor / minor * 100 * rate
    gap = max(policy.min_gap_hours, float(case.min_gap_hours or 0))
    return Terms(value, policy.gain_min, int(gap * _HOUR), model.delay_per_day / _DAY, view.failed)


def _explores(case: Case, policy: Policy, seed: int) -> bool:
    """Return whether this plan may try another instant than the best one."""
    return policy.exploration > 0 and chance("explore", seed, case.invoice_id, len(case.sent)) < policy.exploration


def _explored(case: Case, policy: Policy, seed: int, choice: _Choice) -> tuple[list[Pick], float]:
    """Return the picks, now and then with another instant for the first one to be sent, and its propensity."""
    picks, options, terms = choice.picks, choice.options, choice.terms
    if policy.exploration <= 0 or not picks:
        return picks, 1.0
    first = min(picks, key=lambda pick: int(options[pick.option].at[pick.column]))
    option = options[first.option]
    others = [pick for pick in picks if pick is not first]
    columns, scores = _nearly_as_good(option, first.column, options, others, terms)
    share = policy.exploration / columns.size
    if not _explores(case, policy, seed):
        return picks, 1 - policy.exploration + share
    place = int(chance("explore where", seed, case.invoice_id, len(case.sent)) * columns.size)
    column = int(columns[place])
    if column == first.column:
        return picks, 1 - policy.exploration + share
    moved = Pick(first.option, column, first.gain, float(scores[place]))
    return [moved, *others], share


def _nearly_as_good(
    option: Option, first: int, options: list[Option], others: list[Pick], terms: Terms
) -> tuple[Ints, Reals]:
    """Return the columns that may be sent instead of the first one, itself among them, and their chances."""
    start = int(option.at[first])
    # Only later instants within two gaps are looked at: the first charge may move, not disappear.
    near = np.flatnonzero((option.at >= start) & (option.at < start + 2 * terms.gap_seconds))
    at = option.at[near]
    scores = option.chance[near] @ option.weight.astype(np.float32)
    good = (scores >= _NEARLY_AS_GOOD * scores[near == first]) & (at > terms.start)
    for pick in others:
        good &= np.abs(at - options[pick.option].at[pick.column]) >= terms.gap_seconds
    good |= near == first
    return near[good], scores[good]


def _in_time(choice: _Choice, picks: list[Pick]) -> list[Pick]:
    return sorted(picks, key=lambda pick: int(choice.options[pick.option].at[pick.column]))


def _place(choice: _Choice, pick: Pick) -> tuple[datetime, str, str]:
    """Return when, on which method and through which processor a pick is sent."""
    case = choice.view.case
    other = pick.option == 0 and choice.ahead.other_route[pick.column]
    when = instant(int(choice.options[pick.option].at[pick.column]), choice.view.where)
    return when, case.methods[pick.option].instrument_id, case.routes[1] if other else case.routes[0]


def _permitted(
    choice: _Choice, permits: Permits, picks: list[Pick], propensity: float, look_ahead: int | None
) -> tuple[list[PlannedAttempt], list[Refused]]:
    """Return the picks in the order of time that the gate permits, each supposed refused before the next."""
    view = choice.view
    attempts: list[PlannedAttempt] = []
    turned_down: list[Refused] = []
    for number, pick in enumerate(_in_time(choice, picks)):
        if look_ahead is not None and len(attempts) >= look_ahead:
            break
        when, method, route = _place(choice, pick)
        verdict = permits.ask(when, method)
        if not verdict.permit:
            text = f"{verdict.rule}: {verdict.reason}"
            turned_down.append(Refused(when, method, route, pick.chance, pick.gain, text))
            continue
        other_route = route != view.case.routes[0]
        reason = explain.why_then(view.layout, choice.options[0].chance, choice.weights, pick, other_route)
        share = propensity if number == 0 else 1.0
        attempts.append(
            PlannedAttempt(when, method, route, _round(pick.chance), _round(pick.gain), share, reason, verdict.rule)
        )
        if look_ahead is None or len(attempts) < look_ahead:
            permits = permits.supposing(when, method)
    return attempts, turned_down


def _round(value: float) -> float:
    """Return a probability short enough to be the same on every machine that does the same sums."""
    return round(float(value), 4)


def _posterior(view: View, weights: Floats) -> dict[str, float]:
    shares = np.bincount(view.layout.reason, weights=weights, minlength=len(REASONS))
    return {reason: _round(share) for reason, share in zip(REASONS, shares.tolist(), strict=True)}


def _assemble(
    choice: _Choice, policy: Policy, now: datetime, seed: int, model: Model, attempts: list[PlannedAttempt],
    turned_down: list[Refused], look_ahead: int | None, notes: tuple[str, ...],
) -> Plan:  # fmt: skip
    view, barred, budget = choice.view, choice.barred, choice.budget
    case, posterior = view.case, _posterior(view, choice.weights)
    fixable = sum(posterior[REASONS[number]] for number in _PAYER_FIXABLE)
    expected = sum(attempt.gain or 0.0 for attempt in attempts)
    limit = case.failed_at + timedelta(days=policy.silent_days)
    silent = limit if attempts and attempts[0].at <= limit and fixable < 0.5 else None
    refused = turned_down if look_ahead else turned_down + _alternatives(view, choice.options, policy)
    return Plan(
        case_id=case.case_id,
        policy=policy.name,
        policy_version=policy.version,
        policy_kind=policy.kind,
        model_edition=model.edition,
        made_at=now.astimezone(UTC),
        seed=seed,
        attempts=tuple(attempts),
        silent_until=silent,
        deadline=case.deadline,
        expected=_round(expected),
        posterior=posterior,
        rhythm=explain.rhythm_text(view.past) if posterior[REASONS[CYCLE]] > 0.1 else None,
        budget_left=budget,
        stop=None if attempts else explain.why_stop(barred, turned_down, budget, posterior),
        payer_can_fix=fixable >= 0.5,
        refused=tuple(refused),
        changes=explain.CHANGES,
        notes=(*notes, *(f"{method} is out: {why}" for method, why in barred.items())),
    )


def _alternatives(view: View, options: list[Option], policy: Policy) -> list[Refused]:
    """Return the best instants that were left out, with what each would still add."""
    option = options[0]
    left = gains(options)[0]
    left = np.where(option.allowed, left, -1.0)
    found = []
    for _ in range(3):
        column = int(left.argmax())
        if left[column] <= 0:
            break
        found.append(
            Refused(
                instant(int(option.at[column]), view.where),
                view.case.methods[0].instrument_id,
                view.case.routes[0],
                _round(float(option.chance[column] @ option.weight)),
                _round(float(left[column])),
                f"would add {left[column]:.1%}; a charge must add {policy.gain_min:.1%} and more than it costs",
            )
        )
        left[np.abs(option.at - option.at[column]) < _DAY] = -1.0
    return found
