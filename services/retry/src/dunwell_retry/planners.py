"""The planners by name: every shipped policy document, planned by the one planner that the back-test runs too.

Owns: the translation between a recovery case as the service knows it and as the planner does. Pure.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dunwell_retry import planning
from dunwell_retry.model import Case, Decline, Method, Plan, PlannedAttempt, Situation
from dunwell_retry.planning.model import Block, Past, Sent, as_json
from dunwell_retry.planning.planner import payday_instead
from dunwell_retry.policies import PRESETS, Policy
from dunwell_retry.policies.models import Models
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
FIXED = "The payer gave another payment method, so it is charged at once."
# A charge less than this after the failure is the failure itself, told again with another clock.
SAME_CHARGE = timedelta(minutes=1)
# So many refused alternatives are kept with a decision; a person reads no more.
ALTERNATIVES_KEPT = 8
_SHIPPED = Models()


def planners(merchant_country: str | None = None, models: Models = _SHIPPED) -> dict[str, Planner]:
    """Return a planner for every shipped policy."""
    return {name: planner(policy, merchant_country, models) for name, policy in PRESETS.items()}


def planner(policy: Policy, merchant_country: str | None = None, models: Models = _SHIPPED) -> Planner:
    """Return the planner of one policy document.

    Args:
        merchant_country: ISO 3166 alpha-2; the rule gate is asked with it when a charge is planned as when it is sent.
        models: What `smart` plans by; where none of them may, the pay-day rule does, and the plan says why.
    """

    def plan_of(situation: Situation, now: datetime) -> Plan:
        case = planning_case(situation, merchant_country)
        # The invoice and its attempts so far, not a minted id: the same campaign explores the same way again.
        seed = zlib.crc32(f"{case.invoice_id}|{len(case.sent)}".encode())
        model, lacking = models.of(policy) if policy.kind == "smart" else (None, "")
        acting = replace(payday_instead(policy), name=policy.name, version=policy.version) if lacking else policy
        found = planning.plan(case, acting, now=now, seed=seed, model=model)
        return _service_plan(situation, found, policy, lacking)

    return plan_of


def planning_case(situation: Situation, merchant_country: str | None = None) -> planning.Case:
    """Return the case as the planner wants it; everything in it was told by webhooks, answers or the gateway."""
    case = situation.case
    ours = [
        p for p in situation.history if p.invoice_id == case.place.invoice_id and p.at > case.failed_at + SAME_CHARGE
    ]
    first = _failure(situation)
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
        decline=(_told(first) if first else None) or _decline(case.decline),
        methods=tuple(_method(m) for m in situation.methods),
        sent=tuple(_sent(p) for p in ours),
        history=tuple(Past(p.at, p.amount_minor, p.approved, _told(p)) for p in before),
        blocks=tuple(Block(b.kind, b.since, b.until) for b in situation.blocks),
        first_presented_at=case.failed_at if case.method.kind == "bank_debit" else None,
        country=merchant_country,
        fixed_at=case.fixed_at,
        failed_on=_failed_on(case.method, first),
        plan_name=case.plan_name or None,
        segment=case.segment or None,
    )


def _failure(situation: Situation) -> PastAttempt | None:
    """Return the failure itself, if it was told: the case holds what was said last, of the method it has now."""
    case = situation.case
    told = (p for p in situation.history if p.invoice_id == case.place.invoice_id)
    return next((p for p in told if abs(p.at - case.failed_at) <= SAME_CHARGE), None)


def _failed_on(method: Method, first: PastAttempt | None) -> planning.Method | None:
    """Return the method that was refused when it is not the one in use any more."""
    if first is None or not first.instrument_id or first.instrument_id == method.instrument_id:
        return None
    return replace(
        _method(method),
        instrument_id=first.instrument_id,
        expires=None,
        account_reference=first.account_reference,
        token=first.instrument_id,
    )


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


def _service_plan(situation: Situation, found: planning.Plan, policy: Policy, lacking: str) -> Plan:
    """Return the plan as the service keeps it; `lacking` says why no model had a part in it though one should."""
    case = situation.case
    rule, why = f"retry.policy.{policy.name}", _sentence(found)
    if lacking:
        found = replace(found, notes=(*found.notes, f"{lacking}: planned by the pay-day rule instead"))
        rule, why = "retry.model_unusable", f"{lacking}: pay days are used instead. {why}"
    attempts = tuple(PlannedAttempt(a.at, a.instrument_id, a.reason, a.chance, a.propensity) for a in found.attempts)
    if found.answers_fix:
        attempts = tuple(replace(attempt, why=FIXED) for attempt in attempts)
    return Plan(
        attempts=attempts,
        silent_until=found.silent_until,
        deadline_at=case.deadline_at or case.failed_at + HORIZON,
        payer_action="none" if found.answers_fix else _payer_action(case, found),
        rule="retry.payer_fixed" if found.answers_fix else rule,
        why=FIXED if found.answers_fix else why,
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
        "policy_kind": found.policy_kind,
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
