"""The webhook edge: raw bytes, verified, committed, acknowledged.

Owns: the hot path. Nothing is parsed here beyond what dedupes a delivery. Waiting requests share one insert
(group commit): while one insert is on its way the next requests gather, without any fixed delay.
A room of its own beside `api`, since it is a plain route: no models, no dependencies, half the time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.trace import SpanKind
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dunwell_gateways import registry
from dunwell_gateways.port import SignatureInvalid, Unreadable
from dunwell_ingest import store
from dunwell_ingest.model import Arrived, Endpoint, token_hash
from dunwell_kit import metrics, tracing
from dunwell_kit.app import problem
from dunwell_kit.clock import monotonic
from dunwell_kit.database import Database, is_transient
from dunwell_kit.failpoints import failpoint

# Stripe's own limit on events is below this; Adyen's batches need more and get it by their adapter later.
BODY_BYTES_MAX = 256 * 1024
# An index entry must stay small, or one delivery would fail with all that wait beside it; real ids are below 64.
NAME_CHARS_MAX = 255
# Gateways give up after 5 s at the earliest (Razorpay, Paddle, Recurly); past this an answer helps nobody.
DEADLINE_SECONDS = 8.0
GROUP_MAX = 200
# Endpoints change rarely; a new secret is known to every process after this long.
ENDPOINT_CACHE_SECONDS = 5.0


class TooLarge(Exception):
    """The body is longer than the edge accepts."""


@dataclass(slots=True)
class _Waiting:
    arrived: Arrived
    done: asyncio.Future[None]


class GroupCommit:
    """Inserts what has gathered, one statement at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None
        # Set after each insert: the normaliser looks at once instead of polling.
        self.inserted = asyncio.Event()

    async def put(self, arrived: Arrived) -> None:
        """Return when the delivery is committed; raises what the insert raised."""
        waiting = _Waiting(arrived, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._drain())
        await waiting.done

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
            try:
                await self._insert([w.arrived for w in group])
            except Exception as error:
                for waiting in group:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
                continue
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_result(None)
            self.inserted.set()

    async def _insert(self, group: Sequence[Arrived]) -> None:
        failpoint("ingest.before_insert")
        await store.add_deliveries(self._database, group)
        failpoint("ingest.after_commit")


class Edge:
    """Answers `POST /v1/webhooks/{endpoint_token}`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.commits = GroupCommit(database)
        self._endpoints: dict[bytes, tuple[float, Endpoint | None]] = {}

    async def answer(self, request: Request) -> Response:
        """Answer one webhook: 200 once it is committed or quarantined, else a problem document."""
        begun = monotonic()
        gateway, verdict = "unknown", "error"
        with tracing.span("POST /v1/webhooks/{endpoint_token}", SpanKind.SERVER, root=True) as span:
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    gateway, verdict, answer = await self._judged(request)
            except (TimeoutError, ClientDisconnect):
                verdict, answer = "late", _unavailable("the delivery could not be stored in time")
            except Exception as error:
                if not is_transient(error):
                    raise
                verdict, answer = "unavailable", _unavailable("the store does not answer")
            span.set_attribute("dunwell.verdict", verdict)
        metrics.WEBHOOKS.labels(gateway, verdict).inc()
        metrics.ACK_SECONDS.observe(monotonic() - begun)
        return answer

    async def _judged(self, request: Request) -> tuple[str, str, Response]:
        endpoint = await self._endpoint(token_hash(request.path_params["endpoint_token"]))
        if endpoint is None:
            detail = "no endpoint has this token; create one with: dunwell endpoints add"
            return "unknown", "unknown_endpoint", problem(404, "unknown-endpoint", "Unknown endpoint", detail)
        try:
            body = await _body(request)
        except TooLarge:
            detail = f"the body is longer than {BODY_BYTES_MAX} bytes"
            return endpoint.gateway, "too_large", problem(413, "body-too-large", "Body too large", detail)
        reader = registry.adapter(endpoint.gateway).webhook
        try:
            reader.verify(body, request.headers, endpoint.secrets, self._database.clock.now())
        except SignatureInvalid as error:
            tracing.annotate(dunwell__fault=error.fault.value)
            return endpoint.gateway, f"signature_{error.fault.value}", _refused(error)
        failpoint("ingest.verified")
        arrived = self._arrived(endpoint, body)
        await self.commits.put(arrived)
        verdict = "quarantined" if arrived.state == "quarantined" else "accepted"
        return endpoint.gateway, verdict, JSONResponse({"received": True, "delivery_id": arrived.delivery_id})

    def _arrived(self, endpoint: Endpoint, body: bytes) -> Arrived:
        delivery_id = self._database.ids.new("dlv")
        now = self._database.clock.now()
        traceparent, _ = tracing.carrier()
        try:
            head = registry.adapter(endpoint.gateway).webhook.delivery(body)
            if max(map(len, (head.event_id, head.event_type, head.object_id))) > NAME_CHARS_MAX:
                raise Unreadable(f"the event's id, type or object id is longer than {NAME_CHARS_MAX} characters")
        except Unreadable as error:
            # Authentic but not readable: kept for a person, and acknowledged, since a retry would not change it.
            own_id = "unreadable:" + hashlib.sha256(body).hexdigest()
            detail = str(error)[:500]
            return Arrived(delivery_id, endpoint, own_id, "", "", now, body, "quarantined", detail, traceparent)
        names = head.event_id, head.event_type, head.object_id
        return Arrived(delivery_id, endpoint, *names, now, body, "new", "", traceparent)

    async def _endpoint(self, token: bytes) -> Endpoint | None:
        known = self._endpoints.get(token)
        if known is not None and monotonic() - known[0] < ENDPOINT_CACHE_SECONDS:
            return known[1]
        found = await self._database.transact(lambda tx: store.endpoint_by_token(tx, token))
        if found is not None or len(self._endpoints) < 10_000:
            self._endpoints[token] = (monotonic(), found)
        return found


async def _body(request: Request) -> bytes:
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told) > BODY_BYTES_MAX:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise TooLarge
    return bytes(body)


def _refused(error: SignatureInvalid) -> Response:
    return problem(error.status, error.slug, error.title, str(error), fault=error.fault.value)


def _unavailable(detail: str) -> Response:
    return problem(503, "unavailable", "Temporarily unavailable", f"{detail}; send it again")
