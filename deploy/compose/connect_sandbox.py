"""Join the compose file's sandbox to ingest: make an endpoint, then tell the sandbox its URL and secret.

Makes a new endpoint at each start, so that it is right whichever of the two lost its volume; ingest keeps taking the
earlier ones. `connect_sandbox.py INGEST_URL SANDBOX_URL`, the signing secret in DUNWELL_ENDPOINT_SECRET.
"""

from __future__ import annotations

import asyncio
import os
import sys

from dunwell_kit.http import gateway_client

ACCOUNT = "acct_sandbox"


async def connect(ingest: str, sandbox: str, secret: str) -> str:
    """Return the URL that the sandbox posts to from now on; raises for a refusal of either side."""
    async with gateway_client() as client:
        wanted = {"gateway": "stripe", "account": ACCOUNT, "secret": secret}
        made = (await client.post(f"{ingest}/v1/endpoints", json=wanted)).raise_for_status()
        url = str(made.json()["url"])
        told = await client.post(f"{sandbox}/_sandbox/endpoint", json={"url": url, "secret": secret})
        told.raise_for_status()
    return url


if __name__ == "__main__":
    print(asyncio.run(connect(sys.argv[1], sys.argv[2], os.environ["DUNWELL_ENDPOINT_SECRET"])))  # noqa: T201
