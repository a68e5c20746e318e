"""The routes of analytics: read-only, but for the rebuild."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from dunwell_analytics import store, views
from dunwell_kit.database import Database

DEFAULT_TENANT = "default"
# Postgres has no character NUL, so no name holds one.
TEXT = r"^[^\x00]*$"
Tenant = Annotated[str, Query(max_length=64, pattern=TEXT)]
Name = Annotated[str, Path(max_length=255, pattern=TEXT)]


def routes(database: Database) -> APIRouter:
    """Return the routes of analytics."""
    router = APIRouter(prefix="/v1", tags=["analytics"])

    @router.get("/kpis")
    async def kpis(
        tenant: Tenant = DEFAULT_TENANT,
        by: Annotated[list[str] | None, Query()] = None,
        first: date | None = None,
        last: date | None = None,
        as_of: date | None = None,
    ) -> dict[str, Any]:
        until = as_of or database.clock.now().date()
        # A year back, or to the first day there is.
        since = first or date.fromordinal(max(1, until.toordinal() - 365))
        return await views.figures(database, tenant, by or [], since, last or until, until)

    @router.get("/cases/{case_id}/timeline")
    async def timeline(case_id: Name) -> list[dict[str, Any]]:
        return await views.timeline(database, case_id)

    @router.get("/case-counts")
    async def case_counts(tenant: Tenant = DEFAULT_TENANT) -> dict[str, int]:
        return await views.case_counts(database, tenant)

    @router.get("/experiments/{experiment}")
    async def experiment(experiment: Name, tenant: Tenant = DEFAULT_TENANT) -> dict[str, Any]:
        return {"experiment": experiment, **asdict(await views.arms(database, tenant, experiment))}

    @router.post("/rebuild", status_code=202)
    async def rebuild() -> dict[str, int]:
        return {"cases": await database.transact(store.mark_all_stale)}

    return router
