"""What a driver and a checker ask: go on, how far, what is true.

Owns: `/_sandbox/...`, which needs no key because the sandbox listens on this machine only. Refuses: Stripe's calls.
"""

from __future__ import annotations

from collections import Counter
from json import JSONDecodeError

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dunwell_sandbox.api import instant
from dunwell_sandbox.gateway import Gateway, Refused, error
from dunwell_sandbox.opening import Opening
from dunwell_sandbox.webhooks import Webhooks


class Control:
    """The control calls."""

    def __init__(self, gateway: Gateway, opening: Opening, webhooks: Webhooks) -> None:
        self._gateway = gateway
        self._store = gateway.store
        self._opening = opening
        self._webhooks = webhooks

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/_sandbox/open", self._open, methods=["POST"]),
            Route("/_sandbox/endpoint", self._endpoint, methods=["POST"]),
            Route("/_sandbox/next", self._next),
            Route("/_sandbox/pending", self._pending),
            Route("/_sandbox/truth", self._truth),
            Route("/_sandbox/stats", self._stats),
            Route("/_sandbox/messages", self._messages),
            Route("/_sandbox/actions", self._actions),
            Route("/_sandbox/health", self._health),
        ]

    async def _open(self, request: Request) -> Response:
        """Let the world go on until `until`, an aware ISO 8601 instant; tells what happened."""
        try:
            done = self._opening.open(instant((await _json(request)).get("until")))
        except Refused as refused:
            return JSONResponse(refused.answer[1], refused.answer[0])
        self._webhooks.announce()
        return JSONResponse(done)

    async def _endpoint(self, request: Request) -> Response:
        """Post events to `url`, signed with `secret` or with each of `secrets`; kept over restarts."""
        try:
            body = await _json(request)
        except Refused as refused:
            return JSONResponse(refused.answer[1], refused.answer[0])
        secrets = body.get("secrets") or [body.get("secret")]
        url = body.get("url")
        if not isinstance(url, str) or not url.startswith("http") or not isinstance(secrets, list) or None in secrets:
            return JSONResponse(error("invalid_request_error", "`url` and `secret` are needed"), 400)
        with self._store.transaction():
            self._store.put("endpoint", "webhooks", {"url": url, "secrets": secrets})
        self._webhooks.set_endpoint(url, secrets)
        return JSONResponse({"url": url})

    async def _next(self, _: Request) -> Response:
        """Return the next instant at which the world has something to do, null when it never has again."""
        at = self._opening.next_at()
        return JSONResponse({"at": at.isoformat() if at else None})

    async def _pending(self, _: Request) -> Response:
        """Return deliveries not acknowledged; messages reach the payer model as they arrive, so none waits."""
        deliveries = self._store.pending()
        return JSONResponse({"pending": deliveries, "deliveries": deliveries, "messages": 0})

    async def _truth(self, _: Request) -> Response:
        """Return every charge that was really tried after the first, with `origin` `api` or `payer`."""
        return JSONResponse({"charges": self._store.lines("truth")})

    async def _stats(self, _: Request) -> Response:
        """Return counts of posts, invoices by status, and payers' acts."""
        return JSONResponse(
            {
                **self._store.delivery_stats(),
                "invoices": dict(Counter(each.status for each in self._gateway.invoices.values())),
                "failures": len(self._gateway.stage.failures),
                "messages": len(self._store.lines("messages")),
                "actions": dict(Counter(each["kind"] for each in self._store.lines("actions"))),
            }
        )

    async def _messages(self, request: Request) -> Response:
        """Return the mail, oldest first; `?invoice=` and `?to=` narrow it."""
        found = self._store.lines("messages")
        if invoice := request.query_params.get("invoice"):
            found = [each for each in found if invoice in each["invoices"]]
        if recipient := request.query_params.get("to"):
            found = [each for each in found if recipient in each["to"]]
        return JSONResponse({"messages": found})

    async def _actions(self, _: Request) -> Response:
        """Return what payers did by themselves."""
        return JSONResponse({"actions": self._store.lines("actions")})

    async def _health(self, _: Request) -> Response:
        """Say that the sandbox serves."""
        return JSONResponse({"status": "ok"})


async def _json(request: Request) -> dict[str, object]:
    try:
        body = await request.json()
    except (JSONDecodeError, UnicodeDecodeError) as wrong:
        raise Refused(400, "The body is not JSON.") from wrong
    if not isinstance(body, dict):
        raise Refused(400, "The body is not a JSON object.")
    return body
