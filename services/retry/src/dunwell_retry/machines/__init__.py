"""State machines: one file each, transitions as data, diagrams drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from dunwell_kit.errors import IllegalTransition

S = TypeVar("S", bound=StrEnum)


def moved(table: Mapping[tuple[S, str], S], state: S, on: str) -> S:
    """Return the state that follows; IllegalTransition when the table has no such arrow."""
    try:
        return table[state, on]
    except KeyError:
        raise IllegalTransition(f"nothing may {on!r} in state {state.value!r}") from None


def drawing(table: Mapping[tuple[S, str], S], title: str) -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["```mermaid", "---", f"title: {title}", "---", "stateDiagram-v2"]
    lines += [f"    {state} --> {to}: {on}" for (state, on), to in table.items()]
    return "\n".join([*lines, "```", ""])
