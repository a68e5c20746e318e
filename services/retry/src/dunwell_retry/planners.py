"""The planners by name: every shipped policy document, planned by the one planner that the back-test runs too.

Owns: the translation between a recovery case as the service knows it and as the planner does. Pure.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from typing import Any

from dunwell_retry import planning
from dunwell_retry.model import Case, Decline, Method, Plan, PlannedAttempt, Situation
from dunwell_retry.planning.model import Block, Past, Sent, as_json
from dunwell_retry.policies import PRESETS, Policy
from dunwell_retry.policy import HORIZON, Planner
from dunwell_retry.rules.model import Initiator, PastAttempt

# What the payer can do, by canonical reason; a reason that is not here heals with time or not at all.
PAYER_ACTIONS = {
    "expired": "update_method",
    "bad_credential": "update_method",
    "dead_card": "update_method",
    "revoked": "pay_link",
    "auth_required": "authenticate",
    "not_permitted": "contact_bank",
}
# A charge less than this after the failure is the failure itself, told again with another clock.
SAME_CHARGE = timedelta(minutes=1)
# So many refused alternatives are kept with a decision; a person reads no more.
ALTERNATIVES_KEPT = 8


def planners() -> dict[str, Planner]:
    """Return a planner for every shipped policy."""
    return {name: planner(policy) for name, policy in PRESETS.items()}


def planner(policy: Policy) -> Planner:
    """Return the planner of one policy document."""

    def plan(situation: Situation, now: datetime) -> Plan:
        case = planning_case(situation)
        # The invoice and its attempts so far, not a minted id: the same campaign explores the same way again.
        seed = zlib.crc32(f"{case.invoice_id}|{len(case.sent)}".encode())
        return _service_plan(situation, planning.plan(case, policy, now=now, seed=seed), policy)

    return plan


def planning_case(situation: Situation) -> planning.Case:
    """Return the case as the planner wants it; everything in it was told by webhooks, answers or the gateway."""
    case = situation.case
    ours = [
        p for p in situation.history if p.invoice_id == case.place.invoice_id and p.at > case.failed_at + SAME_CHARGE
    ]
    before = [p for p in situation.history if p.at < case.failed_at - SAME_CHARGE]
    return planning.Case(
        case_id=case.case_id,
        invoice_id=case.place.invoice_id,
        payer_id=case.place.payer_id,
        tenant_id=case.place.tenant_id,
        amount_minor=case.amount_minor,
        currency=case.currency,
        timezone=case.timezone or "UTC",
        gateway=case.place.gateway,
        failed_at=case.failed_at,
        deadline=case.deadline_at or case.failed_at + HORIZON,
        decline=_first_decline(situation),
        methods=tuple(_method(m) for m in situation.methods),
        sent=tuple(_sent(p) for p in ours),
        history=tuple(Past(p.at, p.amount_minor, p.approved, _told(p)) for p in before),
        blocks=tuple(Block(b.kind, b.since, b.until) for b in situation.blocks),
        first_presented_at=case.failed_at if case.method.kind == "bank_debit" else None,
    )


def _first_decline(situation: Situation) -> planning.Decline:
    """Return what the failure itself said; the case holds what was said last."""
    case = situation.case
    told = (p for p in situation.history if p.invoice_id == case.place.invoice_id)
    first = next((p for p in told if abs(p.at - case.failed_at) <= SAME_CHARGE), None)
    return (_told(first) if first else None) or _decline(case.decline)


def _decline(decline: Decline) -> planning.Decline:
    return planning.Decline(
        decline.gateway_code or None, decline.network_code or None, decline.advice_code or None, decline.message or None
    )


def _told(past: PastAttempt) -> planning.Decline | None:
    if past.approved:
        return None
    return planning.Decline(past.gateway_code, past.network_code, past.advice_code, past.message)


def _method(method: Method) -> planning.Method:
    expires = (method.expiry_year, method.expiry_month) if method.expiry_year and method.expiry_month else None
    return planning.Method(
        instrument_id=method.instrument_id,
        kind=method.kind or "card",
        network=method.network or "unknown",
        funding=method.funding or "none",
        country=method.country or None,
        expires=expires,
        account_reference=method.account_reference or None,
        token=method.instrument_id or None,
    )


def _sent(past: PastAttempt) -> Sent:
    initiator = "payer" if past.initiator is Initiator.PAYER else "merchant"
    return Sent(past.at, past.instrument_id, "default", past.approved, _told(past), initiator, past.origin.value)


def _service_plan(situation: Situation, found: planning.Plan, policy: Policy) -> Plan:
    case = situation.case
    attempts = tuple(PlannedAttempt(a.at, a.instrument_id, a.reason, a.chance) for a in found.attempts)
    return Plan(
        attempts=attempts,
        silent_until=found.silent_until,
        deadline_at=case.deadline_at or case.failed_at + HORIZON,
        payer_action=_payer_action(case, found),
        rule=f"retry.policy.{policy.name}",
        why=_sentence(found),
        policy=f"{policy.name}@{policy.version}",
        explanation=_explanation(found),
    )


def _payer_action(case: Case, found: planning.Plan) -> str:
    named = PAYER_ACTIONS.get(case.decline.reason)
    if named is not None:
        return named
    if found.payer_can_fix:
        return "update_method"
    return "wait" if found.attempts else "pay_link"


def _sentence(found: planning.Plan) -> str:
    if not found.attempts:
        return f"No further attempt: {found.stop or 'nothing is worth its cost'}."
    likely = max(found.posterior.items(), key=lambda item: item[1], default=None)
    guess = (
        f" Most likely behind the refusal: {likely[0].replace('_', ' ').lower()} ({likely[1]:.0%})." if likely else ""
    )
    hope = f" Together they bring the money in with {found.expected:.0%}." if found.expected else ""
    return f"{len(found.attempts)} attempts planned as a set, {found.budget_left} allowed.{guess}{hope}"


def _explanation(found: planning.Plan) -> dict[str, Any]:
    return {
        "model_edition": found.model_edition,
        "posterior": as_json(found.posterior),
        "rhythm": found.rhythm,
        "expected": found.expected,
        "budget_left": found.budget_left,
        "stop": found.stop,
        "alternatives": [
            {"at": as_json(r.at), "instrument_id": r.instrument_id, "score": r.chance, "gain": r.gain, "why": r.reason}
            for r in found.refused[:ALTERNATIVES_KEPT]
        ],
        "propensities": [a.propensity for a in found.attempts],
        "rules": sorted({a.rule for a in found.attempts}),
        "sources": list(found.sources),
        "changes": list(found.changes),
        "notes": list(found.notes),
    }
