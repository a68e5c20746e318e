"""The ledger's routes: read-only."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from dunwell_kit.database import Database
from dunwell_ledger import views

DEFAULT_TENANT = "default"
# Postgres has no character NUL, so no name holds one.
TEXT = r"^[^\x00]*$"
Tenant = Annotated[str, Query(max_length=64, pattern=TEXT)]
# The auditor's view: what the books said at that instant. With its offset, as every instant.
Known = Annotated[AwareDatetime | None, Query()]
Name = Annotated[str, Query(max_length=255, pattern=TEXT)]


def routes(database: Database) -> APIRouter:
    """Return the ledger's routes."""
    router = APIRouter(prefix="/v1", tags=["ledger"])

    @router.get("/trial-balance")
    async def trial_balance(
        tenant: Tenant = DEFAULT_TENANT, as_of: date | None = None, known_at: Known = None
    ) -> dict[str, Any]:
        return await views.trial_balance(database, tenant, as_of or database.clock.now().date(), known_at)

    @router.get("/aging")
    async def aging(
        tenant: Tenant = DEFAULT_TENANT, as_of: date | None = None, known_at: Known = None
    ) -> dict[str, Any]:
        return await views.aging(database, tenant, as_of or database.clock.now().date(), known_at)

    @router.get("/balances/{invoice_id}")
    async def balances(
        invoice_id: Annotated[str, Path(max_length=255, pattern=TEXT)], tenant: Tenant = DEFAULT_TENANT
    ) -> list[dict[str, Any]]:
        return await views.invoice_balance(database, tenant, invoice_id)

    @router.get("/journals")
    async def journals(
        tenant: Tenant = DEFAULT_TENANT,
        case_id: Name = "",
        invoice_id: Name = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> list[dict[str, Any]]:
        return await views.journals(database, tenant, case_id, invoice_id, limit)

    @router.get("/journals/counts")
    async def counts() -> dict[str, int]:
        return await views.counts(database)

    return router
