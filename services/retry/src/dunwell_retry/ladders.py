"""Fixed ladders: the simplest planners, and what everything else falls back to. Pure.

Owns: which payer action a reason calls for. Every date is asked of the rule gate when it is planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dunwell_retry.model import Plan, PlannedAttempt, Situation
from dunwell_retry.policy import HORIZON, Gate, Planner
from dunwell_retry.rules.model import Attempt, Initiator

# What the payer can do, by canonical reason; a reason that is not here heals with time or not at all.
PAYER_ACTIONS = {
    "expired": "update_method",
    "bad_credential": "update_method",
    "dead_card": "update_method",
    "revoked": "pay_link",
    "auth_required": "authenticate",
    "not_permitted": "contact_bank",
}
SILENT_DAYS = 3


def payer_action(reason: str) -> str:
    """Return what the payer can do about a reason."""
    return PAYER_ACTIONS.get(reason, "wait")


def ladder(days: Sequence[float], name: str, gate: Gate) -> Planner:
    """Return a planner that tries on the given days after the first failure, as far as the gate permits.

    Args:
        days: Days after the failure, growing.
    """

    def plan(situation: Situation, now: datetime) -> Plan:
        case = situation.case
        deadline = case.failed_at + HORIZON
        attempts: list[PlannedAttempt] = []
        refused = ""
        method = situation.methods[0]
        for day in days:
            at = case.failed_at + timedelta(days=day)
            if at <= now or at >= deadline:
                continue
            verdict = gate(
                Attempt(
                    at=at,
                    invoice_id=case.place.invoice_id,
                    amount_minor=case.amount_minor,
                    currency=case.currency,
                    initiator=Initiator.MERCHANT,
                    gateway=case.place.gateway,
                    instrument=method.for_rules(),
                    blocks=situation.blocks,
                ),
                situation.history,
            )
            if verdict.permit:
                attempts.append(PlannedAttempt(at, method.instrument_id, f"Day {day:g} of the schedule {name}."))
            else:
                refused = f" The rule {verdict.rule} refused a date: {verdict.reason}"
        action = payer_action(case.decline.reason)
        return Plan(
            attempts=tuple(attempts),
            silent_until=case.failed_at + timedelta(days=SILENT_DAYS),
            deadline_at=deadline,
            payer_action=action if action != "wait" or attempts else "pay_link",
            rule=f"retry.policy.{name}",
            why=f"{len(attempts)} attempts by the schedule {name}.{refused}",
            policy=name,
        )

    return plan
