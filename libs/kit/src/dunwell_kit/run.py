"""Running a service: its roles in one process, crash-only.

Owns: the start, the roles' life and the shutdown. A role that fails ends the process with a message that says
what to do; whoever supervises the process starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop
from fastapi import APIRouter

from dunwell_kit import logging, metrics, tracing
from dunwell_kit.app import make_app
from dunwell_kit.clock import Clock, clock_from_environment, monotonic
from dunwell_kit.consumer import Consumer
from dunwell_kit.database import Database, is_transient
from dunwell_kit.effects import Effects, Performer
from dunwell_kit.errors import DunwellError, Misconfigured
from dunwell_kit.failpoints import arm_from_environment
from dunwell_kit.ids import Ids, RandomIds
from dunwell_kit.messages import Handler
from dunwell_kit.relay import Relay
from dunwell_kit.settings import Environment, KitSettings, kit_settings
from dunwell_kit.timers import Lock, TimerHandler, Timers

# No completed turn for so long ends the process: a stuck client is only cured by a new one.
WATCHDOG_SECONDS = 60
DRAIN_SECONDS = 20
HARD_EXIT_SECONDS = 35
Background = Callable[[asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the kit gives a service to build itself from."""

    settings: KitSettings
    environment: Environment
    database: Database
    clock: Clock
    ids: Ids


@dataclass(frozen=True, slots=True)
class Service:
    """What a service gives the kit to run.

    Args:
        lock: Locks the cases of timers before they fire.
        background: Further loops by name; they run with the `consumer` role.
        on_close: Closes what the service opened.
    """

    handlers: Mapping[str, Handler] = field(default_factory=dict)
    timers: Mapping[str, TimerHandler] = field(default_factory=dict)
    lock: Lock | None = None
    performers: Mapping[str, Performer] = field(default_factory=dict)
    routers: tuple[APIRouter, ...] = ()
    background: Mapping[str, Background] = field(default_factory=dict)
    on_close: Callable[[], Awaitable[None]] | None = None


Build = Callable[[Runtime], Service]


def runtime_of(name: str, environment: Environment | None = None) -> Runtime:
    """Read the settings and open the pool; Misconfigured lists all that is wrong."""
    environment = environment or Environment()
    settings = kit_settings(name, environment)
    environment.check()
    clock = clock_from_environment()
    ids = RandomIds(clock)
    database = Database(
        settings.database_url,
        service=name,
        clock=clock,
        ids=ids,
        pool_size=settings.pool_size,
    )
    return Runtime(settings, environment, database, clock, ids)


def main(name: str, build: Build) -> None:
    """Run a service until SIGTERM or a role's failure; the exit status tells which."""
    logging.setup(name, os.environ.get("DUNWELL_LOG_LEVEL", "INFO"))
    provider = tracing.setup(name)
    try:
        arm_from_environment()
        sys.exit(uvloop.run(_main(name, build)))
    except DunwellError as error:
        sys.exit(f"dunwell-{name}: {error}")
    finally:
        if provider is not None:
            provider.shutdown()


async def _main(name: str, build: Build) -> int:
    runtime = runtime_of(name)
    await _reachable(runtime)
    service = build(runtime)
    runtime.environment.check()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What is loaded by now lives as long as the process: looking through it again and again for cycles would stop all
    # loops for a tenth of a second each time.
    gc.collect()
    gc.freeze()
    failed = await run_roles(runtime, service, stop)
    if service.on_close:
        await service.on_close()
    await runtime.database.close()
    return failed


async def _reachable(runtime: Runtime) -> None:
    try:
        rows = await runtime.database.read("SELECT count(*) AS n FROM outbox_cursor")
    except Exception as error:
        if is_transient(error):
            raise Misconfigured(
                f"Postgres does not answer ({type(error).__name__}: {error}); check the database URL"
            ) from error
        raise Misconfigured(f"the database is not migrated ({type(error).__name__}); run: dunwell migrate") from error
    if not rows[0]["n"]:
        raise Misconfigured("the outbox has no shards; run: dunwell migrate")


