"""The transport: sends a stored request once and says what is known afterwards.

Owns: the line between "not sent" and "unknown". Refuses: retries, redirects, and reading the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import httpx

from dunwell_gateways.port import ChargeRequest, ChargeResult, Outcome

RESPONSE_BYTES_MAX = 1 << 20  # an invoice with all its lines is below 200 kB


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; the total stays below the effect's lease of 45 s."""

    connect_seconds: float = 3.0
    read_seconds: float = 25.0
    total_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that arrived whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NoReply:
    """No whole answer: NOT_SENT when no byte of the request left, UNKNOWN otherwise."""

    outcome: Outcome
    detail: str


# Raised before httpx writes the request.
_BEFORE_WRITING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


class ChargeTransport:
    """One gateway account's connection.

    Args:
        client_factory: Makes the httpx client; called once.
        base_url: Scheme and host, e.g. `https://api.stripe.com`.
        secret_headers: From `ChargeClient.authorize`; never stored with the request.
    """

    def __init__(
        self, client_factory: Callable[[], httpx.AsyncClient], base_url: str, secret_headers: Mapping[str, str]
    ) -> None:
        self._client = client_factory()
        self._base_url = base_url.rstrip("/")
        self._secret_headers = dict(secret_headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, request: ChargeRequest, *, timeouts: Timeouts | None = None) -> Reply | NoReply:
        """Send the request once and return the answer, or what is known without one; never raises for the network."""
        limits = timeouts or Timeouts()
        try:
            async with asyncio.timeout(limits.total_seconds):
                return await self._exchange(request, limits)
        except _BEFORE_WRITING as error:
            return NoReply(Outcome.NOT_SENT, f"not sent: {type(error).__name__}")
        except (httpx.HTTPError, TimeoutError) as error:
            return NoReply(Outcome.UNKNOWN, f"no answer: {type(error).__name__}")

    async def _exchange(self, request: ChargeRequest, limits: Timeouts) -> Reply | NoReply:
        waits = httpx.Timeout(limits.read_seconds, connect=limits.connect_seconds, pool=limits.connect_seconds)
        outgoing = self._client.build_request(
            request.method,
            self._base_url + request.path,
            content=request.body or None,
            headers={**request.headers, **self._secret_headers},
            timeout=waits,
        )
        reply = await self._client.send(outgoing, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            async for chunk in reply.aiter_bytes():
                body += chunk
                if len(body) > RESPONSE_BYTES_MAX:
                    return NoReply(Outcome.UNKNOWN, f"answer of status {reply.status_code} exceeds 1 MiB")
            return Reply(reply.status_code, dict(reply.headers), bytes(body))
        finally:
            await reply.aclose()


async def perform(
    transport: ChargeTransport,
    request: ChargeRequest,
    interpret: Callable[[int, Mapping[str, str], bytes], ChargeResult],
    *,
    timeouts: Timeouts | None = None,
) -> ChargeResult:
    """Return what one charge call came to: the answer read, or NOT_SENT or UNKNOWN without one."""
    reply = await transport.send(request, timeouts=timeouts)
    if isinstance(reply, NoReply):
        return ChargeResult(reply.outcome, detail=reply.detail)
    return interpret(reply.status, reply.headers, reply.body)
