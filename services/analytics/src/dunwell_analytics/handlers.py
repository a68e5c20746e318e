"""Analytics listens to everything: log it, mark what it makes stale; the projector recomputes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dunwell_analytics import store, translate
from dunwell_analytics.decide import fold
from dunwell_contracts.catalogue import by_type
from dunwell_kit.database import Database, Tx
from dunwell_kit.messages import Handler, Received

CASES_A_TURN = 200
# Read models may trail the log by about a second; nothing decides by them.
PROJECT_EVERY_SECONDS = 1.0


async def on_any_event(tx: Tx, received: Received) -> None:
    """Log one event."""
    subject = translate.subject_of(received.envelope, received.message)
    store.append(tx, received.envelope, received.message, subject)


def consumed() -> Mapping[str, Handler]:
    """Return the table of what analytics listens to: every type whose catalogue row names it."""
    return {name: on_any_event for name, carried in by_type().items() if "analytics" in carried.consumers}


async def recompute(tx: Tx) -> int:
    """Recompute some stale cases and their days; returns how many cases there were."""
    case_ids = await store.take_dirty_cases(tx, CASES_A_TURN)
    if case_ids:
        facts = await store.facts_of(tx, case_ids)
        rows = [row for row in (fold(facts[case_id]) for case_id in case_ids) if row is not None]
        await store.save_cases(tx, rows)
    return len(case_ids) + await store.recompute_days(tx)


class Projector:
    """Keeps the read models fresh."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stop: asyncio.Event) -> None:
        """Recompute what is stale until told to stop."""
        while not stop.is_set():
            # A pause after each turn but a full one: what grows stale in the meantime is recomputed once.
            if await self._database.transact(recompute) < CASES_A_TURN:
                waiter = asyncio.ensure_future(stop.wait())
                await asyncio.wait([waiter], timeout=PROJECT_EVERY_SECONDS)
                waiter.cancel()
