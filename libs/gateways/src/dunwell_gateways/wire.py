"""Reading what gateways send: strict JSON and typed access to it.

Owns: the refusal of bodies that two parsers could read differently. Refuses: knowledge of any gateway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dunwell_gateways.port import Unreadable

DEPTH_MAX = 32  # real bodies stay below 12; deeper ones only cost memory and stack
_INSTANT_MAX = 253_402_300_799  # last second of the year 9999, the last a datetime holds

Json = Mapping[str, Any]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"key {twice!r} appears twice in one object")
    return found


def _constant(word: str) -> Any:
    raise Unreadable(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=Decimal)


def read_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        Unreadable: Not UTF-8, not an object, deeper than DEPTH_MAX, a key twice, NaN, or text no database holds.
    """
    try:
        told = body.decode("utf-8")
        parsed = _DECODER.decode(told)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable(f"nested deeper than {DEPTH_MAX}") from None
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise Unreadable("the body is not a JSON object")
    # Fewer brackets than levels allowed cannot be too deep.
    if told.count("{") + told.count("[") > DEPTH_MAX:
        _refuse_deep(parsed)
    # What no database holds can only come by an escape: plain text is UTF-8 and has no control characters.
    if "\\u" in told:
        _refuse_broken(parsed)
    return parsed


def _refuse_deep(root: Any) -> None:
    level: list[Any] = [root]
    depth = 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise Unreadable(f"nested deeper than {DEPTH_MAX}")
        level = [
            below
            for node in level
            for below in (node.values() if isinstance(node, dict) else node)
            if isinstance(below, dict | list)
        ]


def _refuse_broken(root: Any) -> None:
    left: list[Any] = [root]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            left.extend(node.values())
            left.extend(node)
        elif isinstance(node, list):
            left.extend(node)
        elif isinstance(node, str):
            _refuse_broken_text(node)


def _refuse_broken_text(text: str) -> None:
    # Postgres stores no NUL, UTF-8 no lone surrogate: refusing here keeps "nothing half-written" true later.
    if "\x00" in text:
        raise Unreadable("a text holds a NUL character")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Unreadable("a text holds a lone surrogate")


def part(value: Any) -> Json:
    """Return a nested object, or an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[Json]:
    """Return the objects of a list, or of a page `{"data": [...]}`; other items are left out."""
    found = value.get("data") if isinstance(value, dict) else value
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def text(value: Any) -> str:
    """Return a text, or an empty one where there is none."""
    return value if isinstance(value, str) else ""


def reference(value: Any) -> str:
    """Return an id given plainly or as an expanded object."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else ""


def integer(value: Any, name: str) -> int:
    """Return an integer; Unreadable naming the field otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable(f"{name} is not an integer")
    return value


def count(value: Any) -> int:
    """Return a small non-negative count, or 0 where none is told."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def instant(value: Any, name: str) -> datetime:
    """Return aware UTC of whole unix seconds; Unreadable naming the field otherwise."""
    seconds = integer(value, name)
    if not 0 <= seconds <= _INSTANT_MAX:
        raise Unreadable(f"{name} is not a time")
    return datetime.fromtimestamp(seconds, UTC)


def instant_or_none(value: Any, name: str) -> datetime | None:
    """Return aware UTC of whole unix seconds, or None where none is told."""
    return None if value is None else instant(value, name)
