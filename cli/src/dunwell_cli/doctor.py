"""`dunwell doctor`: what is running, what is missing, and whether the invariants hold."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import typer

from dunwell_cli.invariants import broken, verdict
from dunwell_cli.models import model_line
from dunwell_cli.output import Json, console, service_url, show
from dunwell_cli.upstate import read_state
from dunwell_kit.clock import clock_from_environment
from dunwell_kit.settings import SERVICES


class _Databases:
    """The services' stores at one server, read-only."""

    def __init__(self, connections: dict[str, asyncpg.Connection]) -> None:
        self._connections = connections

    async def fetch(self, service: str, statement: str, *values: object) -> list[dict[str, Any]]:
        """Return rows."""
        return [dict(row) for row in await self._connections[service].fetch(statement, *values)]


def doctor(as_json: Json = False) -> None:
    """Say what is running, what is missing, and whether every invariant holds; exit status 1 if anything is wrong."""
    state = read_state(Path(os.environ.get("DUNWELL_VAR_DIR", "var")).resolve() / "up")
    dsn = os.environ.get("DUNWELL_POSTGRES_DSN") or str(state.get("postgres", ""))
    rows = [_service(service) for service in SERVICES]
    rows += _model()
    rows.append(_kafka(os.environ.get("DUNWELL_KAFKA_BOOTSTRAP") or str(state.get("kafka", ""))))
    invariants = asyncio.run(_invariants(dsn)) if dsn else {}
    rows.append({"part": "postgres", "state": "ok" if invariants and "error" not in invariants else "missing",
                 "what": invariants.get("error", dsn.rpartition("@")[2] or "set DUNWELL_POSTGRES_DSN or run: dunwell up")})  # fmt: skip
    wrong = [r for r in rows if r["state"] != "ok"]
    broken_now = {name: said for name, said in invariants.items() if said != "holds" and name != "error"}
    if as_json:
        show({"parts": rows, "invariants": invariants, "ok": not wrong and not broken_now}, True)
    else:
        show(rows, False, {"part": "part", "state": "state", "what": "what"}, "parts")
        for name, said in invariants.items():
            colour = "green" if said == "holds" else "red"
            console.print(f"  {name:<4} [{colour}]{said}[/]", highlight=False)
    raise typer.Exit(1 if wrong or broken_now else 0)


def _service(service: str) -> dict[str, str]:
    url = service_url(service)
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return {
            "part": service,
            "state": "missing",
            "what": f"{url} does not answer ({type(error).__name__}); run: dunwell up",
        }
    if answer.is_success:
        return {"part": service, "state": "ok", "what": url}
    return {"part": service, "state": "unwell", "what": str(answer.json().get("detail", answer.status_code))}


def _model() -> list[dict[str, str]]:
    """Return whether smart plans by a model or, because the configured one is unusable, by pay days."""
    try:
        answer = httpx.get(f"{service_url('retry')}/v1/policies", timeout=5, trust_env=False)
        told = answer.raise_for_status().json()["model"]
    except (httpx.HTTPError, ValueError, KeyError):
        # The row of retry says already that it does not answer.
        return []
    return [{"part": "retry's model", "state": "unwell" if told["unusable"] else "ok", "what": model_line(told)}]


def _kafka(bootstrap: str) -> dict[str, str]:
    import socket

    if not bootstrap:
        return {"part": "kafka", "state": "missing", "what": "set DUNWELL_KAFKA_BOOTSTRAP or run: dunwell up"}
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except (OSError, ValueError) as error:
        return {"part": "kafka", "state": "missing", "what": f"{bootstrap}: {error}"}
    return {"part": "kafka", "state": "ok", "what": bootstrap}


async def _invariants(dsn: str) -> dict[str, str]:
    connections: dict[str, asyncpg.Connection] = {}
    try:
        for service in SERVICES:
            target = urlunsplit(urlsplit(dsn)._replace(path=f"/dunwell_{service}"))
            connections[service] = await asyncpg.connect(target, timeout=5)
        found = await broken(_Databases(connections), clock_from_environment().now())
        return {name: said for name, said in verdict(found).items() if name not in ("I2", "I12")}
    except (OSError, asyncpg.exceptions.PostgresError, TimeoutError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        for connection in connections.values():
            await connection.close()
