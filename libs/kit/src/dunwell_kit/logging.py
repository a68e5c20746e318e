"""Logs: constant messages with allow-listed fields, never personal data.

Owns: the format and the allow-list. Refuses: any field that is not on it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from dunwell_kit import tracing

# A field that is not here is dropped, so that a new one is a decision and not an accident.
ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "service", "role", "tenant_id", "case_id", "step", "event_id", "event_type",
        "topic", "partition", "offset", "count", "seconds", "error", "error_type", "reason", "rule", "status",
        "gateway", "verdict", "attempt_id", "effect", "timer", "state", "port", "shard", "trace_id", "key_hash", "how",
    }
)  # fmt: skip


def _allow_listed(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value for name, value in fields.items() if name in ALLOWED}


def _with_trace(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    traceparent, _state = tracing.carrier()
    if traceparent:
        fields["trace_id"] = traceparent.split("-")[1]
    return fields


def setup(service: str, level: str = "INFO") -> None:
    """Write JSON lines to standard error, and let libraries speak only when something is wrong."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s", force=True)
    # aiokafka reports each transient coordinator move as an error; our own watchdog decides what is one.
    for noisy in ("aiokafka", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_trace,
            _allow_listed,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; call it with a constant message and fields."""
    found: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return found