async def run_roles(runtime: Runtime, service: Service, stop: asyncio.Event) -> int:
    """Run the chosen roles until `stop` is set or one fails; returns the process's exit status."""
    roles = roles_of(runtime, service, stop)
    tasks: dict[asyncio.Future[Any], str] = {asyncio.ensure_future(work): name for name, work in roles.items()}
    stopper = asyncio.ensure_future(stop.wait())
    watchdog = asyncio.ensure_future(_watch(set(roles)))
    done, _ = await asyncio.wait([*tasks, stopper, watchdog], return_when=asyncio.FIRST_COMPLETED)
    status = 0
    for task in done:
        error = None if task is stopper else task.exception()
        # A role that sees the stop in the same turn as we do has ended as it was told to.
        if task is not stopper and not (error is None and stop.is_set()):
            status = 1
            logging.logger().error(
                "role ended", role=tasks.get(task, "watchdog"), error=str(error)[:500], error_type=type(error).__name__
            )
    stop.set()
    for task in (stopper, watchdog):
        task.cancel()
    # A hung client must not keep a dead service alive.
    loop = asyncio.get_running_loop()
    loop.call_later(HARD_EXIT_SECONDS, os._exit, 1)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
    return status


def roles_of(runtime: Runtime, service: Service, stop: asyncio.Event) -> dict[str, Awaitable[None]]:
    """Return the loops to run: those that the settings name and the service has work for."""
    settings, database = runtime.settings, runtime.database
    found: dict[str, Awaitable[None]] = {}
    if "relay" in settings.roles:
        found["relay"] = Relay(database, settings).run(stop)
    if "consumer" in settings.roles and service.handlers:
        found["consumer"] = Consumer(database, settings, service.handlers).run(stop)
    if "consumer" in settings.roles:
        for name, work in service.background.items():
            found[name] = work(stop)
    if "timers" in settings.roles and service.timers:
        found["timers"] = Timers(database, settings, service.timers, service.lock).run(stop)
    if "effects" in settings.roles and service.performers:
        found["effects"] = Effects(database, settings, service.performers).run(stop)
    if "api" in settings.roles:
        watched = set(found) & {"relay", "consumer", "timers", "effects"}
        app = make_app(settings.service, database, service.routers, service.handlers, lambda: _unwell(watched))
        found["api"] = _serve(app, settings, stop)
    return found


def _unwell(roles: set[str]) -> list[str]:
    now = monotonic()
    beats = {role: metrics.HEARTBEAT.labels(role)._value.get() for role in roles}
    return sorted(role for role, at in beats.items() if now - at > WATCHDOG_SECONDS / 2)


async def _watch(roles: set[str]) -> None:
    """End when a role with a heartbeat has had none for too long."""
    watched = roles & {"relay", "consumer", "timers", "effects"}
    begun = monotonic()
    while True:
        await asyncio.sleep(5)
        now = monotonic()
        for role in watched:
            last = max(begun, metrics.HEARTBEAT.labels(role)._value.get())
            if now - last > WATCHDOG_SECONDS:
                raise DunwellError(f"role {role!r} made no turn for {WATCHDOG_SECONDS} s")


async def _serve(app: object, settings: KitSettings, stop: asyncio.Event) -> None:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16_384,
    )
    # Bound here, since the server would end the whole process without a word of ours.
    with _bound(settings) as listener:
        server = _Server(config)
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        stopper = asyncio.ensure_future(stop.wait())
        await asyncio.wait([task, stopper], return_when=asyncio.FIRST_COMPLETED)
        stopper.cancel()
        server.should_exit = True
        await task


def _bound(settings: KitSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.http_host, settings.http_port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise Misconfigured(
            f"port {settings.http_port} on {settings.http_host} cannot be served ({error}); is it taken?"
        ) from error
    return listener


class _Server(uvicorn.Server):
    """A server that leaves the process's signals to us."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Take no signal handler."""
        yield
