"""Read-only SQL about policies: what is saved and set, shadows, the log of choices, open cases on trial."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from dunwell_kit.database import Database, Tx
from dunwell_retry import store
from dunwell_retry.decide.trial import LoggedChoice
from dunwell_retry.model import Situation
from dunwell_retry.planning.model import Decline

# So many logged choices are weighed at most, the newest first: an estimate gains little from more.
CHOICES_MAX = 5000


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def saved(database: Database, tenant_id: str) -> list[dict[str, Any]]:
    """Return every saved version of a tenant's and of everybody's policies, with whether it plans now."""
    rows = await database.read(
        """SELECT d.tenant_id, d.name, d.version, d.document, d.saved_by, d.saved_at, d.activated_at,
             d.version <= coalesce(r.version, 0) AS retired,
             d.version > coalesce(r.version, 0) AND d.activated_at <= :now AND d.version = (SELECT max(n.version)
               FROM policy_documents n WHERE n.tenant_id=d.tenant_id AND n.name=d.name AND n.activated_at <= :now) AS active
           FROM policy_documents d LEFT JOIN LATERAL (SELECT (s.value->>'version')::int AS version FROM policy_switches s
             WHERE s.tenant_id=d.tenant_id AND s.kind='retired' AND s.name=d.name ORDER BY s.seq DESC LIMIT 1) r ON true
           WHERE d.tenant_id IN (:t, '*') ORDER BY d.tenant_id DESC, d.name, d.version""",
        t=tenant_id,
        now=database.clock.now(),
    )
    return [{**row, "document": _json(row["document"])} for row in rows]


async def switches(database: Database, tenant_id: str) -> list[dict[str, Any]]:
    """Return what operators have set for a tenant and for everybody: the newest of each kind."""
    rows = await database.read(
        """SELECT DISTINCT ON (tenant_id, kind) tenant_id, kind, value, set_by, reason, at FROM policy_switches
           WHERE tenant_id IN (:t, '*') AND kind IN ('smart', 'shadow') ORDER BY tenant_id, kind, seq DESC""",
        t=tenant_id,
    )
    return [{**row, "value": _json(row["value"])} for row in rows]


async def shadow_summary(database: Database, tenant_id: str, days: int) -> list[dict[str, Any]]:
    """Return, per shadow policy, how often it agreed with what was done and how it differed, over some days."""
    rows = await database.read(
        """SELECT d.shadow->>'policy' AS policy, count(*) AS decisions,
             count(*) FILTER (WHERE d.shadow->>'verdict'='same') AS same,
             count(*) FILTER (WHERE d.shadow->>'verdict'='earlier') AS earlier,
             count(*) FILTER (WHERE d.shadow->>'verdict'='later') AS later,
             count(*) FILTER (WHERE d.shadow->>'verdict'='other_method') AS other_method,
             count(*) FILTER (WHERE d.shadow->>'verdict'='would_stop') AS would_stop,
             count(*) FILTER (WHERE d.shadow->>'verdict'='would_charge') AS would_charge,
             count(*) FILTER (WHERE d.shadow->>'verdict'='failed') AS failed,
             percentile_cont(0.5) WITHIN GROUP (ORDER BY (d.shadow->>'hours')::float8) AS median_hours
           FROM decisions d JOIN cases c USING (case_id)
           WHERE d.shadow IS NOT NULL AND c.tenant_id=:t AND d.at >= :since GROUP BY 1 ORDER BY 1""",
        t=tenant_id,
        since=database.clock.now() - timedelta(days=days),
    )
    return [{**row, "agreement": round(row["same"] / row["decisions"], 4)} for row in rows]


async def open_situations(tx: Tx, tenant_id: str, after: str, limit: int) -> Sequence[Situation]:
    """Return a page of a tenant's cases that wait or are paused, as their next decision would see them."""
    rows = await tx.rows(
        """SELECT * FROM cases WHERE tenant_id=:t AND state IN ('waiting', 'paused') AND case_id > :after
           ORDER BY case_id LIMIT :most""",
        t=tenant_id,
        after=after,
        most=limit,
    )
    return [await store.situation(tx, store.case_from(row)) for row in rows]


async def logged_choices(database: Database, tenant_id: str, days: int) -> list[LoggedChoice]:
    """Return the log of our own attempts over some days, by case and time; the newest CHOICES_MAX of them."""
    rows = await database.read(
        """SELECT * FROM (SELECT * FROM logged_choices WHERE tenant_id=:t AND intended_at >= :since
             ORDER BY intended_at DESC LIMIT :most) newest ORDER BY case_id, intended_at, attempt_id""",
        t=tenant_id,
        since=database.clock.now() - timedelta(days=days),
        most=CHOICES_MAX,
    )
    return [_choice(row) for row in rows]


def _choice(row: Any) -> LoggedChoice:
    told = (row["gateway_code"], row["network_code"], row["advice_code"], row["message"])
    return LoggedChoice(
        case_id=row["case_id"],
        instrument_id=row["instrument_id"],
        planned_at=row["planned_at"] or row["intended_at"],
        sent_at=row["sent_at"],
        propensity=row["propensity"],
        score=row["score"],
        approved=row["approved"],
        inputs=_json(row["inputs"]),
        decline=None if row["approved"] else Decline(*told),
        arm=row["arm"],
        policy=row["policy"],
    )
