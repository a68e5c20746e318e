from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from dunwell_kit import errors
from dunwell_kit.app import make_app
from dunwell_kit.clock import SystemClock
from dunwell_kit.database import Database
from dunwell_kit.errors import DunwellError
from dunwell_kit.ids import RandomIds

pytestmark = pytest.mark.integration
KINDS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, DunwellError)]


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/raise/{name}")
    async def fail(name: str) -> None:
        kinds = {kind.__name__: kind for kind in KINDS}
        raise kinds.get(name, {"ZeroDivisionError": ZeroDivisionError}.get(name, ConnectionResetError))("what is wrong")

    @router.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    return router


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def app_of(database: Database, ready: Callable[[], list[str]] = list) -> FastAPI:
    return make_app("test", database, (routes(),), {}, ready)


@pytest.fixture
async def client(kit_database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_of(kit_database)) as made:
        yield made


@pytest.fixture
async def database_down() -> AsyncIterator[Database]:
    clock = SystemClock()
    # Port 1 is reserved and nobody listens there.
    database = Database("postgresql://u@127.0.0.1:1/none", service="test", clock=clock, ids=RandomIds(clock))
    yield database
    await database.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_error_becomes_a_problem(client: httpx.AsyncClient, kind: type[DunwellError]) -> None:
    answer = await client.get(f"/raise/{kind.__name__}")
    assert answer.status_code == kind.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(f"/problems/{kind.slug}")
    assert answer.json()["detail"] == "what is wrong"
    assert ("Retry-After" in answer.headers) == (kind.status == 503)


@pytest.mark.parametrize(("path", "status"), [
    ("/raise/ZeroDivisionError", 500), ("/raise/ConnectionResetError", 503), ("/nowhere", 404), ("/number/x", 422),
])  # fmt: skip
async def test_any_other_error_is_a_problem_too(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].startswith("https://dunwell.dev/problems/")


async def test_an_unexpected_error_tells_no_secret(client: httpx.AsyncClient) -> None:
    assert "what is wrong" not in (await client.get("/raise/ZeroDivisionError")).text


async def test_a_well_service_is_ready_and_shows_its_metrics(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"service": "test", "status": "ok"}
    assert (await client.get("/health/ready")).status_code == 200
    page = await client.get("/metrics")
    assert page.status_code == 200
    for name in ("dunwell_parked_keys 0.0", "dunwell_outbox_oldest_age_seconds", "dunwell_timer_lateness_seconds"):
        assert name in page.text


async def test_a_service_without_its_database_is_alive_and_not_ready(database_down: Database) -> None:
    async with client_of(app_of(database_down)) as client:
        assert (await client.get("/health/live")).status_code == 200
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert "database does not answer" in answer.json()["detail"]
        assert (await client.get("/metrics")).status_code == 200


async def test_a_service_with_an_unwell_role_is_not_ready(kit_database: Database) -> None:
    async with client_of(app_of(kit_database, lambda: ["relay"])) as client:
        answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "not well: relay")


async def test_dead_letters_are_listed_and_an_unknown_key_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/dlq")).json() == []
    assert (await client.post("/v1/dlq/replay", params={"key": "t:a"})).status_code == 404
    assert (await client.post("/v1/dlq/drop", params={"key": "t:a"})).json() == {"dropped": 0}
