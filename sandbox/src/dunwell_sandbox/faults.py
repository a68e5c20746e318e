"""Faults on request: which keyed request meets which one.

Owns: the draw, which depends on the seed and the key alone, so that a run repeats. Refuses: performing them.
"""

from __future__ import annotations

from enum import StrEnum

from dunwell_kit.chance import uniform
from dunwell_sandbox.settings import FaultRates


class Fault(StrEnum):
    """What goes wrong; see FaultRates."""

    TIMEOUT = "timeout"
    ERROR = "error"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    SLOW = "slow"


def fault_of(key: str, seed: int, rates: FaultRates) -> Fault | None:
    """Return the fault that the first request with a key meets, None for the usual case."""
    drawn = uniform(seed, "fault", key)
    for fault in Fault:
        drawn -= getattr(rates, fault.value)
        if drawn < 0:
            return fault
    return None
