"""The consumers' tables and the catalogue say the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from dunwell_analytics import handlers as analytics
from dunwell_contracts.catalogue import by_type
from dunwell_kit.messages import Handler
from dunwell_ledger import handlers as ledger
from dunwell_notify import handlers as notify
from dunwell_retry import handlers as retry

# Tables bind methods only, so that no policy is needed to look at them.
_NO_POLICY = cast(Any, None)


def tables() -> dict[str, Mapping[str, Handler]]:
    """Return each consuming service's table of handlers."""
    return {
        "analytics": analytics.consumed(),
        "ledger": ledger.consumed(ledger.Books(_NO_POLICY)),
        "notify": notify.consumed(notify.Notices(_NO_POLICY)),
        "retry": retry.consumed(retry.Recovery(_NO_POLICY)),
    }


def findings(handled: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield types that a listed consumer does not handle, and handled types that do not list their consumer."""
    for service, types in handled.items():
        listed = {name for name, carried in by_type().items() if service in carried.consumers}
        yield from (f"{service} is listed for {name} and does not handle it" for name in sorted(listed - set(types)))
        yield from (f"{service} handles {name} and is not listed for it" for name in sorted(set(types) - listed))
    for name, carried in by_type().items():
        yield from (f"{name} lists {who}, which has no table" for who in carried.consumers if who not in handled)
