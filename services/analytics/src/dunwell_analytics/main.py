"""Composition root of analytics."""

from __future__ import annotations

from dunwell_analytics.api import routes
from dunwell_analytics.handlers import Projector, consumed
from dunwell_kit.run import Runtime, Service, main


def build(runtime: Runtime) -> Service:
    """Build the service."""
    return Service(
        handlers=consumed(),
        routers=(routes(runtime.database),),
        background={"projector": Projector(runtime.database).run},
    )


def run() -> None:
    """Run analytics."""
    main("analytics", build)
