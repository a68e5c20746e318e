"""What each file of proto/topics must say, and how a type must be called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SERVICES = frozenset({"ingest", "retry", "notify", "ledger", "analytics"})
# Aggregates of more than one word; every other message's name is split after its first word.
LONG_AGGREGATES = ("GatewayRecovery", "GatewayAccess")
# Planning one attempt and writing off an invoice are named by what happened, not by the event's first word.
NAMED_OTHERWISE = {"InvoiceWrittenOff": "dunwell.invoice.written_off.v1"}
_REQUIRED: dict[str, type] = {
    "topic": str, "owner": str, "audience": str, "key": str, "partitions": dict, "retention_days": int,
    "cleanup": str, "compatibility": str, "dlq": dict, "messages": list,
}  # fmt: skip


def wire_type(message: str) -> str:
    """Return the wire type of a message's short name: split at the aggregate, snake case."""
    aggregate = next((a for a in LONG_AGGREGATES if message.startswith(a)), "")
    if not aggregate:
        aggregate = re.match(r"[A-Z][a-z0-9]*", message)[0]  # type: ignore[index]
    return f"dunwell.{_snake(aggregate)}.{_snake(message.removeprefix(aggregate))}.v1"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def findings(folder: Path) -> Iterator[str]:
    """Yield what is wrong in the catalogue files of a folder."""
    types: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield from (f"{path.name}: {text}" for text in _topic(path.stem, document))
        for row in document.get("messages", []):
            yield from (f"{path.name}: {text}" for text in _message(row, document.get("owner", "")))
            if (other := types.setdefault(row["type"], path.name)) != path.name:
                yield f"{path.name}: {row['type']} is carried by {other} too"


def _topic(stem: str, document: dict[str, Any]) -> Iterator[str]:
    for name, kind in _REQUIRED.items():
        if not isinstance(document.get(name), kind) or not document[name]:
            yield f"{name} is missing or no {kind.__name__}"
    if document.get("topic") != stem:
        yield f"topic {document.get('topic')!r} is not the file's name"
    if document.get("owner") not in SERVICES:
        yield f"owner {document.get('owner')!r} is no service"
    if document.get("audience") not in {"public", "internal"}:
        yield f"audience {document.get('audience')!r} is neither public nor internal"
    if not stem.startswith(f"dunwell.{document.get('owner')}."):
        yield "the topic's second word is not its owner"
    partitions = document.get("partitions") or {}
    if not all(isinstance(partitions.get(p), int) and partitions[p] > 0 for p in ("local", "production")):
        yield "partitions need local and production"
    dlq = document.get("dlq") or {}
    if dlq.get("pattern") != "<topic>.<service>.dlq" or not dlq.get("retention_days"):
        yield "dlq needs the pattern <topic>.<service>.dlq and retention_days"


def _message(row: dict[str, Any], owner: str) -> Iterator[str]:
    name = row["message"].rpartition(".")[2]
    expected = NAMED_OTHERWISE.get(name, wire_type(name))
    if row["type"] != expected:
        yield f"{name} has the type {row['type']}, not {expected}"
    if not row.get("consumers"):
        yield f"{name} is read by nobody"
    if row.get("producers") != [owner]:
        yield f"{name} is not written by its topic's owner alone"
    for service in [*row.get("consumers", []), *row.get("producers", [])]:
        if service not in SERVICES:
            yield f"{name} names {service!r}, which is no service"
