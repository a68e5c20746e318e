"""Business time comes from the injected clock, so that a time-lapse and a replay can set it."""

from __future__ import annotations

from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED = {
    "libs/kit/src/dunwell_kit/clock.py": "the one look at the machine's clock",
}
_CALLS = {
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns",
}  # fmt: skip


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield calls that look at the machine's clock."""
    for call, name in source.calls():
        if name in _CALLS:
            yield call.lineno, f"{name}() looks at the machine's clock; take a Clock"
