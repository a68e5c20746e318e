"""A policy on trial: what it would change for open cases, and what it would have earned by the log.

Owns: the comparison of one case, and the reading of the log of choices. Refuses: to change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from dunwell_retry.decide.choice import SAME_HOUR, compared, governing_policy
from dunwell_retry.decide.inputs import situation_of
from dunwell_retry.model import Situation
from dunwell_retry.planners import planner, planning_case
from dunwell_retry.planning.logged import Logged
from dunwell_retry.planning.model import Decline, Sent
from dunwell_retry.planning.offpolicy import Choice, doubly_robust, inverse_propensity
from dunwell_retry.policies import Policy
from dunwell_retry.policies.models import Models
from dunwell_retry.policy import Planner, RetryPolicy

# Fewer decisions that speak about the policy than this are a hint and no estimate.
EFFECTIVE_MIN = 100


def tried(
    situation: Situation, trial: Policy, policy: RetryPolicy, *, now: datetime, models: Models | None = None
) -> dict[str, Any]:
    """Return what a document, were it saved now, would change for one open case.

    The verdict compares the next charge with the one that is armed: `unaffected` (another policy governs the case),
    `same`, `earlier`, `later`, `other_method`, `would_stop` or `would_charge`.

    Args:
        models: What the document would plan by; None = what the service does.
    """
    case, governing = situation.case, situation.governing
    others = tuple(each for each in governing.documents if each.name != trial.name)
    under = replace(situation, governing=replace(governing, documents=(trial, *others)))
    armed = case.plan.attempts if case.plan else ()
    chosen = governing_policy(under, replace(policy, models=models) if models else policy)
    found: dict[str, Any] = {
        "case_id": case.case_id,
        "invoice_id": case.place.invoice_id,
        "state": case.state.value,
        "policy_now": case.plan.policy if case.plan else case.assignment.policy,
        "next_now": armed[0].at.isoformat() if armed else None,
        "attempts_now": len(armed),
    }
    touched = chosen.document is trial or chosen.name != governing_policy(situation, policy).name
    if not touched or case.plan is None:
        same = {"policy_then": found["policy_now"], "next_then": found["next_now"], "attempts_then": len(armed)}
        return {**found, **same, "verdict": "unaffected", "hours": None, "why": "Another policy governs the case."}
    then = chosen.planner(under, now)
    told = compared(case.plan, then)
    return {
        **found,
        "policy_then": then.policy,
        "model_then": then.explanation.get("model_edition"),
        "next_then": told["at"],
        "attempts_then": len(then.attempts),
        "verdict": told["verdict"],
        "hours": told["hours"],
        "why": told["why"],
    }


@dataclass(frozen=True, slots=True)
class LoggedChoice:
    """One row of the view `logged_choices`: what was chosen with which chance, on what, and what came of it."""

    case_id: str
    instrument_id: str
    planned_at: datetime
    sent_at: datetime
    propensity: float
    score: float | None
    approved: bool
    inputs: Mapping[str, Any]
    decline: Decline | None = None
    arm: str = "treated"
    policy: str = ""


def evaluated(
    rows: Sequence[LoggedChoice], target: Policy, *, merchant_country: str | None = None, seed: int = 0,
    models: Models | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return how often a policy's next charge would have been approved, estimated from the log.

    Per decision, not per case: the log tells about the next charge, and later charges depend on it. A choice within
    the same hour on the same method counts as the same.

    Args:
        models: What the policy would plan by; None = the shipped model.
    """
    models = models or Models()
    rate = sum(row.approved for row in rows) / len(rows) if rows else 0.0
    plans = planner(target, merchant_country, models)
    choices = [_choice(row, plans, rate) for row in rows]
    matched = sum(choice.target > 0 for choice in choices)
    found: dict[str, Any] = {
        "policy": f"{target.name}@{target.version}",
        "model": _model_told(target, models),
        "decisions": len(rows),
        "matched": matched,
        "logged_rate": round(rate, 4),
        "estimates": [],
        "verdict": "The log says nothing about this policy: it never chose what this one would.",
    }
    if not matched:
        return found
    estimates = [inverse_propensity(choices, seed), doubly_robust(choices, seed)]
    found["estimates"] = [{k: round(v, 4) if k != "method" else v for k, v in asdict(e).items()} for e in estimates]
    effective = estimates[0].effective_cases
    robust = estimates[1]
    if effective < EFFECTIVE_MIN:
        found["verdict"] = f"A hint only: {effective:.0f} decisions speak about it, {EFFECTIVE_MIN} are needed."
    elif robust.low > rate:
        found["verdict"] = "Better than what was logged."
    elif robust.high < rate:
        found["verdict"] = "Worse than what was logged."
    else:
        found["verdict"] = "Not significantly different from what was logged."
    return found


def _model_told(target: Policy, models: Models) -> str:
    """Return the edition by which a policy plans, or why none may; empty for one without a model."""
    model, lacking = models.of(target) if target.kind == "smart" else (None, "")
    return model.edition if model else lacking


def _choice(row: LoggedChoice, plans: Planner, rate: float) -> Choice:
    plan = plans(situation_of(row.inputs), datetime.fromisoformat(row.inputs["now"]))
    first = plan.attempts[0] if plan.attempts else None
    expected = rate if row.score is None else row.score
    if first is None:
        # It would have sent nothing, and nothing comes of that.
        return Choice(row.propensity, 0.0, float(row.approved), expected, 0.0)
    same = first.instrument_id == row.instrument_id and abs(first.at - row.planned_at) <= SAME_HOUR
    share = first.propensity if same else 0.0
    hoped = rate if first.score is None else first.score
    return Choice(row.propensity, share, float(row.approved), expected, hoped)


def logged_cases(rows: Iterable[LoggedChoice]) -> list[Logged]:
    """Return logged choices, in the order of cases and of time, as the cases that fitting and estimates read."""
    found = []
    for _, of_case in groupby(rows, key=lambda row: row.case_id):
        charged = list(of_case)
        case = replace(planning_case(situation_of(charged[0].inputs)), sent=())
        sent = tuple(Sent(row.sent_at, row.instrument_id, "default", row.approved, row.decline) for row in charged)
        found.append(Logged(case, sent, tuple(row.propensity for row in charged)))
    return found
