"""Composition root of ingest."""

from __future__ import annotations

from datetime import datetime

from dunwell_gateways import registry
from dunwell_gateways.charge import ChargeTransport
from dunwell_gateways.declines import classify
from dunwell_gateways.port import RawDecline
from dunwell_ingest.api import routes
from dunwell_ingest.edge import Edge
from dunwell_ingest.effects import LinkFetcher
from dunwell_ingest.handlers import Reader
from dunwell_kit.http import gateway_client
from dunwell_kit.run import Runtime, Service, main


def reason_of(decline: RawDecline, gateway: str, network: str, on: datetime) -> tuple[str, str]:
    """Return the canonical reason of a decline and the edition of the data that gave it."""
    found = classify(decline, gateway=gateway, network=network, on=on.date())
    return found.reason.value, found.edition


def build(runtime: Runtime) -> Service:
    """Build the service from its settings."""
    environment, database = runtime.environment, runtime.database
    edge = Edge(database)
    reader = Reader(database, edge.commits.inserted, reason_of, runtime.settings.poll_seconds)
    stripe = ChargeTransport(
        lambda: gateway_client(environment.number("DUNWELL_GATEWAY_READ_SECONDS", 25)),
        environment.text("DUNWELL_STRIPE_API_BASE", "https://api.stripe.com"),
        registry.adapter("stripe").charge.authorize(environment.text("DUNWELL_STRIPE_API_KEY", "")),
    )
    fetcher = LinkFetcher({"stripe": stripe}, reader, runtime.clock)
    public_url = environment.text(
        "DUNWELL_INGEST_PUBLIC_URL", f"http://{runtime.settings.http_host}:{runtime.settings.http_port}"
    )
    return Service(
        timers={"join": reader.on_join_due},
        performers={"fetch_links": fetcher.fetch_links},
        routers=(routes(database, edge, public_url.rstrip("/")),),
        background={"reader": reader.run},
        on_close=stripe.close,
    )


def run() -> None:
    """Run ingest."""
    main("ingest", build)
