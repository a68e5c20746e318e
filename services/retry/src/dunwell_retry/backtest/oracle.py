"""The bound: what a planner would recover who could ask the world for the true chances.

Owns: the bound. Refuses: to be a policy; production has no such answers.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dunwell_worlds.protocol import FailedInvoice, OracleWorld
from dunwell_worlds.validate import ValidatedWorld

# The true chance is asked every six hours; charges below one in twenty are not sent.
_STEP = timedelta(hours=6)
_WORTH = 0.05


def oracle_bound(world: ValidatedWorld, attempts: int, invoices: int) -> dict[str, float | int] | None:
    """Return the bound over the first invoices of a fresh world, or None when the world tells no truth."""
    if world.oracle is None:
        return None
    won = sent = count = 0
    for invoice in world.failures()[:invoices]:
        count += 1
        approved, tries = _one(world, world.oracle, invoice, attempts)
        won += approved
        sent += tries
    if count == 0:
        return None
    return {
        "invoices": count,
        "attempts_max": attempts,
        "recovered_rate": round(won / count, 6),
        "attempts_per_invoice": round(sent / count, 6),
    }


def _one(world: ValidatedWorld, truth: OracleWorld, invoice: FailedInvoice, attempts: int) -> tuple[bool, int]:
    card, route = invoice.instruments[0].instrument_id, invoice.routes[0]
    now, end = invoice.failed_at + timedelta(hours=1), invoice.failed_at + world.horizon
    for number in range(attempts):
        best: tuple[float, datetime] | None = None
        at = now
        while at < end:
            chance = truth.oracle_probability(invoice.invoice_id, at, card, route)
            if chance >= _WORTH and (best is None or chance > best[0]):
                best = (chance, at)
            at += _STEP
        if best is None:
            return False, number
        if world.attempt(invoice.invoice_id, best[1], card, route, "merchant").approved:
            return True, number + 1
        now = best[1] + _STEP
    return False, attempts
