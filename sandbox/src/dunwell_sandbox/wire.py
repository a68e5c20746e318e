"""Requests in and out as Stripe does it: key, form fields, idempotency, faults.

Owns: what every call has in common. Refuses: what the calls do.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dunwell_sandbox.faults import Fault, fault_of
from dunwell_sandbox.gateway import Answer, Refused, error
from dunwell_sandbox.settings import SandboxSettings
from dunwell_sandbox.store import Reply, Store

Fields = dict[str, str]
_ABORT = "dunwell.abort"
_REUSED = (
    "Keys for idempotent requests can only be used with the same parameters they were first used with. "
    "Try using a key other than '{key}' if you meant to execute a different request."
)
_IN_PROGRESS = (
    "There is currently another in-progress request using this Idempotent Key "
    "(that probably means you submitted twice, and the other request is still going through): {key}."
)


class Dropped(Response):
    """No answer: the connection is aborted, which the client sees as a reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort, then wait until the server has noticed, so that it does not answer by itself."""
        scope[_ABORT]()
        while (await receive())["type"] != "http.disconnect":
            continue


class Dropping:
    """Lends the app inside a way to abort the connection, which ASGI itself has not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app with the abort in its scope."""
        # uvicorn gives `send` as a method of the cycle that owns the transport.
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if scope["type"] == "http" and transport is not None:
            scope[_ABORT] = transport.abort
        await self._app(scope, receive, send)


class Wire:
    """Authenticates, reads, repeats and spoils."""

    def __init__(self, store: Store, settings: SandboxSettings, after_commit: Callable[[], None]) -> None:
        self._store = store
        self._settings = settings
        self._after_commit = after_commit
        self._running: set[str] = set()

    def authenticate(self, request: Request) -> None:
        """Refuse a request without the secret key, as bearer token or as user name."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            with suppress(ValueError):
                given = base64.b64decode(given).decode().partition(":")[0]
        if not given:
            raise Refused(401, "You did not provide an API key.")
        if given != self._settings.api_key:
            raise Refused(401, f"Invalid API Key provided: {given[:7]}****")

    def looking(self, request: Request, answer: Callable[[Fields], Answer]) -> Response:
        """Answer a GET; what the payer did meanwhile may be written on the way."""
        try:
            self.authenticate(request)
            with self._store.transaction():
                status, body = _answered(lambda: answer(dict(request.query_params)))
        except Refused as refused:
            status, body = refused.answer
        self._after_commit()
        return self._response(status, body, None)

    async def changing(self, request: Request, answer: Callable[[Fields, str | None], Answer]) -> Response:
        """Answer a POST under Stripe's idempotency, with the fault that its key meets."""
        key = request.headers.get("idempotency-key") or None
        raw = await request.body()
        try:
            self.authenticate(request)
            fields = dict(parse_qsl(raw.decode(), keep_blank_values=True))
        except UnicodeDecodeError:
            return self._response(400, error("invalid_request_error", "The body is not UTF-8."), key)
        except Refused as refused:
            return self._response(*refused.answer, key)
        fingerprint = _fingerprint(request, fields)
        if key is None:
            return self._run(lambda: answer(fields, None), None, fingerprint, None)
        if kept := self._store.reply(key):
            if kept.fingerprint != fingerprint:
                return self._response(400, error("idempotency_error", _REUSED.format(key=key)), key)
            return self._response(kept.status, kept.body, key, replayed=True)
        if key in self._running:
            conflict = error("idempotency_error", _IN_PROGRESS.format(key=key), code="idempotency_key_in_use")
            return self._response(409, conflict, key)
        return await self._with_fault(lambda: answer(fields, key), key, fingerprint)

    async def _with_fault(self, answer: Callable[[], Answer], key: str, fingerprint: str) -> Response:
        fault = fault_of(key, self._settings.seed, self._settings.faults)
        if fault is not None:
            with self._store.transaction():
                fault = fault if self._store.first_fault(key, fault) else None
        if fault is Fault.RESET_BEFORE:
            return Dropped()
        if fault is Fault.SLOW:
            self._running.add(key)
            try:
                await asyncio.sleep(self._settings.slow_seconds)
            finally:
                self._running.discard(key)
        response = self._run(answer, key, fingerprint, fault)
        if fault is Fault.TIMEOUT:
            await asyncio.sleep(self._settings.hold_seconds)
        if fault in (Fault.TIMEOUT, Fault.RESET_AFTER):
            return Dropped()
        return response

    def _run(self, answer: Callable[[], Answer], key: str | None, fingerprint: str, fault: Fault | None) -> Response:
        with self._store.transaction():
            try:
                status, body = answer()
                if fault is Fault.ERROR:
                    status, body = 500, error("api_error", "An unknown error occurred.")
                if key is not None:
                    self._store.keep_reply(key, Reply(fingerprint, status, body))
            except Refused as refused:
                # Nothing was executed, so the key stays free; what the payer did meanwhile is kept.
                status, body = refused.answer
        self._after_commit()
        return self._response(status, body, key)

    def _response(self, status: int, body: object, key: str | None, *, replayed: bool = False) -> Response:
        headers = {
            "Request-Id": f"req_{hashlib.sha256(str(key).encode()).hexdigest()[:14]}",
            "Stripe-Version": self._settings.api_version,
        }
        if key is not None:
            headers["Idempotency-Key"] = key
        if replayed:
            headers["Idempotent-Replayed"] = "true"
        return JSONResponse(body, status, headers)


def _answered(answer: Callable[[], Answer]) -> Answer:
    """Return an answer, a refusal included, so that the transaction around it is kept."""
    try:
        return answer()
    except Refused as refused:
        return refused.answer


def _fingerprint(request: Request, fields: Fields) -> str:
    told = repr((request.method, request.url.path, sorted(fields.items())))
    return hashlib.sha256(told.encode()).hexdigest()
