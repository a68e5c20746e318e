"""What a decision saw, as JSON, and back: replaying it gives the same decision, by the model that made it or not at all.

Owns: the form in which inputs are kept. Refuses: the decision itself; `choice` makes it, then and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from dunwell_retry.decide.choice import planned
from dunwell_retry.machines.case import CaseState
from dunwell_retry.model import Assignment, Case, Decline, Governing, Method, Place, Plan, Situation
from dunwell_retry.planners import planners
from dunwell_retry.planning.parameters import Model, shipped
from dunwell_retry.policies import policy_of
from dunwell_retry.policies.document import document_of
from dunwell_retry.policies.models import Models, models_then
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules.model import Block, Initiator, Origin, PastAttempt


def inputs_document(
    situation: Situation, models: Models, now: datetime, not_at: datetime | None = None
) -> dict[str, Any]:
    """Return what the planner saw, as JSON values."""
    case, place = situation.case, situation.case.place
    return {
        "now": now.isoformat(),
        "not_at": _text(not_at),
        "case": {
            "case_id": case.case_id,
            "tenant_id": place.tenant_id,
            "gateway": place.gateway,
            "account": place.account,
            "payer_id": place.payer_id,
            "invoice_id": place.invoice_id,
            "currency": case.currency,
            "amount_minor": case.amount_minor,
            "failed_at": case.failed_at.isoformat(),
            "opened_at": case.opened_at.isoformat(),
            "deadline_at": _text(case.deadline_at),
            "attempts": case.attempts,
            "timezone": case.timezone,
            "payer_fixed": case.payer_fixed,
            "fixed_at": _text(case.fixed_at),
            "decline": asdict(case.decline),
            "policy": case.assignment.policy,
            "arm": case.assignment.arm,
            "plan_name": case.plan_name,
            "segment": case.segment,
        },
        "methods": [asdict(method) for method in situation.methods],
        "history": [_past_document(past) for past in situation.history],
        "blocks": [{"kind": b.kind, "since": b.since.isoformat(), "until": _text(b.until)} for b in situation.blocks],
        "governing": _governing_document(situation.governing),
        "models": models.kept(),
    }


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _past_document(past: PastAttempt) -> dict[str, Any]:
    return {
        "at": past.at.isoformat(),
        "invoice_id": past.invoice_id,
        "amount_minor": past.amount_minor,
        "currency": past.currency,
        "initiator": past.initiator.value,
        "instrument_id": past.instrument_id,
        "approved": past.approved,
        "account_reference": past.account_reference,
        "token": past.token,
        "origin": past.origin.value,
        "network_code": past.network_code,
        "advice_code": past.advice_code,
        "gateway_code": past.gateway_code,
        "message": past.message,
    }


def _governing_document(governing: Governing) -> dict[str, Any]:
    """Return what governed; empty where nobody has set anything, as in most decisions."""
    found: dict[str, Any] = {}
    if governing.documents:
        found["documents"] = [document_of(policy) for policy in governing.documents]
    if governing.smart_off:
        found["smart_off"] = governing.smart_off
    if governing.shadow is not None:
        found["shadow"] = document_of(governing.shadow)
    if governing.notes:
        found["notes"] = list(governing.notes)
    return found


def situation_of(inputs: Mapping[str, Any]) -> Situation:
    """Return the situation that inputs were kept of; what no planner looks at is empty."""
    kept = inputs["case"]
    place = Place(kept["tenant_id"], kept["gateway"], kept["account"], kept["payer_id"], kept["invoice_id"])
    methods = tuple(Method(**method) for method in inputs["methods"])
    case = Case(
        case_id=kept["case_id"],
        place=place,
        payer_key="",
        currency=kept["currency"],
        amount_minor=kept["amount_minor"],
        state=CaseState.WAITING,
        failed_at=datetime.fromisoformat(kept["failed_at"]),
        opened_at=datetime.fromisoformat(kept["opened_at"]),
        decline=Decline(**kept["decline"]),
        method=methods[0],
        assignment=Assignment(arm=kept.get("arm", ""), policy=kept["policy"]),
        deadline_at=_instant(kept["deadline_at"]),
        attempts=kept["attempts"],
        timezone=kept["timezone"],
        plan_name=kept.get("plan_name", ""),
        segment=kept.get("segment", ""),
        payer_fixed=kept["payer_fixed"],
        fixed_at=_instant(kept.get("fixed_at")),
    )
    history = tuple(_past(each) for each in inputs["history"])
    blocks = tuple(
        Block(b["kind"], datetime.fromisoformat(b["since"]), _instant(b.get("until"))) for b in inputs["blocks"]
    )
    governing = _governing(inputs.get("governing", {}))
    return Situation(case, history, methods, blocks, governing)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _past(kept: Mapping[str, Any]) -> PastAttempt:
    told = {
        "at": datetime.fromisoformat(kept["at"]),
        "initiator": Initiator(kept["initiator"]),
        "origin": Origin(kept["origin"]),
    }
    return PastAttempt(**{**kept, **told})


def _governing(kept: Mapping[str, Any]) -> Governing:
    return Governing(
        tuple(policy_of(document) for document in kept.get("documents", [])),
        kept.get("smart_off", ""),
        policy_of(kept["shadow"]) if kept.get("shadow") else None,
        tuple(kept.get("notes", [])),
    )


def replayed(inputs: Mapping[str, Any], policy: RetryPolicy, files: Sequence[Model] = ()) -> Plan:
    """Return the plan that was made from kept inputs, while decline data and rules are the same as then.

    It is made by the model of then: found among the service's own, the shipped one and those given. One that was made
    by pay days because the service's model was unusable is made so again. What was kept before models could be
    promoted was made by the shipped one.

    Args:
        files: Further models, e.g. of editions that were promoted before.

    Raises:
        ModelMissing: The model of then is none of these; another one would tell another story without a word.
    """
    plan = planned(situation_of(inputs), _as_then(inputs, policy, files), datetime.fromisoformat(inputs["now"]))
    not_at = _instant(inputs.get("not_at"))
    if not_at is None:
        return plan
    return replace(plan, attempts=tuple(a for a in plan.attempts if a.at > not_at))


def _as_then(inputs: Mapping[str, Any], policy: RetryPolicy, files: Sequence[Model]) -> RetryPolicy:
    """Return the policy with the models that the decision was made under."""
    own = policy.models
    here = [model for model in (own.promoted, own.base, *files) if isinstance(model, Model)]
    models = models_then(inputs.get("models"), [*here, shipped()])
    if models.kept() == own.kept():
        return policy
    return replace(policy, models=models, planners={**policy.planners, **planners(policy.merchant_country, models)})
