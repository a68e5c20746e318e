"""A module is named by what it owns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from tools.lint.source import Source

ALLOWED: dict[str, str] = {}
_EMPTY = {"utils", "util", "helpers", "helper", "common", "misc", "service", "services", "manager", "managers", "core"}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield modules and packages whose name says nothing."""
    path = PurePosixPath(source.path)
    inside = path.parts[path.parts.index("src") + 1 :] if "src" in path.parts else path.parts
    for name in (PurePosixPath(part).stem for part in inside):
        if name in _EMPTY:
            yield 1, f"a module named {name!r} owns nothing in particular"
