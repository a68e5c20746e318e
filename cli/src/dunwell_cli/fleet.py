"""The whole graph on one machine: Kafka, Postgres, the sandbox and five services, as real processes.

Owns: ports, environments and the order of the start. Used by `up`, `demo`, the end-to-end tests and the bench.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from dunwell_kit.clock import CLOCK_FILE_VARIABLE
from dunwell_kit.http import gateway_client
from dunwell_kit.kafka import ensure_topics
from dunwell_kit.migrate import provision_all
from dunwell_kit.settings import PORTS, SERVICES
from dunwell_stack import ZIPKIN_PORT, Stack, Supervisor, Zipkin, wait_http_ready
from dunwell_stack.children import demand_free, free_ports
from dunwell_stack.choice import KAFKA_PORT, POSTGRES_PORT, port_from

SANDBOX_PORT = 12111
SMTP_PORT = 18025
ACCOUNT = "acct_sandbox"
# A fresh process compiles nothing and connects twice; slower than this it is not coming.
READY_SECONDS = 60
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What to start.

    Args:
        data_dir: Everything that is written lives below it.
        fixed_ports: Documented ports (for `up`), else free ones (for tests and the demo).
        clock_file: The virtual clock's file; None for the machine's clock.
        sandbox: Variables of the sandbox without their `DUNWELL_SANDBOX_` prefix.
        variables: Further variables for every service.
        gateway_seconds: Longest silence of the gateway that a client waits through.
        traces: Start a trace viewer too, and send it every trace.
    """

    data_dir: Path
    fixed_ports: bool = False
    clock_file: Path | None = None
    seed: int = 7
    invoices: int = 300
    days: int = 60
    world_start: date | None = None
    sandbox: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    gateway_seconds: float = 25
    fresh: bool = True
    traces: bool = False


