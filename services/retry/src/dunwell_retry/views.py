"""Read-only SQL for retry's API: cases, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from dunwell_kit.database import Database
from dunwell_kit.errors import NotFound
from dunwell_kit.money import Money
from dunwell_retry.rules.citations import sources_of

_SUMMARY = """case_id, tenant_id, gateway, account, payer_id, invoice_id, subscription_id, currency, amount_minor, state,
  failed_at, opened_at, ended_at, deadline_at, attempts, plan_number, decline->>'reason' AS decline_reason,
  assignment->>'arm' AS arm, assignment->>'policy' AS policy, held_by, held_since, held_until"""


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def cases(database: Database, tenant_id: str, state: str, after: str, limit: int) -> list[dict[str, Any]]:
    """Return cases, newest first, `after` being the last id of the page before."""
    rows = await database.read(
        f"""SELECT {_SUMMARY} FROM cases WHERE tenant_id=:tenant AND (:state='' OR state=:state)
             AND (:after='' OR case_id < :after) ORDER BY case_id DESC LIMIT :most""",  # noqa: S608
        tenant=tenant_id,
        state=state,
        after=after,
        most=limit,
    )
    return [dict(row) for row in rows]


async def case(database: Database, case_id: str) -> dict[str, Any]:
    """Return one case with its instrument, plan and attempts."""
    rows = await database.read(
        f"SELECT {_SUMMARY}, plan, decline, instrument, assignment, timezone FROM cases WHERE case_id=:id",  # noqa: S608
        id=case_id,
    )
    if not rows:
        raise NotFound(f"case {case_id!r} does not exist")
    attempts = await database.read(
        """SELECT attempt_id, attempt_number, amount_minor, currency, instrument_id, initiator, state, payment_id,
             gateway_object_id, intended_at, sent_at, ended_at, outcome->>'detail' AS detail, policy, model_edition, arm,
             propensity, score
           FROM charge_attempts WHERE case_id=:id ORDER BY attempt_number""",
        id=case_id,
    )
    found = dict(rows[0])
    for name in ("plan", "decline", "instrument", "assignment"):
        found[name] = _json(found[name])
    found["charge_attempts"] = [dict(row) for row in attempts]
    return found


async def why(database: Database, case_id: str) -> dict[str, Any]:
    """Return every decision of a case: the rule, a sentence, the evidence, the inputs and what was refused."""
    now = await case(database, case_id)
    rows = await database.read(
        """SELECT decision_id, at, kind, rule, sentence, evidence, editions, inputs, outputs, shadow FROM decisions
           WHERE case_id=:id ORDER BY seq""",
        id=case_id,
    )
    decisions = []
    for row in rows:
        found = dict(row)
        for name in ("evidence", "editions", "inputs", "outputs", "shadow"):
            found[name] = _json(found[name])
        found["rule_sources"] = _rule_sources(found)
        decisions.append(found)
    return {
        "case_id": case_id,
        "state": now["state"],
        "summary": _summary(now),
        "next": _next(now),
        "would_change": _would_change(now),
        "decisions": decisions,
    }


def _rule_sources(decision: dict[str, Any]) -> dict[str, list[str]]:
    """Return where the rules of a decision's verdicts are written down, as of its day; those of no source are left out."""
    explanation = (decision["outputs"] or {}).get("explanation") or {}
    at: datetime = decision["at"]
    names = dict.fromkeys((decision["rule"], *(explanation.get("rules") or ())))
    found = {name: list(sources_of(name, at.astimezone(UTC).date())) for name in names}
    return {name: sources for name, sources in found.items() if sources}


def _summary(found: dict[str, Any]) -> str:
    reason = (found["decline_reason"] or "unknown").replace("_", " ")
    return (
        f"Invoice {found['invoice_id']} over {Money(found['currency'], found['amount_minor'])} failed with {reason};"
        f" {found['attempts']} attempts of ours so far; the case is {found['state']}."
    )


def _next(found: dict[str, Any]) -> str:
    plan = found["plan"]
    if found["state"] == "paused":
        again = f"the case is planned again at {found['held_until']}" if found["held_until"] else "until it is resumed"
        return f"Nothing: paused by {found['held_by']} since {found['held_since']}; {again}."
    if found["ended_at"] is not None:
        return "Nothing: the case has ended."
    if found["state"] == "uncertain":
        return "The gateway is asked what became of the last attempt; nothing else is sent before that is known."
    if plan and plan.get("attempts"):
        return f"An attempt at {plan['attempts'][0]['at']}: {plan['attempts'][0]['why']}"
    return f"No attempt; the payer is waited for until {found['deadline_at']}."


def _would_change(found: dict[str, Any]) -> list[str]:
    if found["ended_at"] is not None:
        return []
    changes = ["a payment, void or dispute of the invoice ends the case"]
    changes.append("another payment method of the payer is charged at once")
    if found["plan"]:
        changes.append("a new decline code changes the reason and with it the plan")
    return changes


async def counts(database: Database) -> dict[str, int]:
    """Return how many cases are in each state."""
    rows = await database.read("SELECT state, count(*) AS n FROM cases GROUP BY 1")
    return {row["state"]: int(row["n"]) for row in rows}
