"""Every SQL write of analytics: the log, the marks of what is stale, and the recomputation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from dunwell_analytics.model import CaseRow, Fact
from dunwell_contracts.envelope import Envelope, decode
from dunwell_kit.database import Tx

# Tenant, invoice and the cases an event is about.
Subject = tuple[str, str, Sequence[str]]


def append(tx: Tx, envelope: Envelope, message: Message, subject: Subject) -> None:
    """Log one event and mark its cases as stale, with all others of this unit of work."""
    tx.gather(_append_all, (envelope, message.SerializeToString(deterministic=True), subject))


async def _append_all(tx: Tx, told: Sequence[tuple[Envelope, bytes, Subject]]) -> None:
    await tx.execute(
        """INSERT INTO facts (event_id, type, tenant_id, case_ids, invoice_id, payer_key, occurred_at, causation_id,
             sequence, source, payload)
           SELECT e, y, t, ARRAY(SELECT jsonb_array_elements_text(c)), i, k, a, u, q, s, p
           -- cases travel as JSON, since unnest would flatten an array of arrays
           FROM unnest(CAST(:events AS uuid[]), CAST(:types AS text[]), CAST(:tenants AS text[]),
             CAST(:cases AS jsonb[]), CAST(:invoices AS text[]), CAST(:payers AS text[]), CAST(:times AS timestamptz[]),
             CAST(:causes AS text[]), CAST(:sequences AS bigint[]), CAST(:sources AS text[]), CAST(:payloads AS bytea[]))
             WITH ORDINALITY AS f(e, y, t, c, i, k, a, u, q, s, p, n) ORDER BY n
           ON CONFLICT (event_id) DO NOTHING""",
        events=[envelope.id for envelope, _, _ in told],
        types=[envelope.type for envelope, _, _ in told],
        tenants=[tenant_id for _, _, (tenant_id, _, _) in told],
        cases=[json.dumps(list(case_ids)) for _, _, (_, _, case_ids) in told],
        invoices=[invoice_id for _, _, (_, invoice_id, _) in told],
        payers=[envelope.key for envelope, _, _ in told],
        times=[envelope.time for envelope, _, _ in told],
        causes=[envelope.causation_id for envelope, _, _ in told],
        sequences=[envelope.sequence for envelope, _, _ in told],
        sources=[envelope.source for envelope, _, _ in told],
        payloads=[payload for _, payload, _ in told],
    )
    stale = sorted({case_id for _, _, (_, _, case_ids) in told for case_id in case_ids})
    if stale:
        # A mark that stands already is locked: whoever took it away meanwhile would not see these facts, and read the
        # case without them for good.
        await tx.execute(
            """INSERT INTO dirty_cases SELECT c FROM unnest(CAST(:cases AS text[])) c ORDER BY c
               ON CONFLICT (case_id) DO UPDATE SET case_id = excluded.case_id""",
            cases=stale,
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


_COLUMNS: Mapping[str, str] = {
    "case_id": "text", "tenant_id": "text", "gateway": "text", "payer_id": "text", "invoice_id": "text",
    "opened_at": "timestamptz", "opened_on": "date", "currency": "text", "amount_minor": "bigint",
    "decline_reason": "text", "network": "text", "funding": "text", "experiment": "text", "arm": "text",
    "state": "text", "recovered_by": "text", "recovered_at": "timestamptz", "recovered_in_window": "boolean",
    "ended_at": "timestamptz", "attempts": "int", "notices_sent": "int", "notices_suppressed": "int",
}  # fmt: skip
_CHANGING = (
    "state", "recovered_by", "recovered_at", "recovered_in_window", "ended_at", "attempts", "notices_sent",
    "notices_suppressed",
)  # fmt: skip
_SAVE_CASES = f"""
INSERT INTO cases ({", ".join(_COLUMNS)})
SELECT * FROM unnest({", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())})
ON CONFLICT (case_id) DO UPDATE SET {", ".join(f"{name}=excluded.{name}" for name in _CHANGING)}"""  # noqa: S608 - names of ours


async def save_cases(tx: Tx, cases: Sequence[CaseRow]) -> None:
    """Replace the rows of recomputed cases and mark their days as stale."""
    # In one order, so that two who recompute never wait for each other.
    rows = sorted(cases, key=lambda case: case.case_id)
    if rows:
        await tx.execute(_SAVE_CASES, **{name: [getattr(row, name) for row in rows] for name in _COLUMNS})
    await tx.execute(
        """INSERT INTO dirty_days
           SELECT DISTINCT t, d FROM unnest(CAST(:tenants AS text[]), CAST(:days AS date[])) AS x(t, d)
           ORDER BY t, d ON CONFLICT (tenant_id, opened_on) DO UPDATE SET opened_on = excluded.opened_on""",
        tenants=[case.tenant_id for case in cases],
        days=[case.opened_on for case in cases],
    )


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
