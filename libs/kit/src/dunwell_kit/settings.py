"""Settings: typed, from the environment, complete at the start or not started.

Owns: reading and checking variables. Refuses: defaults that would be unsafe outside one machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from urllib.parse import urlsplit

from dunwell_kit.errors import Misconfigured

ROLES = ("api", "consumer", "timers", "effects", "relay")
# Documented local ports; each service's can be overridden by its own variable.
PORTS = {"ingest": 18081, "retry": 18082, "notify": 18083, "ledger": 18084, "analytics": 18085}
SERVICES = tuple(PORTS)


class Environment:
    """Reads variables and remembers what was wrong, so that one start tells all of it."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables
        self._wrong: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """Return a variable; without a default it must be there and not be blank."""
        value = self._variables.get(name, default)
        if value is None or (default is None and not value.strip()):
            self._wrong.append(f"{name} is {'not set' if value is None else 'empty'}")
            return ""
        return value

    def number(self, name: str, default: float) -> float:
        """Return a variable as a number."""
        raw = self._variables.get(name)
        try:
            found = default if raw is None else float(raw)
            if isfinite(found):
                return found
            raise ValueError
        except ValueError:
            self._wrong.append(f"{name} is {raw!r}, not a number")
            return default

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a variable as yes (`1 true yes on`) or no."""
        raw = self._variables.get(name)
        return default if raw is None else raw.lower() in {"1", "true", "yes", "on"}

    def wrong(self, what: str) -> None:
        """Remember one more thing that is wrong."""
        self._wrong.append(what)

    def check(self) -> None:
        """Raise Misconfigured with everything that is wrong, in one message."""
        if self._wrong:
            raise Misconfigured("; ".join(self._wrong))


# Nobody acts on what analytics reads, and a quarter of a second's records cost little more than one.
LINGER_SECONDS = {"analytics": 0.25}


@dataclass(frozen=True, slots=True)
class KitSettings:
    """What every service needs to run.

    Args:
        database_url: `postgresql://user:password@host:port/name`.
        lease_seconds: Life of an outbox, timer or effect lease, on the database's clock.
        poll_seconds: Longest wait before a look for work that nobody announced.
        linger_seconds: How long Kafka gathers records for the consumer; 0 hands each over as it comes.
    """

    service: str
    database_url: str
    kafka_bootstrap: str
    http_host: str
    http_port: int
    roles: tuple[str, ...]
    lease_seconds: float
    poll_seconds: float
    linger_seconds: float
    pool_size: int
    commit_to_kafka_seconds: float
    session_seconds: float
    cell: str

    @property
    def group(self) -> str:
        """The consumer group, which is also the name of the cursors."""
        return f"dunwell.{self.service}"


def kit_settings(service: str, environment: Environment) -> KitSettings:
    """Read the kit's settings of one service."""
    prefix = f"DUNWELL_{service.upper()}_"
    roles = tuple(filter(None, environment.text("DUNWELL_ROLES", ",".join(ROLES)).split(",")))
    for role in roles:
        if role not in ROLES:
            environment.wrong(f"DUNWELL_ROLES names {role!r}; roles are {', '.join(ROLES)}")
    url = environment.text(prefix + "DATABASE_URL")
    if url and urlsplit(url).scheme not in {"postgresql", "postgres"}:
        environment.wrong(f"{prefix}DATABASE_URL must start with postgresql://")
    return KitSettings(
        service=service,
        database_url=url,
        kafka_bootstrap=environment.text("DUNWELL_KAFKA_BOOTSTRAP"),
        http_host=environment.text("DUNWELL_HTTP_HOST", "127.0.0.1"),
        http_port=int(environment.number(prefix + "HTTP_PORT", PORTS.get(service, 18080))),
        roles=roles,
        lease_seconds=environment.number("DUNWELL_LEASE_SECONDS", 15),
        poll_seconds=environment.number("DUNWELL_POLL_SECONDS", 0.1),
        linger_seconds=environment.number(prefix + "LINGER_SECONDS", LINGER_SECONDS.get(service, 0)),
        pool_size=int(environment.number("DUNWELL_POOL_SIZE", 8)),
        commit_to_kafka_seconds=5,
        # A killed member is missed after this long; Kafka accepts 6 s and more.
        session_seconds=environment.number("DUNWELL_SESSION_SECONDS", 45),
        cell=environment.text("DUNWELL_CELL", "local"),
    )
