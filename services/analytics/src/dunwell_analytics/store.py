"""Every SQL write of analytics: the log, the marks of what is stale, and the recomputation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from google.protobuf.message import Message

from dunwell_analytics.model import CaseRow, Fact
from dunwell_contracts.envelope import Envelope, decode
from dunwell_kit.database import Tx


async def append(tx: Tx, envelope: Envelope, message: Message, subject: tuple[str, str, Sequence[str]]) -> None:
    """Log one event and mark its cases as stale.

    Args:
        subject: Tenant, invoice and the cases the event is about.
    """
    tenant_id, invoice_id, case_ids = subject
    await tx.execute(
        """INSERT INTO facts (event_id, type, tenant_id, case_ids, invoice_id, payer_key, occurred_at, causation_id,
             sequence, source, payload)
           VALUES (CAST(:event_id AS uuid), :type, :tenant, CAST(:case_ids AS text[]), :invoice, :payer_key, :at, :cause, :sequence,
             :source, :payload) ON CONFLICT (event_id) DO NOTHING""",
        event_id=envelope.id,
        type=envelope.type,
        tenant=tenant_id,
        case_ids=list(case_ids),
        invoice=invoice_id,
        payer_key=envelope.key,
        at=envelope.time,
        cause=envelope.causation_id,
        sequence=envelope.sequence,
        source=envelope.source,
        payload=message.SerializeToString(deterministic=True),
    )
    if case_ids:
        await tx.execute(
            "INSERT INTO dirty_cases SELECT c FROM unnest(CAST(:cases AS text[])) c ORDER BY c ON CONFLICT DO NOTHING",
            cases=list(case_ids),
        )


async def take_dirty_cases(tx: Tx, most: int) -> list[str]:
    """Take stale cases off the list, to recompute in this transaction."""
    rows = await tx.rows(
        """DELETE FROM dirty_cases WHERE case_id IN
             (SELECT case_id FROM dirty_cases ORDER BY case_id LIMIT :most FOR UPDATE SKIP LOCKED) RETURNING case_id""",
        most=most,
    )
    return [row["case_id"] for row in rows]


async def facts_of(tx: Tx, case_ids: Sequence[str]) -> dict[str, list[Fact]]:
    """Return the logged facts of cases, each in log order; a notice may speak of several cases."""
    rows = await tx.rows(
        "SELECT c AS case_id, event_id::text AS event_id, type, occurred_at, causation_id, payload"
        " FROM facts, unnest(case_ids) c"
        " WHERE case_ids && CAST(:cases AS text[]) AND c = ANY(CAST(:cases AS text[])) ORDER BY seq",
        cases=list(case_ids),
    )
    found: dict[str, list[Fact]] = {case_id: [] for case_id in case_ids}
    for row in rows:
        found[row["case_id"]].append(_fact(row))
    return found


def _fact(row: Any) -> Fact:
    envelope = Envelope(row["event_id"], row["type"], "", row["occurred_at"], "")
    return Fact(
        row["event_id"], row["type"], decode(envelope, bytes(row["payload"])), row["occurred_at"], row["causation_id"]
    )


async def save_cases(tx: Tx, cases: Sequence[CaseRow]) -> None:
    """Replace the rows of recomputed cases and mark their days as stale."""
    for case in cases:
        values = {**asdict(case), "opened_on": case.opened_at.date(), "in_window": case.recovered_in_window}
        await tx.execute(_SAVE_CASE, **values)
    await tx.execute(
        """INSERT INTO dirty_days
           SELECT DISTINCT t, d FROM unnest(CAST(:tenants AS text[]), CAST(:days AS date[])) AS x(t, d)
           ORDER BY t, d ON CONFLICT DO NOTHING""",
        tenants=[case.tenant_id for case in cases],
        days=[case.opened_at.date() for case in cases],
    )


_SAVE_CASE = """
INSERT INTO cases (case_id, tenant_id, gateway, payer_id, invoice_id, opened_at, opened_on, currency, amount_minor,
  decline_reason, network, funding, experiment, arm, state, recovered_by, recovered_at, recovered_in_window, ended_at,
  attempts, notices_sent, notices_suppressed)
VALUES (:case_id, :tenant_id, :gateway, :payer_id, :invoice_id, :opened_at, :opened_on, :currency, :amount_minor,
  :decline_reason, :network, :funding, :experiment, :arm, :state, :recovered_by, :recovered_at, :in_window, :ended_at,
  :attempts, :notices_sent, :notices_suppressed)
ON CONFLICT (case_id) DO UPDATE SET state=excluded.state, recovered_by=excluded.recovered_by,
  recovered_at=excluded.recovered_at, recovered_in_window=excluded.recovered_in_window, ended_at=excluded.ended_at,
  attempts=excluded.attempts, notices_sent=excluded.notices_sent, notices_suppressed=excluded.notices_suppressed"""


async def recompute_days(tx: Tx) -> int:
    """Recompute every stale opening day as a whole; returns how many."""
    days = await tx.rows(
        """DELETE FROM dirty_days WHERE (tenant_id, opened_on) IN
             (SELECT tenant_id, opened_on FROM dirty_days ORDER BY 1, 2 LIMIT 100 FOR UPDATE SKIP LOCKED)
           RETURNING tenant_id, opened_on"""
    )
    if not days:
        return 0
    which = {"tenants": [d["tenant_id"] for d in days], "days": [d["opened_on"] for d in days]}
    await tx.execute(
        """DELETE FROM cohort_days c USING unnest(CAST(:tenants AS text[]), CAST(:days AS date[])) AS x(t, d)
           WHERE c.tenant_id = x.t AND c.opened_on = x.d""",
        **which,
    )
    await tx.execute(
        """INSERT INTO cohort_days
           SELECT tenant_id, opened_on, currency, gateway, decline_reason, experiment, arm, count(*), sum(amount_minor),
             count(*) FILTER (WHERE recovered_in_window),
             coalesce(sum(amount_minor) FILTER (WHERE recovered_in_window), 0),
             count(*) FILTER (WHERE recovered_in_window AND recovered_by = 'retry'),
             count(*) FILTER (WHERE recovered_in_window AND recovered_by = 'payer'),
             count(*) FILTER (WHERE recovered_in_window AND recovered_by = 'gateway'),
             count(*) FILTER (WHERE recovered_in_window AND recovered_by = 'self_cured'),
             count(*) FILTER (WHERE state = 'exhausted'), count(*) FILTER (WHERE state = 'canceled'),
             count(*) FILTER (WHERE state IN ('open', 'paused')), sum(attempts), sum(notices_sent),
             sum(notices_suppressed)
           FROM cases c JOIN unnest(CAST(:tenants AS text[]), CAST(:days AS date[])) AS x(t, d)
             ON c.tenant_id = x.t AND c.opened_on = x.d
           GROUP BY 1, 2, 3, 4, 5, 6, 7""",
        **which,
    )
    return len(days)


async def mark_all_stale(tx: Tx) -> int:
    """Mark every case of the log as stale; returns how many."""
    done = await tx.execute(
        "INSERT INTO dirty_cases SELECT DISTINCT c FROM facts, unnest(case_ids) c ON CONFLICT DO NOTHING"
    )
    return done.rowcount
