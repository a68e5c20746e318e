"""What a metric is: a subject, an anchor beside it, a gate, and the proof that nothing was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from bench.pairs import Gate, Measure
from bench.parts import Parts


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of everything that was accepted."""

    accepted: int
    lost: int
    doubled: int

    @property
    def good(self) -> bool:
        """True when each accepted id is downstream exactly once, and there was one at all."""
        return self.accepted > 0 and not self.lost and not self.doubled


def exactly_once(accepted: Iterable[str], downstream: Iterable[str]) -> Verified:
    """Compare ids that were accepted with ids that arrived; arrivals that nobody asked about are left out."""
    wanted, counts = set(accepted), Counter(downstream)
    lost = sum(1 for each in wanted if not counts[each])
    return Verified(len(wanted), lost, sum(1 for each in wanted if counts[each] > 1))


@dataclass(frozen=True, slots=True)
class Contest:
    """A metric that is set up.

    Args:
        verify: Runs after the last slice; None where nothing is stored.
        extra: Further figures to record, filled while it runs.
    """

    subject: Measure
    anchor: Measure
    verify: Callable[[], Awaitable[Verified]] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table of targets.

    Args:
        unit: Of the figures of subject and anchor.
        opened: Sets the metric up and takes it down again.
    """

    id: str
    title: str
    subject: str
    anchor: str
    unit: str
    gate: Gate
    opened: Callable[[Parts], AbstractAsyncContextManager[Contest]]
