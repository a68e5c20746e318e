"""Every instant is aware and UTC."""

from __future__ import annotations

from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED: dict[str, str] = {}
# datetime(year, month, day, hour, minute, second, microsecond, tzinfo)
_TZINFO_POSITION = 8
_NAIVE = {"datetime.datetime.utcfromtimestamp", "datetime.utcfromtimestamp"}
_MADE = {"datetime.datetime", "datetime.datetime.datetime"}
_FROM = {"datetime.datetime.fromtimestamp", "datetime.fromtimestamp"}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield instants that are made without a time zone."""
    for call, name in source.calls():
        named = {keyword.arg for keyword in call.keywords}
        if name in _NAIVE:
            yield call.lineno, f"{name}() gives a naive datetime"
        elif name in _MADE and "tzinfo" not in named and None not in named and len(call.args) < _TZINFO_POSITION:
            yield call.lineno, "datetime() without tzinfo"
        elif name in _FROM and "tz" not in named and len(call.args) < 2:
            yield call.lineno, "fromtimestamp() without a time zone"
