"""Timers: the only way to do something later.

Owns: claiming due rows with a lease, firing each once, and giving up on one that cannot be fired. Leaderless:
any node may claim; a dead node's lease ends and another claims. `due_at` is business time, leases are real time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dunwell_kit import metrics, tracing
from dunwell_kit.clock import monotonic
from dunwell_kit.database import Database, Row, Tx, is_transient
from dunwell_kit.failpoints import failpoint
from dunwell_kit.logging import logger
from dunwell_kit.settings import KitSettings
from dunwell_kit.waiting import announced_or_moved

CLAIM_ROWS = 100
# A timer that fails so often is set aside for a person; its error stays on the row.
TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class Fired:
    """A timer that is due."""

    case_id: str
    kind: str
    step: str
    due_at: datetime
    payload: Mapping[str, Any]
    first_span: str


TimerHandler = Callable[[Tx, Fired], Awaitable[None]]
# Locks what the timers of some cases are about, in one order.
Lock = Callable[[Tx, Sequence[str]], Awaitable[None]]

_CLAIM = """
UPDATE timers SET state='leased', fence=fence+1, tries=tries+1, changed_at=now(),
  lease_until = now() + make_interval(secs => :lease)
WHERE id IN (SELECT id FROM timers WHERE due_at <= :now
    AND (state='pending' OR (state='leased' AND lease_until < now()))
  ORDER BY due_at, id LIMIT :most FOR UPDATE SKIP LOCKED)
RETURNING id, case_id, kind, step, due_at, payload::text AS payload, fence, tries, armed_by, first_span"""


class Timers:
    """Fires one database's timers.

    Args:
        lock: Called before the timers are touched: who handles a message locks the case first and moves its timers
            then, and two who go about it in opposite order wait for each other.
    """

    def __init__(
        self, database: Database, settings: KitSettings, handlers: Mapping[str, TimerHandler], lock: Lock | None = None
    ) -> None:
        self._database, self._handlers, self._lock = database, handlers, lock
        self._lease = settings.lease_seconds + 5
        self._poll = settings.poll_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Fire what is due until told to stop."""
        while not stop.is_set():
            self._database.wrote_due_timers.clear()
            seen = self._database.clock.now()
            fired = await self.turn()
            metrics.HEARTBEAT.labels("timers").set(monotonic())
            # Fewer than could be claimed: no other was due, and what comes due is announced or seen on the clock.
            if fired < CLAIM_ROWS:
                await announced_or_moved(self._database.wrote_due_timers, self._database.watch, seen, self._poll)

    async def turn(self) -> int:
        """Claim what is due and fire it; returns how many were claimed."""
        # A claim lost in a crash leaves the timer pending: it fires in one transaction with its end, so only once.
        claimed = await self._database.mark(_CLAIM, now=self._database.clock.now(), lease=self._lease, most=CLAIM_ROWS)
        rows = sorted(claimed, key=lambda r: (r["due_at"], r["id"]))
        if not rows:
            return 0
        failpoint("timers.claimed")
        try:
            await self._fire(rows)
        except Exception as error:
            if is_transient(error):
                raise
            for row in rows:
                await self._fire_alone(row)
        return len(rows)

    async def _fire(self, rows: Sequence[Row]) -> None:
        async def work(tx: Tx) -> list[Row]:
            if self._lock is not None:
                await self._lock(tx, sorted({row["case_id"] for row in rows}))
            done = await tx.rows(
                """UPDATE timers t SET state='done', changed_at=now()
                   FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS bigint[])) AS m(id, fence)
                   WHERE t.id=m.id AND t.fence=m.fence AND t.state='leased' RETURNING t.id""",
                ids=[r["id"] for r in rows],
                fences=[r["fence"] for r in rows],
            )
            mine = {row["id"] for row in done}
            fired = [row for row in rows if row["id"] in mine]
            for row in fired:
                await self._handle(tx, row)
            return fired

        fired = await self._database.transact(work)
        failpoint("timers.fired")
        for row in fired:
            metrics.TIMERS_FIRED.labels(row["kind"]).inc()
            metrics.TIMER_LATENESS.observe((self._database.clock.now() - row["due_at"]).total_seconds())

    async def _handle(self, tx: Tx, row: Row) -> None:
        tx.caused_by("", row["case_id"])
        timer = Fired(
            row["case_id"], row["kind"], row["step"], row["due_at"], json.loads(row["payload"]), row["first_span"]
        )
        links = (tracing.context_of(row["armed_by"]), tracing.context_of(row["first_span"]))
        traced = any(tracing.sampled(text) for text in (row["armed_by"], row["first_span"]))
        if not traced:
            await self._handlers[row["kind"]](tx, timer)
            return
        with tracing.span(
            f"fire {row['kind']}", root=True, links=links,
            attributes={tracing.CASE: row["case_id"], tracing.STEP: row["step"] or row["kind"]},
        ):  # fmt: skip
            await self._handlers[row["kind"]](tx, timer)

    async def _fire_alone(self, row: Row) -> None:
        try:
            await self._fire([row])
        except Exception as error:
            if is_transient(error):
                raise
            state = "failed" if row["tries"] >= TRIES_MAX else "leased"
            logger().error(
                "timer failed", timer=row["kind"], case_id=row["case_id"], error_type=type(error).__name__,
                error=str(error)[:300], state=state,
            )  # fmt: skip
            await self._set_aside(row, state, f"{type(error).__name__}: {error}"[:2000])

    async def _set_aside(self, row: Row, state: str, reason: str) -> None:
        await self._database.read(
            "UPDATE timers SET state=:state, error=:error WHERE id=:id AND fence=:fence",
            state=state, error=reason, id=row["id"], fence=row["fence"],
        )  # fmt: skip
