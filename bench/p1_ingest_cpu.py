"""P1: what our edge costs above the least that any webhook endpoint does, in CPU time of one process."""

from __future__ import annotations

import gc
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from bench.bodies import SECRET, Bodies
from bench.contest import Contest, Metric
from bench.cores import pinned
from bench.doubles import NoStore
from bench.pairs import Gate, Reading
from bench.parts import Parts
from dunwell_gateways.stripe.signing import HEADER, sign
from dunwell_ingest.api import routes
from dunwell_ingest.edge import Edge
from dunwell_kit.app import make_app
from dunwell_kit.clock import SystemClock

App = Callable[[Any, Any, Any], Awaitable[None]]
# Made before the clock starts. The anchor gets more, since its slice would else be too short to be steady.
REQUESTS, REQUESTS_BARE = 2_000, 8_000
_PATH = "/v1/webhooks/token"


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """Check the signature with the standard library, parse, answer: no framework, no limits, no strictness."""
    body = (await receive())["body"]
    header = next(value for name, value in scope["headers"] if name == b"stripe-signature").decode()
    signed_at, signature = (part.partition("=")[2] for part in header.split(","))
    wanted = hmac.new(SECRET.encode(), signed_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    status = 200 if hmac.compare_digest(wanted, signature) and json.loads(body)["id"] else 401
    answer = json.dumps({"received": status == 200}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def _call(body: bytes) -> tuple[dict[str, Any], Callable[[], Awaitable[dict[str, Any]]]]:
    """Return the scope and `receive` that a server would pass for one signed body."""
    signature = sign(body, SECRET, SystemClock().now())
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": _PATH, "raw_path": _PATH.encode(), "root_path": "", "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"), (b"content-type", b"application/json"),
            (HEADER.lower().encode(), signature.encode()), (b"content-length", str(len(body)).encode()),
        ],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return scope, receive


async def _measured(app: App, parts: Parts, bodies: Bodies, requests: int) -> Reading:
    calls = [_call(body) for _, body in (next(bodies) for _ in range(requests))]
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    # What waits to be sent would be looked through by each collection; a server does not have it in memory.
    gc.freeze()
    try:
        with pinned(parts.cores.subject):
            before = time.process_time()
            for scope, receive in calls:
                await app(scope, receive, send)
            used = time.process_time() - before
    finally:
        gc.unfreeze()
    assert statuses == [200] * requests, f"not every request was accepted: {set(statuses)}"
    return Reading(used / requests * 1e6, requests, used)


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[Contest]:
    """Build both apps."""
    nowhere, bodies = NoStore(), Bodies()
    app = make_app("ingest", nowhere, (routes(nowhere, Edge(nowhere), "http://bench"),), {}, list)

    async def ours(seconds: float) -> Reading:
        return await _measured(app, parts, bodies, int(REQUESTS * seconds))

    async def bare(seconds: float) -> Reading:
        return await _measured(raw, parts, bodies, int(REQUESTS_BARE * seconds))

    yield Contest(ours, bare, extra={"body_bytes": len(next(bodies)[1])})


METRIC = Metric(
    id="P1",
    title="ingest CPU per request, telemetry off, store stubbed",
    subject="the real app, one request after the other",
    anchor="raw ASGI app, HMAC and json.loads",
    unit="us",
    gate=Gate(bound=8, stretch=5),
    opened=opened,
)
