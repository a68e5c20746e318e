"""Which way the real parts come: addresses that exist, containers, or processes of this machine.

Owns: the reading of the environment and the error that says what is missing. Refuses: starting anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Way = Literal["given", "docker", "native"]

# Away from the usual 9092 and 5432, so that a machine's own Kafka and Postgres do not collide.
KAFKA_PORT = 19092
POSTGRES_PORT = 15432


class StackUnavailable(RuntimeError):
    """The stack cannot start; the one-line message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class StackChoice:
    """The way chosen, with what the environment says about it.

    Args:
        kafka_bootstrap: Address of a Kafka that runs already, or None to start one.
        postgres_dsn: Superuser address of a Postgres that runs already, or None to start one.
        kafka_port: Port asked for, or None.
        postgres_port: Port asked for, or None.
        cache_dir: Where downloads are kept, or None for `cache` in the data directory.
        wheels_only: Take Java and Postgres from the wheels though the machine has its own, as on a bare one.
    """

    way: Way
    kafka_bootstrap: str | None = None
    postgres_dsn: str | None = None
    kafka_port: int | None = None
    postgres_port: int | None = None
    cache_dir: Path | None = None
    wheels_only: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StackChoice:
        """Read the choice; StackUnavailable when a variable makes no sense."""
        bootstrap = environment.get("DUNWELL_KAFKA_BOOTSTRAP") or None
        dsn = environment.get("DUNWELL_POSTGRES_DSN") or None
        if dsn and urlsplit(dsn).scheme not in {"postgresql", "postgres"}:
            raise StackUnavailable(f"DUNWELL_POSTGRES_DSN is {dsn!r}; it must start with postgresql://")
        asked = environment.get("DUNWELL_STACK") or "native"
        if asked not in {"native", "docker"}:
            raise StackUnavailable(f"DUNWELL_STACK is {asked!r}; it can be 'native' or 'docker'")
        cache = environment.get("DUNWELL_CACHE_DIR")
        return cls(
            way="given" if bootstrap and dsn else "docker" if asked == "docker" else "native",
            kafka_bootstrap=bootstrap,
            postgres_dsn=dsn,
            kafka_port=port_from(environment, "DUNWELL_KAFKA_PORT"),
            postgres_port=port_from(environment, "DUNWELL_POSTGRES_PORT"),
            cache_dir=Path(cache) if cache else None,
            wheels_only=environment.get("DUNWELL_WHEELS_ONLY") == "1",
        )


def port_from(environment: Mapping[str, str], name: str) -> int | None:
    """Return a port of 1-65535 from a variable, None when it is unset or empty."""
    raw = environment.get(name)
    if not raw:
        return None
    if not raw.isdecimal() or not 0 < int(raw) < 65536:
        raise StackUnavailable(f"{name} is {raw!r}; a port is a number from 1 to 65535")
    return int(raw)
