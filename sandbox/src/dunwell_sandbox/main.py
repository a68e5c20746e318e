"""Composition root of the sandbox.

Owns: wiring. Refuses: decisions.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from dunwell_kit.clock import Clock, clock_from_environment
from dunwell_kit.errors import Misconfigured
from dunwell_kit.settings import Environment
from dunwell_sandbox.api import Api
from dunwell_sandbox.control import Control
from dunwell_sandbox.gateway import Gateway
from dunwell_sandbox.mail import serve_mail
from dunwell_sandbox.opening import Opening
from dunwell_sandbox.settings import SandboxSettings, sandbox_settings
from dunwell_sandbox.shapes import Json
from dunwell_sandbox.stage import Stage, load_world
from dunwell_sandbox.store import Store
from dunwell_sandbox.webhooks import Webhooks
from dunwell_sandbox.wire import Dropping, Wire
from dunwell_worlds.protocol import World


def make_sandbox(settings: SandboxSettings, clock: Clock, world: World | None = None) -> ASGIApp:
    """Return the app; what an earlier run left in the data directory is taken up again."""
    store = Store(settings.data_dir)
    stage = Stage(world or load_world(settings), store)
    gateway = Gateway(store, stage, settings, clock)
    opening = Opening(gateway, clock)
    webhooks = Webhooks(store, clock, backoff_seconds_max=settings.backoff_seconds_max)
    kept = store.one("endpoint", "webhooks") or {"url": settings.webhook_url, "secrets": settings.webhook_secrets}
    webhooks.set_endpoint(kept["url"], kept["secrets"])
    wire = Wire(store, settings, webhooks.announce)
    api = Api(gateway, opening, wire, clock, settings.account)

    def receive(message_id: str, message: Json) -> None:
        opening.message(message_id, message)
        webhooks.announce()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        mail = await serve_mail(settings.host, settings.smtp_port, receive)
        async with asyncio.TaskGroup() as group:
            posting = group.create_task(webhooks.run())
            try:
                yield
            finally:
                posting.cancel()
                mail.close()
        store.close()

    routes = [*api.routes(), *Control(gateway, opening, webhooks).routes()]
    return Dropping(Starlette(routes=routes, lifespan=lifespan))


def _demand_free(name: str, host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(f"{name} {port} is taken; end what holds it or choose another") from error


def run(port: int | None = None, smtp_port: int | None = None) -> None:
    """Serve a gateway that speaks Stripe's wire format; all other settings come from DUNWELL_SANDBOX_*."""
    try:
        settings = sandbox_settings(Environment(os.environ))
        settings = replace(settings, port=port or settings.port, smtp_port=smtp_port or settings.smtp_port)
        for name, wanted in (("port", settings.port), ("smtp port", settings.smtp_port)):
            _demand_free(name, settings.host, wanted)
        app = make_sandbox(settings, clock_from_environment())
    except (Misconfigured, OSError) as wrong:
        typer.echo(f"sandbox: {wrong}", err=True)
        raise typer.Exit(2) from wrong
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        # Held requests must not keep a stopped sandbox alive.
        timeout_graceful_shutdown=1,
    )
