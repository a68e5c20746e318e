"""Read-only SQL for the ledger's API. Amounts are integer minor units; debit positive."""

from __future__ import annotations

from datetime import date
from typing import Any

from dunwell_kit.database import Database
from dunwell_ledger.policy import BUCKET_NAMES, bucket


async def trial_balance(database: Database, tenant_id: str, as_of: date) -> dict[str, Any]:
    """Return every account's balance on a day, and per currency whether debits equal credits."""
    rows = await database.read(
        """SELECT a.currency, a.name AS account, sum(p.amount)::bigint AS minor
           FROM postings p JOIN accounts a USING (account_id)
           WHERE p.tenant_id=:tenant AND p.effective_on <= :as_of GROUP BY 1, 2 ORDER BY 1, 2""",
        tenant=tenant_id,
        as_of=as_of,
    )
    totals: dict[str, dict[str, int]] = {}
    for row in rows:
        total = totals.setdefault(row["currency"], {"debit": 0, "credit": 0})
        total["debit" if row["minor"] > 0 else "credit"] += abs(row["minor"])
    balanced = all(t["debit"] == t["credit"] for t in totals.values())
    return {
        "tenant_id": tenant_id,
        "as_of": as_of.isoformat(),
        "accounts": [dict(row) for row in rows],
        "totals": totals,
        "balanced": balanced,
    }


async def aging(database: Database, tenant_id: str, as_of: date) -> dict[str, Any]:
    """Return open receivables by age past due on a day, per currency, summing to the receivable account."""
    rows = await database.read(
        """SELECT o.currency, o.due_on, o.disputed, p.owed FROM open_items o JOIN LATERAL (
             SELECT sum(p.amount)::bigint AS owed FROM postings p JOIN accounts a USING (account_id)
             WHERE p.tenant_id=o.tenant_id AND p.item=o.item AND a.name='ar.principal' AND p.effective_on <= :as_of) p
           ON p.owed <> 0 WHERE o.tenant_id=:tenant""",
        tenant=tenant_id,
        as_of=as_of,
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        line = found.setdefault(row["currency"], {**dict.fromkeys(BUCKET_NAMES, 0), "total": 0, "disputed": 0})
        line[bucket(row["due_on"], as_of)] += row["owed"]
        line["total"] += row["owed"]
        line["disputed"] += row["owed"] if row["disputed"] else 0
    return {"tenant_id": tenant_id, "as_of": as_of.isoformat(), "buckets": found}


async def invoice_balance(database: Database, tenant_id: str, invoice_id: str) -> list[dict[str, Any]]:
    """Return what is owed on an invoice, one row per gateway account that knows it."""
    rows = await database.read(
        "SELECT gateway, account, invoice_id, payer_id, case_id, currency, due_on, principal, written_off, disputed"
        " FROM open_items WHERE tenant_id=:tenant AND invoice_id=:invoice",
        tenant=tenant_id,
        invoice=invoice_id,
    )
    return [dict(row) for row in rows]


async def journals(
    database: Database, tenant_id: str, case_id: str, invoice_id: str, limit: int
) -> list[dict[str, Any]]:
    """Return journals with their legs, newest first; filtered by case and invoice when given."""
    rows = await database.read(
        """SELECT j.id::text AS id, j.seq, j.kind, j.source_id, j.currency, j.effective_on, j.booked_at, j.payer_id,
             j.invoice_id, j.case_id, j.rule, j.evidence,
             (SELECT jsonb_agg(jsonb_build_object('account', a.name, 'minor', p.amount) ORDER BY p.leg)
              FROM postings p JOIN accounts a USING (account_id) WHERE p.journal_id=j.id) AS legs
           FROM journals j WHERE j.tenant_id=:tenant AND (:case_id='' OR j.case_id=:case_id)
             AND (:invoice='' OR j.invoice_id=:invoice) ORDER BY j.seq DESC LIMIT :most""",
        tenant=tenant_id,
        case_id=case_id,
        invoice=invoice_id,
        most=limit,
    )
    return [dict(row) for row in rows]


async def counts(database: Database) -> dict[str, int]:
    """Return how many journals there are and how many of them do not balance (which must be none)."""
    rows = await database.read(
        """SELECT (SELECT count(*) FROM journals) AS journals,
             (SELECT count(*) FROM
               (SELECT journal_id FROM postings GROUP BY 1 HAVING sum(amount) <> 0) u) AS unbalanced"""
    )
    return {"journals": int(rows[0]["journals"]), "unbalanced": int(rows[0]["unbalanced"])}
