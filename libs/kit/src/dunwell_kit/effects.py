"""Effects: recorded commands to the outside world, performed after the commit.

Owns: claiming with a lease, and writing the outcome as a message back into the service's handlers, in one
transaction with the row's end. Refuses: domain state; a performer returns what happened and a handler decides.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sized
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from opentelemetry.trace import SpanKind

from dunwell_kit import metrics, tracing
from dunwell_kit.clock import monotonic
from dunwell_kit.database import Database, Row, Tx, is_transient
from dunwell_kit.failpoints import failpoint
from dunwell_kit.logging import logger
from dunwell_kit.settings import KitSettings
from dunwell_kit.waiting import announced_or_moved

# So many are performed side by side; a slot that is free is filled at once.
AT_ONCE = 20
TRIES_MAX = 8
# A failing performer is tried again after so many seconds of real time, doubling.
BACKOFF_FIRST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Effect:
    """One command to perform.

    Args:
        tries: 1 on the first performance; more means that an earlier one may have got through.
    """

    kind: str
    idem_key: str
    case_id: str
    payload: Mapping[str, Any]
    tries: int


@dataclass(frozen=True, slots=True)
class Done:
    """The command was performed; `apply` writes its outcome in one transaction with the row's end."""

    outcome: str
    apply: Callable[[Tx], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Postponed:
    """The command was not performed and is to be tried at a business instant."""

    until: datetime


Performer = Callable[[Effect], Awaitable[Done | Postponed]]

_CLAIM = """
UPDATE effects SET state='leased', fence=fence+1, tries=tries+1, changed_at=now(),
  lease_until = now() + make_interval(secs => :lease)
WHERE id IN (SELECT id FROM effects WHERE not_before <= :now
    AND (state='pending' OR (state='leased' AND lease_until < now()))
  ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED)
RETURNING id, kind, idem_key, case_id, payload::text AS payload, fence, tries, traceparent, created_at"""


class Effects:
    """Performs one database's effects."""

    def __init__(self, database: Database, settings: KitSettings, performers: Mapping[str, Performer]) -> None:
        self._database, self._performers = database, performers
        # A charge may take 30 s in all; its lease must outlive it.
        self._lease = settings.lease_seconds * 3
        self._poll = settings.poll_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Perform what is recorded until told to stop; one that takes long holds up no other."""
        performing: set[asyncio.Task[None]] = set()
        ended = partial(self._ended, performing)
        try:
            while not stop.is_set():
                self._database.wrote_effects.clear()
                seen = self._database.clock.now()
                for task in [each for each in performing if each.done()]:
                    performing.remove(task)
                    # What a performance could not even write down ends the role.
                    task.result()
                free = AT_ONCE - len(performing)
                rows = await self._claim(free) if free else []
                metrics.HEARTBEAT.labels("effects").set(monotonic())
                for row in rows:
                    task = asyncio.ensure_future(self._perform(row))
                    task.add_done_callback(ended)
                    performing.add(task)
                # Fewer than could be claimed: no other was open, and what is recorded since is announced.
                await announced_or_moved(self._database.wrote_effects, self._database.watch, seen, self._poll)
        except asyncio.CancelledError:
            for task in performing:
                task.cancel()
            raise
        finally:
            if performing:
                await asyncio.wait(performing)

    def _ended(self, performing: Sized, task: asyncio.Task[None]) -> None:
        """Look again where no slot was free, so that more may be open, and where the end is an error."""
        if len(performing) >= AT_ONCE or (not task.cancelled() and task.exception() is not None):
            self._database.wrote_effects.set()

    async def turn(self) -> int:
        """Claim open effects and perform them side by side; returns how many were claimed."""
        rows = await self._claim(AT_ONCE)
        await asyncio.gather(*(self._perform(row) for row in rows))
        return len(rows)

    async def _claim(self, most: int) -> list[Row]:
        # Durable, unlike a timer's claim: what is performed outside cannot be taken back.
        rows = await self._database.read(_CLAIM, now=self._database.clock.now(), lease=self._lease, most=most)
        if rows:
            failpoint("effects.claimed")
        return rows

    async def _perform(self, row: Row) -> None:
        effect = Effect(row["kind"], row["idem_key"], row["case_id"], json.loads(row["payload"]), row["tries"])
        started_at = monotonic()
        try:
            now = self._database.clock.now()
            with tracing.continuing(
                f"effect {row['kind']}", SpanKind.CLIENT, row["traceparent"], now, now,
                {tracing.CASE: effect.case_id, tracing.STEP: effect.kind},
            ):  # fmt: skip
                result = await self._performers[effect.kind](effect)
                failpoint("effects.performed")
                await self._finish(row, result)
            outcome = result.outcome if isinstance(result, Done) else "postponed"
            metrics.EFFECTS_DONE.labels(effect.kind, outcome).inc()
        except Exception as error:
            if not is_transient(error):
                await self._failed(row, error)
        metrics.EFFECT_SECONDS.labels(effect.kind).observe(monotonic() - started_at)

    async def _finish(self, row: Row, result: Done | Postponed) -> None:
        async def work(tx: Tx) -> None:
            until = result.until if isinstance(result, Postponed) else None
            done = await tx.execute(
                """UPDATE effects SET
                     state = CASE WHEN CAST(:until AS timestamptz) IS NULL THEN 'done' ELSE 'pending' END,
                     -- not performed, so not a try
                     tries = tries - CASE WHEN CAST(:until AS timestamptz) IS NULL THEN 0 ELSE 1 END,
                     not_before = coalesce(CAST(:until AS timestamptz), not_before), changed_at = now()
                   WHERE id=:id AND fence=:fence AND state='leased'""",
                until=until, id=row["id"], fence=row["fence"],
            )  # fmt: skip
            if done.rowcount and isinstance(result, Done):
                tx.caused_by("", row["case_id"])
                await result.apply(tx)

        await self._database.transact(work)

    async def _failed(self, row: Row, error: Exception) -> None:
        state = "failed" if row["tries"] >= TRIES_MAX else "leased"
        logger().error(
            "effect failed", effect=row["kind"], case_id=row["case_id"], error_type=type(error).__name__,
            error=str(error)[:300], state=state,
        )  # fmt: skip

        await self._database.read(
            """UPDATE effects SET state=:state, error=:error, lease_until = now() + make_interval(secs => :wait)
               WHERE id=:id AND fence=:fence""",
            state=state, error=f"{type(error).__name__}: {error}"[:2000], id=row["id"], fence=row["fence"],
            wait=BACKOFF_FIRST_SECONDS * 2 ** row["tries"],
        )  # fmt: skip
