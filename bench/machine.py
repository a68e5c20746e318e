"""What a result was made on: cores and versions, nothing that names a machine."""

from __future__ import annotations

import platform
from importlib.metadata import version

import asyncpg

from bench.cores import Cores
from bench.parts import Parts
from dunwell_stack.jars import KAFKA_VERSION

_LIBRARIES = ("aiokafka", "asyncpg", "sqlalchemy", "fastapi", "starlette", "uvicorn", "uvloop", "protobuf")


async def machine(parts: Parts) -> dict[str, object]:
    """Return cores and versions; Kafka and Postgres only where they were used."""
    cores: Cores = parts.cores
    found: dict[str, object] = {
        "cores": len(cores.subject | cores.others),
        "pinned_apart": cores.apart,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    if parts.started:
        connection = await asyncpg.connect(parts.stack.postgres_dsn)
        found["postgres"] = str(await connection.fetchval("SHOW server_version")).split()[0]
        await connection.close()
        found["kafka"] = KAFKA_VERSION
    return found
