"""Statements: SQL with named parameters, as the driver wants it. Owns: the translation. Refuses: running them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# A name after a single colon; a cast (`::text`) and a colon within a word (`HH24:MI`) are none.
_NAMED = re.compile(r"(?<![:\w\\]):([a-zA-Z_]\w*)")


@dataclass(frozen=True, slots=True)
class Written:
    """What a statement did: how many rows it touched."""

    rowcount: int


# Statements are constants of the code, so they are few.
@lru_cache(maxsize=2048)
def numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    r"""Return a statement with `$1` for each `:name`, and the names in that order; `\:` becomes a plain colon."""
    names: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        return f"${names.setdefault(match[1], len(names) + 1)}"

    return _NAMED.sub(place, statement).replace("\\:", ":"), tuple(names)


def written(status: str) -> Written:
    """Return what a command tag such as `UPDATE 3` or `INSERT 0 3` says; a tag without a count touched no row."""
    count = status.rpartition(" ")[2]
    return Written(int(count) if count.isdigit() else 0)