class Fleet:
    """Everything that runs, and where."""

    def __init__(self, options: FleetOptions, progress: Progress) -> None:
        self.options, self._progress = options, progress
        self._stack: Stack | None = None
        self.viewer: Zipkin | None = None
        self.supervisor = Supervisor()
        self.database_urls: dict[str, str] = {}
        self.ports: dict[str, int] = {}
        self.kafka_bootstrap = ""
        self.postgres_dsn = ""
        self.endpoint_url = ""
        self.endpoint_secret = "whsec_" + secrets.token_hex(16)

    def url(self, name: str, path: str = "") -> str:
        """Return the address of a service or of the sandbox."""
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        options = self.options
        self._progress("starting Kafka and Postgres")
        if options.fresh:
            for name in ("logs", "sandbox"):
                shutil.rmtree(options.data_dir / name, ignore_errors=True)
        self._choose_ports()
        kafka_port = postgres_port = None
        if options.fixed_ports:
            kafka_port = port_from(os.environ, "DUNWELL_KAFKA_PORT") or KAFKA_PORT
            postgres_port = port_from(os.environ, "DUNWELL_POSTGRES_PORT") or POSTGRES_PORT
        self._stack = Stack(
            options.data_dir / "stack", fresh=options.fresh, kafka_port=kafka_port, postgres_port=postgres_port
        )
        self._stack.start()
        self.kafka_bootstrap, self.postgres_dsn = self._stack.kafka_bootstrap, self._stack.postgres_dsn
        self._progress(self._stack.description)
        if options.traces:
            self._start_viewer()
        self._progress("migrating five databases and creating topics")
        urls, _ = await asyncio.gather(provision_all(self.postgres_dsn), ensure_topics(self.kafka_bootstrap))
        self.database_urls = urls
        self._progress("starting the sandbox and five services")
        self.start_sandbox()
        for service in SERVICES:
            self.start_service(service)
        await self.wait_ready()
        await self._connect()

    def _start_viewer(self) -> None:
        """Start the trace viewer; here and not in a thread, since it ends with the thread that started it."""
        self._progress("starting the trace viewer (131 MB are downloaded once)")
        cache = os.environ.get("DUNWELL_CACHE_DIR")
        fixed = port_from(os.environ, "DUNWELL_ZIPKIN_PORT") or ZIPKIN_PORT
        port = fixed if self.options.fixed_ports else None
        folder = self.options.data_dir / "zipkin"
        self.viewer = Zipkin(folder, Path(cache) if cache else folder, port)
        self.viewer.start()

    def _choose_ports(self) -> None:
        if not self.options.fixed_ports:
            names = (*SERVICES, "sandbox", "smtp")
            self.ports = dict(zip(names, free_ports(len(names)), strict=True))
            return
        for name, port in {**PORTS, "sandbox": SANDBOX_PORT, "smtp": SMTP_PORT}.items():
            variable = f"DUNWELL_{name.upper()}_HTTP_PORT"
            self.ports[name] = port_from(os.environ, variable) or port
            # Told now: a service that finds its port taken would be started again and again until time is up.
            demand_free(self.ports[name], name, variable)

    def environment(self) -> dict[str, str]:
        """Return the variables that every process gets."""
        found = {
            **os.environ,
            "DUNWELL_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "DUNWELL_STRIPE_API_BASE": self.url("sandbox"),
            "DUNWELL_STRIPE_API_KEY": "sk_test_sandbox",
            "DUNWELL_GATEWAY_READ_SECONDS": str(self.options.gateway_seconds),
            "DUNWELL_NOTIFY_SMTP_PORT": str(self.ports["smtp"]),
            "DUNWELL_NOTIFY_SECRET": self._secret("notify"),
            "DUNWELL_RETRY_SECRET": self._secret("retry"),
            "PYTHONUNBUFFERED": "1",
        }
        for service, url in self.database_urls.items():
            found[f"DUNWELL_{service.upper()}_DATABASE_URL"] = url
            found[f"DUNWELL_{service.upper()}_HTTP_PORT"] = str(self.ports[service])
        if self.options.clock_file is not None:
            found[CLOCK_FILE_VARIABLE] = str(self.options.clock_file)
        if self.viewer is not None:
            found |= self.viewer.variables()
        return {**found, **self.options.variables}

    def _secret(self, name: str) -> str:
        """Return a secret of this data directory: made once, so that keys stay the same over restarts."""
        path = self.options.data_dir / f"{name}.secret"
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.options.seed and self.options.clock_file is not None:
            # A time-lapse must be repeatable, and faults are drawn by idempotency key.
            return f"time-lapse-{name}-{self.options.seed}"
        if not path.exists():
            path.write_text(secrets.token_hex(32))
            path.chmod(0o600)
        return path.read_text()

    def start_sandbox(self) -> None:
        """Start the sandbox."""
        options = self.options
        wanted = {
            "DATA_DIR": str(options.data_dir / "sandbox"),
            "PORT": str(self.ports["sandbox"]),
            "SMTP_PORT": str(self.ports["smtp"]),
            "SEED": str(options.seed),
            "INVOICES": str(options.invoices),
            **({"WORLD_START": options.world_start.isoformat()} if options.world_start else {}),
            "WORLD_DAYS": str(options.days),
            **options.sandbox,
        }
        variables = {f"DUNWELL_SANDBOX_{name}": value for name, value in wanted.items()}
        self._launch("sandbox", "dunwell_sandbox", variables)

    def start_service(self, service: str) -> None:
        """Start one service with all its roles."""
        self._launch(service, f"dunwell_{service}", {})

    def _launch(self, name: str, module: str, variables: Mapping[str, str]) -> None:
        log = self.options.data_dir / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        self.supervisor.start(name, [sys.executable, "-m", module], env={**self.environment(), **variables}, log=log)

    async def wait_ready(self) -> None:
        """Return when everything answers; the error names what does not, with the end of its log."""
        paths = dict.fromkeys(SERVICES, "/health/ready") | {"sandbox": "/_sandbox/health"}
        logs = self.options.data_dir / "logs"
        await asyncio.gather(
            *(
                asyncio.to_thread(
                    wait_http_ready, self.url(name, path), seconds=READY_SECONDS, log=logs / f"{name}.log"
                )
                for name, path in paths.items()
            )
        )

    async def _connect(self) -> None:
        """Make the sandbox's endpoint and tell the sandbox where to post."""
        async with gateway_client() as client:
            wanted = {"gateway": "stripe", "account": ACCOUNT, "secret": self.endpoint_secret}
            made = await client.post(self.url("ingest", "/v1/endpoints"), json=wanted)
            made.raise_for_status()
            self.endpoint_url = made.json()["url"]
            told = await client.post(
                self.url("sandbox", "/_sandbox/endpoint"),
                json={"url": self.endpoint_url, "secret": self.endpoint_secret},
            )
            told.raise_for_status()

    async def stop(self) -> None:
        """Stop everything this fleet started."""
        await asyncio.to_thread(self.supervisor.stop_all)
        if self.viewer is not None:
            await asyncio.to_thread(self.viewer.stop)
            self.viewer = None
        if self._stack is not None:
            await asyncio.to_thread(self._stack.stop)
            self._stack = None


async def get(client: httpx.AsyncClient, url: str) -> object:
    """Return an answer's JSON; raises for a refusal."""
    answer = await client.get(url)
    answer.raise_for_status()
    return answer.json()
