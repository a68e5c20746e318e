"""Ids come from the injected Ids, so that they sort and repeat in tests."""

from __future__ import annotations

from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED = {"libs/kit/src/dunwell_kit/ids.py": "makes the ids"}
_CALLS = {f"uuid.uuid{n}" for n in (1, 4, 6, 7, 8)}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield calls that mint an id by themselves."""
    for call, name in source.calls():
        if name in _CALLS:
            yield call.lineno, f"{name}() mints an id; take Ids"
