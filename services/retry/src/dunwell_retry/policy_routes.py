"""Retry's routes about policies: documents, dry runs, the off switch, shadows, estimates."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dunwell_kit.database import Database
from dunwell_kit.errors import Invalid
from dunwell_retry import governing, policy_views
from dunwell_retry.decide.trial import evaluated, logged_cases, tried
from dunwell_retry.governing import Act
from dunwell_retry.handlers import Recovery
from dunwell_retry.planning.logged import dumps
from dunwell_retry.planning.parameters import ModelUnusable
from dunwell_retry.policies import PRESETS, Policy
from dunwell_retry.policies.document import document_of
from dunwell_retry.policies.models import Models, admitted_model

# Postgres has no character NUL, so no name holds one.
_TEXT = r"^[^\x00]*$"
Tenant = Annotated[str, Query(min_length=1, max_length=64, pattern=_TEXT)]
Days = Annotated[int, Query(ge=1, le=730)]
Document = dict[str, Any]


class ActIn(BaseModel):
    """Who acts for whom; the tenant `*` means all of them."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str = Field("default", min_length=1, max_length=64, pattern=_TEXT)
    by: str = Field("operator", min_length=1, max_length=64, pattern=_TEXT)
    reason: str = Field("", max_length=200, pattern=_TEXT)

    def act(self) -> Act:
        """Return it as the store wants it."""
        return Act(self.tenant_id, self.by, self.reason)


class SaveIn(ActIn):
    """A policy document to save; it plans from `active_at` on, or at once."""

    document: Document
    active_at: AwareDatetime | None = None


class SwitchIn(ActIn):
    """Whether `smart` may plan."""

    on: bool


class ShadowIn(ActIn):
    """The policy to ask beside every decision: a document, a shipped one's name, or none any more."""

    policy: Document | Annotated[str, Field(max_length=80)] | None


class TargetIn(BaseModel):
    """A document, and the content of a model file for it to plan by; without one it plans as the service does."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str = Field("default", min_length=1, max_length=64, pattern=_TEXT)
    document: Document
    model: Document | None = None

    def target(self, own: Models) -> tuple[Policy, Models]:
        """Return both, checked; PolicyRefused and Invalid say what is wrong."""
        try:
            models = own if self.model is None else Models(admitted_model(json.dumps(self.model)))
        except ModelUnusable as error:
            raise Invalid(f"model: {error}") from error
        return governing.checked(self.document, models), models


class TrialIn(TargetIn):
    """A document on trial over a page of open cases; `after` is the last id of the page before."""

    after: str = Field("", max_length=64, pattern=_TEXT)
    limit: int = Field(200, ge=1, le=500)


class EvaluateIn(TargetIn):
    """A document to weigh against the log of a tenant's last days."""

    days: int = Field(90, ge=1, le=730)


def policy_routes(database: Database, recovery: Recovery) -> APIRouter:
    """Return the routes under /policies."""
    router = APIRouter(prefix="/policies")

    @router.get("")
    async def list_policies(tenant: Tenant = "default") -> dict[str, Any]:
        return {
            "default": recovery.policy.main_policy,
            "holdout": {"policy": recovery.policy.holdout_policy, "share": recovery.policy.holdout_share},
            "saved": await policy_views.saved(database, tenant),
            "switches": await policy_views.switches(database, tenant),
            "model": recovery.policy.models.told(),
            "shipped": [document_of(policy) for policy in PRESETS.values()],
        }

    @router.post("", status_code=201)
    async def save(body: SaveIn) -> dict[str, Any]:
        policy = governing.checked(body.document, recovery.policy.models)
        return await database.transact(lambda tx: governing.save(tx, body.act(), policy, body.active_at))

    @router.post("/{name}/retire")
    async def retire(name: Annotated[str, Path(max_length=80, pattern=_TEXT)], body: ActIn) -> dict[str, Any]:
        version = await database.transact(lambda tx: governing.retire(tx, body.act(), name))
        return {"tenant_id": body.tenant_id, "name": name, "version": version}

    @router.put("/smart")
    async def switch(body: SwitchIn) -> dict[str, Any]:
        await database.transact(lambda tx: governing.switch_smart(tx, body.act(), body.on))
        # What waits with a plan of the old setting is planned anew at once, page by page.
        after: str | None = ""
        while after is not None:
            after = await database.transact(lambda tx, a=after: governing.replan_some(tx, body.tenant_id, body.on, a))  # type: ignore[misc]
        return {"tenant_id": body.tenant_id, "smart": "on" if body.on else "off"}

    router.include_router(_shadows(database, recovery))
    router.include_router(_trials(database, recovery))
    return router


def _shadows(database: Database, recovery: Recovery) -> APIRouter:
    router = APIRouter(prefix="/shadow")

    @router.get("")
    async def summary(tenant: Tenant = "default", days: Days = 30) -> list[dict[str, Any]]:
        return await policy_views.shadow_summary(database, tenant, days)

    @router.put("")
    async def set_shadow(body: ShadowIn) -> dict[str, Any]:
        policy = _named(body.policy, recovery.policy.models)
        await database.transact(lambda tx: governing.set_shadow(tx, body.act(), policy))
        return {"tenant_id": body.tenant_id, "shadow": f"{policy.name}@{policy.version}" if policy else None}

    return router


def _named(policy: Document | str | None, models: Models) -> Policy | None:
    if policy is None or isinstance(policy, dict):
        return governing.checked(policy, models) if policy is not None else None
    if policy not in PRESETS:
        raise governing.PolicyRefused("policy", f"no shipped policy {policy!r}; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[policy]


def _trials(database: Database, recovery: Recovery) -> APIRouter:
    router = APIRouter()

    async def _target(body: TargetIn) -> tuple[Policy, Models]:
        # A model of the request's own is let plan before it may: longer than the loop should wait.
        return await asyncio.to_thread(body.target, recovery.policy.models)

    @router.post("/dry-run")
    async def dry_run(body: TrialIn) -> dict[str, Any]:
        document, models = await _target(body)
        now = database.clock.now()
        situations = await database.transact(
            lambda tx: policy_views.open_situations(tx, body.tenant_id, body.after, body.limit)
        )
        # Planning takes milliseconds a case: the loop that consumes and charges must not wait for a page of it.
        found = await asyncio.to_thread(
            lambda: [tried(each, document, recovery.policy, now=now, models=models) for each in situations]
        )
        more = len(situations) == body.limit
        return {"cases": found, "next": found[-1]["case_id"] if more and found else None}

    @router.post("/evaluate")
    async def evaluate(body: EvaluateIn) -> dict[str, Any]:
        document, models = await _target(body)
        rows = await policy_views.logged_choices(database, body.tenant_id, body.days)
        country = recovery.policy.merchant_country
        return await asyncio.to_thread(lambda: evaluated(rows, document, merchant_country=country, models=models))

    @router.get("/log")
    async def log(tenant: Tenant = "default", days: Days = 90) -> Response:
        rows = await policy_views.logged_choices(database, tenant, days)
        return Response(dumps(logged_cases(rows)), media_type="application/jsonl")

    return router
