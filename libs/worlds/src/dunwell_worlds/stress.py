"""The four stressed variants of the base world: where a policy's assumptions are made to fail."""

from __future__ import annotations

from dunwell_worlds.base import BaseWorld
from dunwell_worlds.parameters import STRESS_05SHARE, STRESS_NIGHT, STRESS_NOCALENDAR, STRESS_OUTAGES


def stress_05share(seed: int, invoices: int) -> BaseWorld:
    """Return a world where 60 % of declines say only 05."""
    return BaseWorld(seed, invoices, STRESS_05SHARE)


def stress_nocalendar(seed: int, invoices: int) -> BaseWorld:
    """Return a world where pay comes at regular spans that follow no calendar."""
    return BaseWorld(seed, invoices, STRESS_NOCALENDAR)


def stress_night(seed: int, invoices: int) -> BaseWorld:
    """Return a world with the issuers' night effect reversed and maintenance in the late morning."""
    return BaseWorld(seed, invoices, STRESS_NIGHT)


def stress_outages(seed: int, invoices: int) -> BaseWorld:
    """Return a world with three times the outages."""
    return BaseWorld(seed, invoices, STRESS_OUTAGES)
