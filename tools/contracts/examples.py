"""Every carried message has examples, and every example is a message that is carried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message

from dunwell_contracts.catalogue import Carried, by_type


def read(path: Path, carried: Carried) -> Message:
    """Return an example as its message; ParseError when it is none."""
    return json_format.Parse(path.read_text(encoding="utf-8"), carried.message())


def of(folder: Path, carried: Carried) -> list[Path]:
    """Return the files of a message's examples."""
    return sorted((folder / carried.topic / carried.message.DESCRIPTOR.name).glob("*.json"))


def findings(folder: Path) -> Iterator[str]:
    """Yield messages without an example, examples that no message claims, and examples that are not messages."""
    claimed: set[Path] = set()
    for carried in by_type().values():
        files = of(folder, carried)
        claimed.update(files)
        if not files:
            yield f"{carried.type} has no example"
        for path in files:
            try:
                message = read(path, carried)
            except json_format.ParseError as error:
                yield f"{path.relative_to(folder)}: {error}"
                continue
            if message == carried.message():
                yield f"{path.relative_to(folder)}: says nothing"
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p not in claimed):
        yield f"{path.relative_to(folder)}: no topic carries such a message"
