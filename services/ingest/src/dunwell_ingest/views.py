"""Read-only SQL for ingest's API."""

from __future__ import annotations

from typing import Any

from dunwell_kit.database import Database


async def endpoints(database: Database) -> list[dict[str, Any]]:
    """Return endpoints without their secrets or tokens."""
    rows = await database.read(
        """SELECT endpoint_id, tenant_id, gateway, account, cardinality(secrets) AS secrets, created_at, disabled_at
           FROM endpoints ORDER BY created_at"""
    )
    return [dict(row) for row in rows]


async def quarantined(database: Database, limit: int) -> list[dict[str, Any]]:
    """Return authentic deliveries that could not be read, newest first."""
    rows = await database.read(
        """SELECT delivery_id, tenant_id, gateway, account, event_id, event_type, received_at, detail, length(body) AS bytes
           FROM deliveries WHERE state='quarantined' ORDER BY seq DESC LIMIT :most""",
        most=limit,
    )
    return [dict(row) for row in rows]


async def counts(database: Database) -> dict[str, int]:
    """Return how many deliveries ended in each state."""
    rows = await database.read("SELECT state, count(*) AS n FROM deliveries GROUP BY 1")
    return {row["state"]: int(row["n"]) for row in rows}
