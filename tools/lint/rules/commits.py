"""One place commits: a unit of work cannot be half of one."""

from __future__ import annotations

from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED = {
    "libs/kit/src/dunwell_kit/database.py": "the unit of work",
    "libs/kit/src/dunwell_kit/migrate.py": "migrations run before any unit of work",
    "libs/kit/src/dunwell_kit/consumer.py": "tells Kafka its offsets as a gauge; no transaction",
    "sandbox/src/dunwell_sandbox/store.py": "a gateway of its own, with its own SQLite file",
}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield calls of a method `commit`."""
    for call, name in source.calls():
        if name.endswith(".commit"):
            yield call.lineno, f"{name}() commits outside the unit of work"
