"""Read-only SQL for the ledger's API. Amounts are integer minor units; debit positive."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from dunwell_kit.database import Database
from dunwell_ledger.policy import BUCKET_NAMES, bucket


async def trial_balance(
    database: Database, tenant_id: str, as_of: date, known_at: datetime | None = None
) -> dict[str, Any]:
    """Return every account's balance on a day, and per currency whether debits equal credits.

    Args:
        known_at: Leave out what was booked after this instant (the auditor's view); None shows all that is known.
    """
    rows = await database.read(
        f"""SELECT a.currency, a.name AS account, sum(p.amount)::bigint AS minor
           FROM postings p JOIN accounts a USING (account_id)
           WHERE p.tenant_id=:tenant AND p.effective_on <= :as_of {_BOOKED_BY if known_at else ""}
           GROUP BY 1, 2 ORDER BY 1, 2""",  # noqa: S608 - constant parts
        tenant=tenant_id,
        as_of=as_of,
        **({"known_at": known_at} if known_at else {}),
    )
    totals: dict[str, dict[str, int]] = {}
    for row in rows:
        total = totals.setdefault(row["currency"], {"debit": 0, "credit": 0})
        total["debit" if row["minor"] > 0 else "credit"] += abs(row["minor"])
    balanced = all(t["debit"] == t["credit"] for t in totals.values())
    return {
        "tenant_id": tenant_id,
        "as_of": as_of.isoformat(),
        "known_at": known_at.isoformat() if known_at else None,
        "accounts": [dict(row) for row in rows],
        "totals": totals,
        "balanced": balanced,
    }


_BOOKED_BY = "AND EXISTS (SELECT 1 FROM journals j WHERE j.id = p.journal_id AND j.booked_at <= :known_at)"
_NOTED_BY = "AND f.noted_at <= :known_at"


def _aging(*, known: bool) -> str:
    """Return the query of ageing: sums from the postings, due dates and disputes from the facts of that day."""
    noted = _NOTED_BY if known else ""
    # One pass over the account and one row a due date: item by item it passed 10 seconds at 300,000 invoices.
    return f"""
      WITH owed AS MATERIALIZED (
        SELECT p.item, a.currency, sum(p.amount)::bigint AS owed FROM accounts a JOIN postings p USING (account_id)
        WHERE a.tenant_id=:tenant AND a.name='ar.principal' AND p.effective_on <= :as_of {_BOOKED_BY if known else ""}
        GROUP BY 1, 2 HAVING sum(p.amount) <> 0),
      disputes AS MATERIALIZED (
        SELECT DISTINCT max(f.item) AS item FROM facts f
        WHERE f.tenant_id=:tenant AND f.what IN ('disputed', 'withdrawn', 'dispute_closed')
          AND f.effective_on <= :as_of {noted}
        GROUP BY f.thread HAVING bool_or(f.what <> 'dispute_closed') AND NOT bool_or(f.what = 'dispute_closed')),
      dues AS MATERIALIZED (
        SELECT f.thread, min(f.effective_on) AS first_on, (array_agg(f.due_on ORDER BY f.at DESC, f.minor)
          FILTER (WHERE f.due_on IS NOT NULL AND f.effective_on <= :as_of))[1] AS told_on
        FROM open_items o JOIN facts f ON f.tenant_id=o.tenant_id AND f.thread=o.item
        WHERE o.tenant_id=:tenant {noted if known else "AND o.due_moved"} GROUP BY 1),
      items AS (
        SELECT w.currency, w.owed, d.item IS NOT NULL AS disputed, coalesce(m.told_on, m.first_on, o.due_on) AS due_on
        FROM owed w JOIN open_items o ON o.tenant_id=:tenant AND o.item=w.item
        LEFT JOIN disputes d ON d.item=w.item LEFT JOIN dues m ON m.thread=w.item)
      SELECT currency, due_on, disputed, sum(owed)::bigint AS owed FROM items GROUP BY 1, 2, 3"""  # noqa: S608


async def aging(database: Database, tenant_id: str, as_of: date, known_at: datetime | None = None) -> dict[str, Any]:
    """Return open receivables by age past due on a day, per currency, summing to the receivable account.

    Disputes and due dates are those of that day: what happened later does not show.

    Args:
        known_at: Leave out what was learned after this instant (the auditor's view); None shows all that is known.
    """
    rows = await database.read(
        _aging(known=known_at is not None),
        tenant=tenant_id,
        as_of=as_of,
        **({"known_at": known_at} if known_at else {}),
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        line = found.setdefault(row["currency"], {**dict.fromkeys(BUCKET_NAMES, 0), "total": 0, "disputed": 0})
        line[bucket(row["due_on"], as_of)] += row["owed"]
        line["total"] += row["owed"]
        line["disputed"] += row["owed"] if row["disputed"] else 0
    return {
        "tenant_id": tenant_id,
        "as_of": as_of.isoformat(),
        "known_at": known_at.isoformat() if known_at else None,
        "buckets": found,
    }


async def invoice_balance(database: Database, tenant_id: str, invoice_id: str) -> list[dict[str, Any]]:
    """Return what is owed on an invoice, one row per gateway account that knows it."""
    rows = await database.read(
        """SELECT o.gateway, o.account, o.invoice_id, o.payer_id, o.case_id, o.currency, o.due_on, o.principal,
             o.written_off, EXISTS (
               SELECT 1 FROM facts f WHERE f.tenant_id=o.tenant_id AND f.item=o.item
                 AND f.what IN ('disputed', 'withdrawn') AND NOT EXISTS (
                   SELECT 1 FROM facts c WHERE c.tenant_id=f.tenant_id AND c.thread=f.thread
                     AND c.what='dispute_closed')) AS disputed
           FROM open_items o WHERE o.tenant_id=:tenant AND o.invoice_id=:invoice""",
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
             j.invoice_id, j.case_id, j.rule, j.evidence, j.reverses::text AS reverses,
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
