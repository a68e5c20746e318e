"""Retry's routes: cases, why, operators, blocks, and the rule gate as a tool."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dunwell_kit.database import Database
from dunwell_kit.errors import Invalid
from dunwell_retry import store, views
from dunwell_retry.handlers import Recovery
from dunwell_retry.machines.case import CaseState
from dunwell_retry.policy_routes import policy_routes
from dunwell_retry.rules.check import check
from dunwell_retry.rules.strict_json import read

DEFAULT_TENANT = "default"
# Postgres has no character NUL, so no name holds one.
TEXT = r"^[^\x00]*$"
Tenant = Annotated[str, Query(max_length=64, pattern=TEXT)]
Word = Annotated[str, Query(max_length=64, pattern=TEXT)]
Name = Annotated[str, Path(max_length=64, pattern=TEXT)]

_JSON = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
_QUESTION = {"required": True, "content": {"application/json": {"schema": _JSON}}}


class BlockIn(BaseModel):
    """What forbids charging, and for whom; an empty field means all."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str = Field(DEFAULT_TENANT, max_length=64, pattern=TEXT)
    gateway: str = Field("", max_length=32, pattern=TEXT)
    payer_id: str = Field("", max_length=255, pattern=TEXT)
    invoice_id: str = Field("", max_length=255, pattern=TEXT)
    kind: Literal["kill_switch", "moratorium", "hardship", "dispute", "legal"]
    until: AwareDatetime | None = None


class OperatorIn(BaseModel):
    """Who acts, and until when a pause lasts (the setting's days when it is not said)."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field("operator", min_length=1, max_length=64, pattern=TEXT)
    until: AwareDatetime | None = None


def routes(database: Database, recovery: Recovery) -> APIRouter:
    """Return retry's routes."""
    router = APIRouter(prefix="/v1", tags=["retry"])

    @router.get("/cases")
    async def list_cases(
        tenant: Tenant = DEFAULT_TENANT,
        state: CaseState | Literal[""] = "",
        after: Word = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[dict[str, Any]]:
        return await views.cases(database, tenant, state, after, limit)

    @router.get("/cases/counts")
    async def counts() -> dict[str, int]:
        return await views.counts(database)

    @router.get("/cases/{case_id}")
    async def show_case(case_id: Name) -> dict[str, Any]:
        return await views.case(database, case_id)

    @router.get("/cases/{case_id}/why")
    async def why(case_id: Name) -> dict[str, Any]:
        return await views.why(database, case_id)

    @router.post("/cases/{case_id}/{action}")
    async def operate(
        case_id: Name, action: Literal["pause", "resume", "retry-now", "stop"], operator: OperatorIn | None = None
    ) -> dict[str, Any]:
        asked = operator or OperatorIn(by="operator")
        case = await database.transact(lambda tx: recovery.operate(tx, case_id, action, asked.by, asked.until))
        held = {"held_until": case.held_until} if case.held_until else {}
        return {"case_id": case.case_id, "state": case.state.value, **held}

    # The body is read as it came: a decoded one no longer shows a field that was given twice.
    @router.post("/rules/check", openapi_extra={"requestBody": _QUESTION})
    async def rules_check(request: Request) -> Any:
        return check(read(await request.body(), "body"))

    router.include_router(_blocks(database, recovery))
    router.include_router(policy_routes(database, recovery))
    return router


def _blocks(database: Database, recovery: Recovery) -> APIRouter:
    router = APIRouter(prefix="/blocks")

    @router.post("", status_code=201)
    async def add_block(block: BlockIn) -> dict[str, str]:
        if block.until is not None and block.until <= database.clock.now():
            raise Invalid(f"until {block.until.isoformat()} is past: the block would forbid nothing")
        block_id = database.ids.new("blk")
        scope = block.model_dump(include={"tenant_id", "gateway", "payer_id", "invoice_id"})
        until: datetime | None = block.until
        await database.transact(lambda tx: store.add_block(tx, block_id, scope, block.kind, until))
        return {"block_id": block_id}

    @router.delete("/{block_id}", status_code=204)
    async def lift_block(block_id: Name) -> None:
        await database.transact(lambda tx: recovery.lift_block(tx, block_id))

    return router
