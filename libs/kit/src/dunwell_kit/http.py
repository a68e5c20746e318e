"""Outgoing HTTP: the one way to make a client towards gateways.

Owns: time-outs, no redirects, no transport retries. Refuses: tenant-given addresses.
"""

from __future__ import annotations

import httpx

CONNECT_SECONDS = 3.0
READ_SECONDS = 25.0


def gateway_client(read_seconds: float = READ_SECONDS, connections: int = 20) -> httpx.AsyncClient:
    """Return a client that sends a request once and follows nothing.

    Args:
        read_seconds: Longest silence of the gateway; with the connect time-out it must stay below an effect's lease.
    """
    return httpx.AsyncClient(
        timeout=httpx.Timeout(read_seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        transport=httpx.AsyncHTTPTransport(retries=0, limits=httpx.Limits(max_connections=connections)),
        follow_redirects=False,
        trust_env=False,
    )
