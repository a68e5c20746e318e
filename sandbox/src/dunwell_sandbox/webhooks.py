"""Events out: signed, repeated until acknowledged, sometimes twice, sometimes late.

Owns: the signature and the posts. Refuses: which events there are.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import hmac
from collections.abc import Sequence

import aiohttp

from dunwell_kit.clock import Clock, monotonic
from dunwell_sandbox.store import Delivery, Store

_BACKOFF_SECONDS_MIN = 0.1
# A receiver on two cores answers fastest when it is not flooded.
_POSTS_AT_ONCE = 6
# A receiver that takes longer counts as failed, as with Stripe.
_WAITS = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=20)


def signature(body: bytes, secrets: Sequence[str], at: int) -> str:
    """Return the `Stripe-Signature` header: one v1 for each secret, over `{t}.{body}`.

    Source: stripe-python, stripe/_webhook.py, read November 2026.
    """
    signed = f"{at}.".encode() + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={digest}" for digest in digests)])


class Webhooks:
    """Posts what the store holds to the endpoint that is set; without one it waits."""

    def __init__(self, store: Store, clock: Clock, *, backoff_seconds_max: float) -> None:
        self._store = store
        self._clock = clock
        self._backoff_max = backoff_seconds_max
        self._url = ""
        self._secrets: tuple[str, ...] = ()
        self._due: list[tuple[float, int, int, Delivery]] = []
        self._seen = 0
        self._changed = asyncio.Event()

    def set_endpoint(self, url: str, secrets: Sequence[str]) -> None:
        """Post to this address from now on, what has waited included."""
        self._url, self._secrets = url, tuple(secrets)
        self._changed.set()

    def announce(self) -> None:
        """Say that the store may hold new deliveries; call after the transaction."""
        self._changed.set()

    async def run(self) -> None:
        """Post for ever."""
        gate = asyncio.Semaphore(_POSTS_AT_ONCE)
        session = aiohttp.ClientSession(timeout=_WAITS, cookie_jar=aiohttp.DummyCookieJar())
        async with session as client, asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                self._collect()
                while self._url and self._due and self._due[0][0] <= monotonic():
                    _, _, tries, delivery = heapq.heappop(self._due)
                    await gate.acquire()
                    group.create_task(self._post(client, gate, delivery, tries))
                # Without an endpoint, the heap waits for `set_endpoint`.
                wait = max(0.0, self._due[0][0] - monotonic()) if self._due and self._url else None
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _collect(self) -> None:
        for delivery in self._store.open_deliveries(self._seen):
            heapq.heappush(self._due, (monotonic() + delivery.hold_seconds, delivery.seq, 0, delivery))
            self._seen = delivery.seq

    async def _post(
        self, client: aiohttp.ClientSession, gate: asyncio.Semaphore, delivery: Delivery, tries: int
    ) -> None:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(delivery.body, self._secrets, int(self._clock.now().timestamp())),
        }
        try:
            async with client.post(self._url, data=delivery.body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                accepted = 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError):
            accepted = False
        finally:
            gate.release()
        with self._store.transaction():
            self._store.posted(delivery.seq, accepted=accepted)
        if not accepted:
            pause = min(_BACKOFF_SECONDS_MIN * 2**tries, self._backoff_max)
            heapq.heappush(self._due, (monotonic() + pause, delivery.seq, tries + 1, delivery))
            self._changed.set()
