"""Kafka and Postgres as containers, where an engine answers and it was asked for.

Owns: the two containers. Refuses: being the default; native starts faster and needs nothing installed.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

from dunwell_stack.children import free_ports
from dunwell_stack.choice import StackUnavailable
from dunwell_stack.jars import KAFKA_VERSION

_KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
_POSTGRES_IMAGE = "postgres:17-alpine"
_START_SECONDS_MAX = 180.0


def _tools() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # testcontainers' own deprecations are not the caller's.
        warnings.simplefilter("ignore")
        import docker
        from testcontainers.core.container import DockerContainer
    return docker, DockerContainer


def demand_engine() -> None:
    """Raise StackUnavailable when no Docker engine answers."""
    docker, _ = _tools()
    try:
        docker.from_env().ping()
    except docker.errors.DockerException as error:
        raise StackUnavailable(
            "DUNWELL_STACK=docker, but no Docker engine answers; start it, or unset DUNWELL_STACK for native"
        ) from error


class DockerKafka:
    """One broker in a container."""

    def __init__(self, port: int | None) -> None:
        self._fixed_port = port
        self._port = 0
        self._container: Any = None
        self.description = f"Kafka {KAFKA_VERSION} (Docker, {_KAFKA_IMAGE})"

    @property
    def bootstrap(self) -> str:
        """Address for clients, as `host:port`."""
        return f"127.0.0.1:{self._port}"

    def prepare(self) -> None:
        """Make sure that an engine answers."""
        demand_engine()

    def start(self) -> None:
        """Start the container; its advertised address must be known before, so the port is fixed."""
        self._port = self._fixed_port or free_ports(1)[0]
        settings = {
            "NODE_ID": "1",
            "PROCESS_ROLES": "broker,controller",
            "CONTROLLER_QUORUM_VOTERS": "1@localhost:29093",
            "LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:29093",
            "ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{self._port}",
            "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "AUTO_CREATE_TOPICS_ENABLE": "false",
            "LOG_RETENTION_MS": "-1",
            "LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS": str(2**63 - 1),
        }
        container = _tools()[1](_KAFKA_IMAGE).with_bind_ports(9092, self._port)
        for name, value in settings.items():
            container = container.with_env(f"KAFKA_{name}", value)
        self._container = container.start()

    def wait(self) -> None:
        """Wait until the broker serves; StackUnavailable when it does not."""
        _wait_for_log(self._container, "Kafka Server started", 1)

    def erase(self) -> None:
        """Do nothing: the data ends with the container."""

    def stop(self) -> None:
        """Remove the container; nothing happens when there is none."""
        if self._container is not None:
            self._container.stop()
            self._container = None


class DockerPostgres:
    """One server in a container."""

    def __init__(self, port: int | None) -> None:
        self._fixed_port = port
        self._port = 0
        self._container: Any = None
        self.description = f"Postgres (Docker, {_POSTGRES_IMAGE})"

    @property
    def dsn(self) -> str:
        """Address of the superuser's database."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def prepare(self) -> None:
        """Make sure that an engine answers."""
        demand_engine()

    def start(self) -> None:
        """Start the container."""
        self._port = self._fixed_port or free_ports(1)[0]
        container = _tools()[1](_POSTGRES_IMAGE).with_bind_ports(5432, self._port)
        container = container.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
        self._container = container.with_command("postgres -c max_connections=300").start()

    def wait(self) -> None:
        """Wait until the server accepts connections; StackUnavailable when it does not."""
        # The image starts once to make the cluster and once more to serve.
        _wait_for_log(self._container, "database system is ready to accept connections", 2)

    def erase(self) -> None:
        """Do nothing: the data ends with the container."""

    def stop(self) -> None:
        """Remove the container; nothing happens when there is none."""
        if self._container is not None:
            self._container.stop()
            self._container = None


def _wait_for_log(container: Any, text: str, times: int) -> None:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while sum(part.decode(errors="replace").count(text) for part in container.get_logs()) < times:
        if time.monotonic() > deadline:
            raise StackUnavailable(f"a container did not log {text!r} in {_START_SECONDS_MAX:.0f} s")
        time.sleep(0.2)
