"""Which policy plans a case now: the tenant's documents, the off switch, the holdout; and what a shadow would do.

Owns: the order of these. A held-out payer keeps the holdout's policy; else the narrowest fitting document plans, else
the service's own; `smart` that is switched off gives way to pay days, whoever named it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dunwell_retry.model import Plan, Situation
from dunwell_retry.planners import planner, planning_case
from dunwell_retry.planning.holdout import held_out
from dunwell_retry.planning.planner import payday_instead
from dunwell_retry.policies import PRESETS, Policy
from dunwell_retry.policies.selection import select
from dunwell_retry.policy import Planner, RetryPolicy

# Two policies that charge within an hour of each other do the same: banks decide by the hour at the finest.
SAME_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who plans, and why another does not.

    Args:
        document: The saved policy that plans, if one does.
        held_out: True when that is so because a document leaves the payer to it for good.
    """

    name: str
    planner: Planner
    note: str = ""
    document: Policy | None = None
    held_out: bool = False


def planned(situation: Situation, policy: RetryPolicy, now: datetime) -> Plan:
    """Return the plan of a case by the policy that governs it now."""
    chosen = governing_policy(situation, policy)
    plan = chosen.planner(situation, now)
    notes = (*situation.governing.notes, *([chosen.note] if chosen.note else []))
    if notes:
        told = [*plan.explanation.get("notes", []), *notes]
        plan = replace(plan, explanation={**plan.explanation, "notes": told})
    if chosen.held_out:
        plan = replace(plan, explanation={**plan.explanation, "arm": "holdout"})
    if chosen.note and plan.rule != "retry.payer_fixed":
        plan = replace(plan, rule="retry.smart_off", why=f"{chosen.note}: pay days are used instead. {plan.why}")
    return plan


def governing_policy(situation: Situation, policy: RetryPolicy) -> Chosen:
    """Return who plans a case."""
    document, held = document_for(situation)
    off = situation.governing.smart_off
    if document is not None:
        if off and document.kind == "smart":
            return Chosen("payday", planner(payday_instead(document), policy.merchant_country), off, document, held)
        plans = planner(document, policy.merchant_country, policy.models)
        return Chosen(f"{document.name}@{document.version}", plans, "", document, held)
    assignment = situation.case.assignment
    name = assignment.policy if assignment.policy in policy.planners else policy.main_policy
    shipped = PRESETS.get(name)
    if off and shipped is not None and shipped.kind == "smart":
        return Chosen("payday", planner(payday_instead(shipped), policy.merchant_country), off)
    return Chosen(name, policy.planner(assignment))


def document_for(situation: Situation) -> tuple[Policy | None, bool]:
    """Return the saved policy that a case falls under, and whether its payer is held out by one; None: the service's."""
    documents = situation.governing.documents
    if not documents or situation.case.assignment.arm == "holdout":
        return None, False
    found = select(documents, planning_case(situation), None)
    if found is None or found.holdout is None:
        return found, False
    place = situation.case.place
    if not held_out(place.payer_id, found.holdout.share, place.tenant_id):
        return found, False
    named = found.holdout.policy
    return next((each for each in documents if each.name == named), PRESETS.get(named, found)), True


def by_smart(plan: Plan | None) -> bool:
    """True when a plan was made by the model."""
    return plan is not None and plan.explanation.get("policy_kind", plan.policy.partition("@")[0]) == "smart"


def shadowed(situation: Situation, plan: Plan, policy: RetryPolicy, now: datetime) -> dict[str, Any] | None:
    """Return what the shadow policy would do, beside what is done; None without a shadow."""
    shadow = situation.governing.shadow
    if shadow is None:
        return None
    name = f"{shadow.name}@{shadow.version}"
    try:
        other = planner(shadow, policy.merchant_country, policy.models)(situation, now)
    except ValueError as error:
        # A shadow acts on nothing, so it may break nothing.
        return {"policy": name, "beside": plan.policy, "verdict": "failed", "why": str(error)[:200]}
    edition = other.explanation.get("model_edition")
    told = {"beside": plan.policy, "attempts": len(other.attempts), "model_edition": edition}
    return {"policy": name, **told, **compared(plan, other)}


def compared(plan: Plan, other: Plan) -> Mapping[str, Any]:
    """Return how another plan's next attempt lies to this one's: verdict, hours (other minus this), when and why.

    The verdict is `same`, `earlier`, `later`, `other_method`, `would_stop` or `would_charge`.
    """
    mine = plan.attempts[0] if plan.attempts else None
    theirs = other.attempts[0] if other.attempts else None
    found: dict[str, Any] = {
        "at": theirs.at.isoformat() if theirs else None,
        "instrument_id": theirs.instrument_id if theirs else None,
        "score": theirs.score if theirs else None,
        "why": theirs.why if theirs else other.why,
        "hours": None,
    }
    if mine is None or theirs is None:
        verdict = "same" if mine is theirs else ("would_charge" if mine is None else "would_stop")
        return {"verdict": verdict, **found}
    ahead = theirs.at - mine.at
    found["hours"] = round(ahead / timedelta(hours=1), 2)
    if abs(ahead) > SAME_HOUR:
        verdict = "earlier" if ahead < timedelta(0) else "later"
    else:
        verdict = "same" if mine.instrument_id == theirs.instrument_id else "other_method"
    return {"verdict": verdict, **found}
