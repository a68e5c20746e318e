"""Read-only SQL for notify's API."""

from __future__ import annotations

from typing import Any

from dunwell_kit.database import Database


async def notices(database: Database, tenant_id: str, case_id: str, limit: int) -> list[dict[str, Any]]:
    """Return notices, newest first, with why each was or was not sent; no address is shown."""
    rows = await database.read(
        """SELECT notice_id, payer_id, channel, step, tone, case_ids, state, due_at, sent_at, template_id, language, rule,
             content_sha256 FROM notices WHERE tenant_id=:tenant AND (:case_id='' OR case_ids @> ARRAY[CAST(:case_id AS text)])
           ORDER BY due_at DESC, notice_id LIMIT :most""",
        tenant=tenant_id,
        case_id=case_id,
        most=limit,
    )
    return [dict(row) for row in rows]


async def counts(database: Database) -> dict[str, int]:
    """Return how many notices are in each state."""
    rows = await database.read("SELECT state, count(*) AS n FROM notices GROUP BY 1")
    return {row["state"]: int(row["n"]) for row in rows}
