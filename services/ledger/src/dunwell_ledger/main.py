"""Composition root of the ledger."""

from __future__ import annotations

from dunwell_kit.run import Runtime, Service, main
from dunwell_ledger.api import routes
from dunwell_ledger.handlers import Books, consumed
from dunwell_ledger.policy import LedgerPolicy


def build(runtime: Runtime) -> Service:
    """Build the service from its settings."""
    environment = runtime.environment
    policy = LedgerPolicy(
        timezone=environment.text("DUNWELL_LEDGER_TIMEZONE", "UTC"),
        write_off_exhausted=environment.flag("DUNWELL_LEDGER_WRITE_OFF_EXHAUSTED"),
    )
    return Service(handlers=consumed(Books(policy)), routers=(routes(runtime.database),))


def run() -> None:
    """Run the ledger."""
    main("ledger", build)
