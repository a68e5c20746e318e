"""The HTTP app: problem+json errors, health, metrics, parking; services add their routes.

Owns: what every service's API has in common. Refuses: business routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from dunwell_kit import parking
from dunwell_kit.database import Database, is_transient, sqlstate
from dunwell_kit.errors import PROBLEM_BASE, DunwellError, Unavailable
from dunwell_kit.messages import Handler

PROBLEM = "application/problem+json"


def problem(status: int, slug: str, title: str, detail: str, **extra: Any) -> JSONResponse:
    """Return a problem+json answer with a stable type."""
    body = {"type": PROBLEM_BASE + slug, "title": title, "status": status, "detail": detail, **extra}
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(body, status, headers, PROBLEM)


async def _on_dunwell_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, DunwellError)
    headers = {"Retry-After": "5"} if error.status == 503 else None
    return JSONResponse(error.problem(), error.status, headers, PROBLEM)


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, "http", "Request refused", str(error.detail))


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
    detail = "; ".join(f"{e['where']}: {e['what']}" for e in found)
    return problem(422, "invalid-input", "Invalid input", detail, errors=found)


async def _on_any_error(_: Request, error: Exception) -> Response:
    if is_transient(error):
        return problem(503, "unavailable", "Temporarily unavailable", "the database does not answer; try again")
    if sqlstate(error).startswith("22"):
        # Data the database cannot hold, a NUL in a text above all: the caller's, not ours.
        return problem(422, "invalid-input", "Invalid input", "a value cannot be stored; check for control characters")
    return problem(500, "internal", "Internal error", f"{type(error).__name__}; see the service's log")


def make_app(
    service: str,
    database: Database,
    routers: tuple[APIRouter, ...],
    handlers: Mapping[str, Handler],
    ready: Callable[[], list[str]],
) -> FastAPI:
    """Return a service's app; `ready` names the roles that are not well."""
    app = FastAPI(title=f"Dunwell {service}", version="1", docs_url="/docs", redoc_url=None)
    app.add_exception_handler(DunwellError, _on_dunwell_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_any_error)
    app.include_router(_health(service, database, ready))
    app.include_router(_dead_letters(service, database, handlers))
    for router in routers:
        app.include_router(router)
    return app


def _health(service: str, database: Database, ready: Callable[[], list[str]]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"service": service, "status": "ok"}

    @router.get("/health/ready")
    async def is_ready() -> Response:
        unwell = ready()
        if unwell:
            return problem(503, "unavailable", "Temporarily unavailable", f"not well: {', '.join(unwell)}")
        try:
            await database.read("SELECT 1")
        except Exception as error:
            raise Unavailable(f"the database does not answer: {type(error).__name__}") from error
        return JSONResponse({"service": service, "status": "ok", "now": database.clock.now().isoformat()})

    @router.get("/metrics")
    async def metrics() -> Response:
        try:
            await parking.count_parked(database)
        except Exception as error:
            # The page must still be there when the database is not.
            if not is_transient(error):
                raise
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


def _dead_letters(service: str, database: Database, handlers: Mapping[str, Handler]) -> APIRouter:
    router = APIRouter(prefix="/v1/dlq", tags=["dead letters"])
    group = f"dunwell.{service}"

    @router.get("")
    async def list_dead_letters() -> list[dict[str, Any]]:
        return await parking.dead_letters(database)

    @router.post("/replay")
    async def replay(key: str) -> dict[str, int]:
        return {"handled": await parking.replay(database, group, key, handlers)}

    @router.post("/drop")
    async def drop(key: str) -> dict[str, int]:
        return {"dropped": await parking.drop(database, group, key)}

    return router
