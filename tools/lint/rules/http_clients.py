"""Outgoing HTTP has time-outs, no redirects and no hidden retries: the kit makes the clients."""

from __future__ import annotations

from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED = {
    "libs/kit/src/dunwell_kit/http.py": "makes the client",
    "sandbox/src/dunwell_sandbox/webhooks.py": "plays the gateway's own sender",
    "cli/src/": "the command asks our own services, and a person waits for the answer",
}
_CALLS = {f"httpx.{n}" for n in ("AsyncClient", "Client", "get", "post", "put", "delete", "request", "stream")}
_CALLS.add("aiohttp.ClientSession")


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield calls that make a client or a request by themselves."""
    for call, name in source.calls():
        if name in _CALLS:
            yield call.lineno, f"{name}() is a client of its own; take the kit's"
