"""SQL of what governs retry: tenants' policy documents, the off switch, shadows, and the blocks beside them.

Beside `store`, which would grow past its size with it. Owns: these two append-only tables. Refuses: who plans what;
that is `decide/choice`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from dunwell_kit.database import Tx
from dunwell_kit.errors import Conflict, Invalid, NotFound
from dunwell_kit.outputs import TimerSet
from dunwell_retry.model import Governing, Place
from dunwell_retry.policies import PRESETS, Policy, PolicyInvalid, policy_of
from dunwell_retry.policies.admission import admitted
from dunwell_retry.policies.document import document_of
from dunwell_retry.policies.models import Models
from dunwell_retry.rules.model import Block

# Stands for all tenants; no tenant is called so.
EVERYBODY = "*"
# So many cases are planned anew by one unit of work; it must end well within the statement's time.
PAGE = 500
_SHIPPED = Models()


class PolicyRefused(Invalid):
    """A policy document breaks a rule; nothing is saved."""

    slug = "policy-invalid"
    title = "Policy invalid"

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path}: {rule}")
        self.path, self.rule = path, rule

    def problem(self) -> dict[str, object]:
        """Return the problem with the field and the rule it breaks."""
        return {**super().problem(), "errors": [{"path": self.path, "rule": self.rule}]}


def checked(document: object, models: Models = _SHIPPED) -> Policy:
    """Return the policy of a document; PolicyRefused names the field and the rule that is broken."""
    try:
        return admitted(policy_of(document), models.editions())
    except PolicyInvalid as error:
        raise PolicyRefused(error.path, error.rule) from error


@dataclass(frozen=True, slots=True)
class Act:
    """Who sets something for a tenant (`*` for all), and why."""

    tenant_id: str
    by: str
    reason: str = ""


@lru_cache(maxsize=512)
def _policy(text: str) -> Policy:
    """Return a saved policy; a decision asks for the same few again and again."""
    return policy_of(json.loads(text))


_DOCUMENTS = """SELECT DISTINCT ON (d.tenant_id, d.name) d.tenant_id, d.name, d.version, d.document::text AS document
  FROM policy_documents d WHERE d.tenant_id IN (:t, '*') AND d.activated_at <= :now AND d.version > coalesce(
    (SELECT (s.value->>'version')::int FROM policy_switches s WHERE s.tenant_id=d.tenant_id AND s.kind='retired'
       AND s.name=d.name ORDER BY s.seq DESC LIMIT 1), 0)
  ORDER BY d.tenant_id, d.name, d.version DESC"""
_SWITCHES = """SELECT DISTINCT ON (tenant_id, kind) tenant_id, kind, value::text AS value, set_by, reason
  FROM policy_switches WHERE tenant_id IN (:t, '*') AND kind IN ('smart', 'shadow') ORDER BY tenant_id, kind, seq DESC"""
_GOVERNING = f"""SELECT tenant_id, 'document' AS kind, name, document AS value, '' AS set_by, '' AS reason,
    NULL::timestamptz AS since, NULL::timestamptz AS until FROM ({_DOCUMENTS}) d
  UNION ALL SELECT tenant_id, kind, '', value, set_by, reason, NULL, NULL FROM ({_SWITCHES}) s"""  # noqa: S608 - constants
_IN_FORCE = f"""{_GOVERNING}
  UNION ALL SELECT tenant_id, 'block', kind, '', '', '', since, until FROM blocks
    WHERE tenant_id IN (:t, '*') AND lifted_at IS NULL
      AND gateway IN (:g, '') AND payer_id IN (:p, '') AND invoice_id IN (:i, '')"""  # noqa: S608 - constants


async def governing(tx: Tx, tenant_id: str) -> Governing:
    """Return what governs a tenant's decisions at this instant."""
    return _governing(await tx.rows(_GOVERNING, t=tenant_id, now=tx.now))


async def in_force(tx: Tx, place: Place) -> tuple[Governing, tuple[Block, ...]]:
    """Return what governs decisions about an invoice at this instant, and what forbids to charge it."""
    rows = await tx.rows(
        _IN_FORCE, t=place.tenant_id, g=place.gateway, p=place.payer_id, i=place.invoice_id, now=tx.now
    )
    blocks = sorted((row for row in rows if row["kind"] == "block"), key=lambda row: row["since"])
    return (
        _governing([row for row in rows if row["kind"] != "block"]),
        tuple(Block(row["name"], row["since"], row["until"]) for row in blocks),
    )


def _governing(rows: Sequence[Any]) -> Governing:
    if not rows:
        return _UNSET
    # The tenant's own come before everybody's: of equally narrow documents the first one plans.
    ordered = sorted(rows, key=lambda row: (row["tenant_id"] == EVERYBODY, row["kind"], row["name"]))
    documents, notes = [], []
    for row in ordered:
        if row["kind"] != "document":
            continue
        try:
            documents.append(_policy(row["value"]))
        except PolicyInvalid as error:
            notes.append(f"saved policy {row['name']!r} breaks a rule of today ({error}): left aside")
    off = next((row for row in ordered if row["kind"] == "smart" and not json.loads(row["value"])["on"]), None)
    shadow = next((json.loads(row["value"])["policy"] for row in ordered if row["kind"] == "shadow"), None)
    return Governing(
        tuple(documents), _off_text(off) if off else "", _policy(json.dumps(shadow)) if shadow else None, tuple(notes)
    )


