"""Ingest's routes: the webhook edge, endpoints, quarantine."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import Route

from dunwell_gateways import registry
from dunwell_ingest import store, views
from dunwell_ingest.edge import Edge
from dunwell_ingest.model import Endpoint
from dunwell_kit.database import Database
from dunwell_kit.errors import NotFound
from dunwell_kit.ids import new_secret

# 128 bits: nobody finds an endpoint by trying.
TOKEN_BYTES = 16
# Postgres has no character NUL, so no name holds one.
TEXT = r"^[^\x00]*$"


class EndpointIn(BaseModel):
    """A gateway account that will post webhooks."""

    model_config = ConfigDict(extra="forbid")

    gateway: str = Field(max_length=32)
    account: str = Field(min_length=1, max_length=128, pattern=TEXT)
    secret: str = Field(min_length=1, max_length=512, pattern=TEXT)
    tenant_id: str = Field("default", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")


def routes(database: Database, edge: Edge, public_url: str) -> APIRouter:
    """Return ingest's routes.

    Args:
        public_url: Where gateways reach this service, without a trailing slash.
    """
    router = APIRouter(prefix="/v1", tags=["ingest"])
    router.routes.append(Route("/v1/webhooks/{endpoint_token}", edge.answer, methods=["POST"]))

    @router.post("/endpoints", status_code=201)
    async def add_endpoint(wanted: EndpointIn) -> dict[str, str]:
        registry.adapter(wanted.gateway)
        token = new_secret(TOKEN_BYTES)
        endpoint = Endpoint(database.ids.new("end"), wanted.tenant_id, wanted.gateway, wanted.account, (wanted.secret,))
        await database.transact(lambda tx: store.add_endpoint(tx, endpoint, token))
        return {"endpoint_id": endpoint.endpoint_id, "url": f"{public_url}/v1/webhooks/{token}"}

    @router.get("/endpoints")
    async def list_endpoints() -> list[dict[str, Any]]:
        return await views.endpoints(database)

    @router.get("/quarantine")
    async def quarantine(limit: Annotated[int, Query(ge=1, le=200)] = 100) -> list[dict[str, Any]]:
        return await views.quarantined(database, limit)

    @router.post("/quarantine/{delivery_id}/replay", status_code=202)
    async def replay(delivery_id: Annotated[str, Path(max_length=64, pattern=TEXT)]) -> dict[str, str]:
        if not await database.transact(lambda tx: store.requeue(tx, delivery_id)):
            raise NotFound(f"delivery {delivery_id!r} is not in quarantine")
        edge.commits.inserted.set()
        return {"delivery_id": delivery_id, "state": "new"}

    @router.get("/deliveries/counts")
    async def counts() -> dict[str, int]:
        return await views.counts(database)

    return router
