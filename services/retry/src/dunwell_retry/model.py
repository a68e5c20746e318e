"""What retry knows: a case, its instrument, its decline, its plan.

Owns: the value types and their JSON shape. Refuses: SQL, messages, any rule.
Amounts are integer minor units; instants aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from dunwell_retry.machines.case import ENDS, CaseState
from dunwell_retry.policies import Policy
from dunwell_retry.rules.model import Block, Instrument, PastAttempt

Document = Mapping[str, Any]
# What a `bigint` holds; no gateway bills more in one invoice, in any currency.
AMOUNT_MINOR_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Decline:
    """A refusal: the four raw values verbatim, and what our data makes of them."""

    gateway_code: str = ""
    network_code: str = ""
    advice_code: str = ""
    message: str = ""
    reason: str = "unknown"
    data_edition: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """The payer's instrument as gateways tell of it."""

    instrument_id: str = ""
    kind: str = "card"
    network: str = ""
    funding: str = "none"
    country: str = ""
    account_reference: str = ""
    expiry_month: int = 0
    expiry_year: int = 0

    def for_rules(self) -> Instrument:
        """Return it as the rule gate wants it."""
        return Instrument(
            instrument_id=self.instrument_id,
            kind=self.kind or "card",
            network=self.network or "unknown",
            funding=self.funding or "none",
            country=self.country or None,
            account_reference=self.account_reference or None,
            token=self.instrument_id or None,
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which arm of which experiment a payer is in: decided once, sticky."""

    experiment: str = ""
    version: int = 0
    arm: str = ""
    propensity: float = 1.0
    policy: str = ""


@dataclass(frozen=True, slots=True)
class PlannedAttempt:
    """One attempt ahead.

    Args:
        score: P(approve) as the planner sees it, in [0, 1]; None when the policy does not score.
        propensity: Chance with which this instant was chosen, in (0, 1]; 1 where nothing is explored.
    """

    at: datetime
    instrument_id: str
    why: str
    score: float | None = None
    propensity: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, and why.

    Args:
        attempts: In order; empty when nothing will be charged.
        payer_action: `none wait update_method authenticate contact_bank pay_link`.
        rule, why: The reason of the plan as a whole.
        explanation: Everything else a person may ask: posterior, refused alternatives, budget, editions.
    """

    attempts: tuple[PlannedAttempt, ...]
    silent_until: datetime | None
    deadline_at: datetime
    payer_action: str
    rule: str
    why: str
    policy: str
    explanation: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Which invoice of whom at which gateway account."""

    tenant_id: str
    gateway: str
    account: str
    payer_id: str
    invoice_id: str
    subscription_id: str = ""

    @property
    def key(self) -> str:
        """The partition key of its events."""
        return f"{self.tenant_id}:{self.payer_id or self.invoice_id}"


@dataclass(frozen=True, slots=True)
class Case:
    """One unpaid invoice on its way to an end.

    Args:
        payer_fixed: True while the next charge is the payer's own: he gave another method.
        fixed_at: When he did, as long as the charge that answers it is still to come.
        plan_name, segment: Labels that the tenant gave the payer at the gateway; policies may be selected by them.
        held_since, held_until: When a pause began, and when it ends by itself; None for a case that is not paused.
    """

    case_id: str
    place: Place
    payer_key: str
    currency: str
    amount_minor: int
    state: CaseState
    failed_at: datetime
    opened_at: datetime
    decline: Decline
    method: Method
    assignment: Assignment = Assignment()
    deadline_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    attempt_numbers: int = 0
    plan_number: int = 0
    plan: Plan | None = None
    timezone: str = ""
    plan_name: str = ""
    segment: str = ""
    payer_fixed: bool = False
    fixed_at: datetime | None = None
    held_by: str = ""
    held_since: datetime | None = None
    held_until: datetime | None = None
    settlement: Document = field(default_factory=dict)
    first_span: str = ""

    @property
    def ended(self) -> bool:
        """True when nothing more will happen to it."""
        return self.state in ENDS


@dataclass(frozen=True, slots=True)
class Governing:
    """What tenants and operators have set, as it is at a decision.

    Args:
        documents: Active policies of the tenant, his own before those for everybody.
        smart_off: Who switched `smart` off and why; empty while it is on.
        shadow: A policy that is asked beside and never acted on.
        notes: Saved documents that are left aside, each with the rule that it breaks today.
    """

    documents: tuple[Policy, ...] = ()
    smart_off: str = ""
    shadow: Policy | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a planner may look at: what webhooks, answers and the gateway told. Nothing of the future.

    Args:
        history: Every known attempt of anybody on this payer's instruments, in time order.
        methods: Instruments that may be charged, the preferred one first.
        blocks: What forbids charging at all.
    """

    case: Case
    history: tuple[PastAttempt, ...]
    methods: tuple[Method, ...]
    blocks: tuple[Block, ...] = ()
    governing: Governing = Governing()


def flat(value: Decline | Method | Assignment) -> dict[str, Any]:
    """Return a value of plain fields as JSON values; `asdict` would copy each of them."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def plan_document(plan: Plan | None) -> dict[str, Any]:
    """Return a plan as JSON values."""
    if plan is None:
        return {}
    # By hand and not by `asdict`, which would copy the explanation, by far the largest part, piece by piece.
    return {
        "attempts": [
            {
                "at": attempt.at.isoformat(),
                "instrument_id": attempt.instrument_id,
                "why": attempt.why,
                "score": attempt.score,
                "propensity": attempt.propensity,
            }
            for attempt in plan.attempts
        ],
        "silent_until": plan.silent_until.isoformat() if plan.silent_until else None,
        "deadline_at": plan.deadline_at.isoformat(),
        "payer_action": plan.payer_action,
        "rule": plan.rule,
        "why": plan.why,
        "policy": plan.policy,
        "explanation": dict(plan.explanation),
    }


def plan_from(document: Document) -> Plan | None:
    """Read a plan back; None from an empty document."""
    if not document:
        return None
    attempts = tuple(
        PlannedAttempt(
            datetime.fromisoformat(a["at"]), a["instrument_id"], a["why"], a["score"], a.get("propensity", 1.0)
        )
        for a in document["attempts"]
    )
    silent = document["silent_until"]
    return Plan(
        attempts=attempts,
        silent_until=datetime.fromisoformat(silent) if silent else None,
        deadline_at=datetime.fromisoformat(document["deadline_at"]),
        payer_action=document["payer_action"],
        rule=document["rule"],
        why=document["why"],
        policy=document["policy"],
        explanation=document["explanation"],
    )