_UNSET = Governing()


def _off_text(row: Any) -> str:
    reason = f": {row['reason']}" if row["reason"] else ""
    return f"smart is switched off by {row['set_by']}{reason}"


async def save(tx: Tx, act: Act, policy: Policy, active_at: datetime | None) -> dict[str, Any]:
    """Add a version of a policy; the same document again changes nothing.

    Args:
        active_at: From when on it plans; None = now.

    Raises:
        Conflict: The version is not above the newest one of that name.
        PolicyRefused: Its holdout names no policy.
    """
    if policy.holdout is not None and policy.holdout.policy not in PRESETS:
        known = [each.name for each in (await governing(tx, act.tenant_id)).documents]
        if policy.holdout.policy not in known:
            raise PolicyRefused("holdout.policy", f"no policy {policy.holdout.policy!r} is shipped or saved")
    # One writer per name at a time, so that two cannot both be the next version.
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))", key=f"{act.tenant_id}|{policy.name}")
    newest = await tx.row(
        """SELECT version, document::text AS document, activated_at FROM policy_documents WHERE tenant_id=:t AND name=:name
             ORDER BY version DESC LIMIT 1""",
        t=act.tenant_id,
        name=policy.name,
    )
    if newest is not None and newest["version"] == policy.version and _policy(newest["document"]) == policy:
        return _saved(act.tenant_id, policy, newest["activated_at"])
    if newest is not None and newest["version"] >= policy.version:
        raise Conflict(
            f"policy {policy.name!r} has version {newest['version']} already; save a change as {newest['version'] + 1}"
        )
    from_when = max(active_at, tx.now) if active_at else tx.now
    await tx.execute(
        """INSERT INTO policy_documents (tenant_id, name, version, document, saved_by, saved_at, activated_at)
           VALUES (:t, :name, :version, CAST(:document AS jsonb), :by, :now, :active)""",
        t=act.tenant_id,
        name=policy.name,
        version=policy.version,
        document=json.dumps(document_of(policy)),
        by=act.by,
        now=tx.now,
        active=from_when,
    )
    return _saved(act.tenant_id, policy, from_when)


def _saved(tenant_id: str, policy: Policy, active_at: datetime) -> dict[str, Any]:
    return {"tenant_id": tenant_id, "name": policy.name, "version": policy.version, "activated_at": active_at}


async def retire(tx: Tx, act: Act, name: str) -> int:
    """Let no saved version of a policy plan any more; returns the last one. NotFound if none is in force."""
    version = await tx.value(
        "SELECT max(version) FROM policy_documents WHERE tenant_id=:t AND name=:name", t=act.tenant_id, name=name
    )
    if version is None:
        raise NotFound(f"tenant {act.tenant_id!r} has no saved policy {name!r}")
    await _set(tx, act, "retired", {"version": version}, name)
    return int(version)


async def switch_smart(tx: Tx, act: Act, on: bool) -> None:
    """Switch `smart` on or off for a tenant or for all; off for either is off."""
    await _set(tx, act, "smart", {"on": on})


async def set_shadow(tx: Tx, act: Act, policy: Policy | None) -> None:
    """Ask a policy beside every decision from now on; None ends it."""
    await _set(tx, act, "shadow", {"policy": document_of(policy) if policy else None})


async def _set(tx: Tx, act: Act, kind: str, value: dict[str, Any], name: str = "") -> None:
    await tx.execute(
        """INSERT INTO policy_switches (tenant_id, kind, name, value, set_by, reason, at)
           VALUES (:t, :kind, :name, CAST(:value AS jsonb), :by, :reason, :now)""",
        t=act.tenant_id,
        kind=kind,
        name=name,
        value=json.dumps(value),
        by=act.by,
        reason=act.reason,
        now=tx.now,
    )


async def replan_some(tx: Tx, tenant_id: str, on: bool, after: str) -> str | None:
    """Let a page of the waiting cases that a switch concerns be planned anew; returns the last id, None at the end."""
    rows = await tx.rows(
        """SELECT case_id FROM cases WHERE state='waiting' AND :t IN (tenant_id, '*') AND case_id > :after AND CASE WHEN :on
             THEN plan->>'rule' IN ('retry.smart_off', 'retry.model_unusable')
             ELSE coalesce(plan->'explanation'->>'policy_kind', split_part(plan->>'policy', '@', 1))='smart' END
           ORDER BY case_id LIMIT :most""",
        t=tenant_id,
        after=after,
        on=on,
        most=PAGE,
    )
    for row in rows:
        tx.set_timer(TimerSet(row["case_id"], "replan", tx.now, "", {"cause": f"smart:{'on' if on else 'off'}"}))
    return rows[-1]["case_id"] if len(rows) == PAGE else None
