"""The database: one unit of work, one place that commits.

Owns: the unit of work, and everything it writes besides state: outbox, timers, effects.
Refuses: business tables. A unit of work runs in its own shielded task, since a cancelled one could hand a
connection back to the pool with an open transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg
from asyncpg.exceptions import (
    InFailedSQLTransactionError,
    InterfaceError,
    InternalClientError,
    InvalidCachedStatementError,
    PostgresError,
)
from google.protobuf.message import Message
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dunwell_contracts.catalogue import carried_message
from dunwell_contracts.envelope import Envelope
from dunwell_kit import tracing
from dunwell_kit.chance import jitter
from dunwell_kit.clock import Clock
from dunwell_kit.ids import Ids
from dunwell_kit.outputs import EffectRecorded, Emitted, Outputs, TimerSet, shard_of
from dunwell_kit.pool import Pool
from dunwell_kit.statements import Written, numbered, written
from dunwell_kit.waiting import ClockWatch

T = TypeVar("T")
Row = asyncpg.Record
# Serialisation failure, deadlock, and a plan made before a migration: the whole unit of work is run again.
RETRIED_STATES = frozenset({"40001", "40P01", InvalidCachedStatementError.sqlstate})
TRIES = 5
# The other of a deadlock must come to hold what the loser let go of, or the two meet again; doubled each time.
AGAIN_SECONDS = 0.02
# Connection trouble, shutdown, too many connections: wait and try later, never a dead letter.
TRANSIENT_CLASSES = ("08", "53", "57P", "55P03", "25P03")
# What may be undone by a crash: three loops use it, one statement at a time.
MARKS_POOL_SIZE = 2


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE an error carries, or an empty string."""
    original = getattr(error, "orig", None) or error
    for candidate in (original, getattr(original, "__cause__", None)):
        state = getattr(candidate, "sqlstate", None) or getattr(candidate, "pgcode", None)
        if state:
            return str(state)
    return ""


def is_transient(error: BaseException) -> bool:
    """True when the same work may succeed later: the database, not the message, is at fault."""
    # The driver's own confusion comes of a connection that was cut between two halves of one request.
    broken = InterfaceError | InternalClientError | ConnectionError | asyncio.TimeoutError | OSError
    if isinstance(error, PoolTimeout | broken):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = sqlstate(error) if isinstance(error, DBAPIError | PostgresError) else ""
    return state in RETRIED_STATES or state.startswith(TRANSIENT_CLASSES)


# Writes what handlers gathered over one unit of work.
Gathered = Callable[["Tx", list[Any]], Awaitable[None]]


class Tx:
    """One unit of work: state by statements, outputs collected and written in a few batches at its end."""

    def __init__(self, connection: asyncpg.Connection, database: Database) -> None:
        self.clock = database.clock
        self.ids = database.ids
        self._database, self._connection = database, connection
        self._outputs = Outputs()
        self._gathered: dict[Gathered, list[Any]] = {}
        self._cause = ""
        self._correlation = ""

    def caused_by(self, event_id: str, correlation_id: str = "") -> None:
        """Name the event being handled: it becomes the cause of what is emitted from here on."""
        self._cause, self._correlation = event_id, correlation_id

    @property
    def now(self) -> datetime:
        """The business instant."""
        return self.clock.now()

    async def execute(self, statement: str, **parameters: Any) -> Written:
        """Run one statement with named parameters."""
        numbers, names = numbered(statement)
        return written(await self._connection.execute(numbers, *[parameters[name] for name in names]))

    async def rows(self, statement: str, **parameters: Any) -> Sequence[Row]:
        """Run one statement and return its rows."""
        numbers, names = numbered(statement)
        return list(await self._connection.fetch(numbers, *[parameters[name] for name in names]))

    async def row(self, statement: str, **parameters: Any) -> Row | None:
        """Run one statement and return its first row, if any."""
        found = await self.rows(statement, **parameters)
        return found[0] if found else None

    async def value(self, statement: str, **parameters: Any) -> Any:
        """Run one statement and return the first column of its first row, or None."""
        found = await self.row(statement, **parameters)
        return found[0] if found is not None else None

    def emit(
        self, message: Message, *, key: str, correlation_id: str = "", causation_id: str = "", subject: str = ""
    ) -> str:
        """Publish an event with this unit of work; returns its id.

        Args:
            key: `<tenant>:<payer>`; events of one key keep their order.
        """
        carried = carried_message(message)
        event_id = str(self.ids.uuid())
        traceparent, tracestate = tracing.carrier()
        envelope = Envelope(
            id=event_id,
            type=carried.type,
            source=f"dunwell/{self._database.service}",
            time=self.clock.now(),
            key=key,
            subject=subject,
            correlation_id=correlation_id or self._correlation,
            causation_id=causation_id or self._cause,
            traceparent=traceparent,
            tracestate=tracestate,
        )
        payload = message.SerializeToString(deterministic=True)
        self._outputs.events.append(Emitted(event_id, carried.topic, key, envelope, payload))
        return event_id

    def emit_raw(self, topic: str, key: str, headers: Mapping[str, str], payload: bytes) -> None:
        """Publish a record as it is: for dead letters."""
        self._outputs.events.append(Emitted(str(self.ids.uuid()), topic, key, dict(headers), payload))

    def set_timer(self, timer: TimerSet) -> None:
        """Arm or move a timer with this unit of work."""
        self._outputs.timers[timer.case_id, timer.kind, timer.step] = timer, tracing.carrier()[0]

    async def cancel_timers(self, case_id: str, kind: str | None = None) -> int:
        """Cancel the pending timers of a case, all or of one kind; returns how many."""
        for identity in [i for i in self._outputs.timers if i[0] == case_id and kind in (None, i[1])]:
            del self._outputs.timers[identity]
        done = await self.execute(
            "UPDATE timers SET state='canceled', changed_at=now() WHERE case_id=:case_id"
            " AND state IN ('pending','leased') AND (CAST(:kind AS text) IS NULL OR kind=:kind)",
            case_id=case_id,
            kind=kind,
        )
        return done.rowcount

    def record_effect(self, effect: EffectRecorded) -> None:
        """Record a command to be performed after the commit."""
        self._outputs.effects.append((effect, tracing.carrier()[0]))

    def gather(self, write: Gathered, item: object) -> None:
        """Write an item at the end, in one call with all others gathered for the same function."""
        self._gathered.setdefault(write, []).append(item)

    async def flush(self) -> Outputs:
        """Write what was collected and return it; called by the database before the commit."""
        for write, items in self._gathered.items():
            await write(self, items)
        outputs, self._outputs, self._gathered = self._outputs, Outputs(), {}
        if (found := outputs.statement()) is not None:
            statement, parameters = found
            await self.execute(statement, **parameters)
        return outputs


class Database:
    """A service's own database."""

    def __init__(self, url: str, *, service: str, clock: Clock, ids: Ids, pool_size: int = 8) -> None:
        self.service, self.clock, self.ids = service, clock, ids
        self.watch = ClockWatch(clock)
        # Set after each commit that wrote events, effects or timers due by now: their loops look at once
        # instead of polling.
        self.wrote_events = asyncio.Event()
        self.wrote_effects = asyncio.Event()
        self.wrote_due_timers = asyncio.Event()
        self._shards: set[int] = set()
        self._pool = Pool(url, service=service, size=pool_size)
        self._marks = Pool(url, service=service, size=MARKS_POOL_SIZE, durable=False)

    async def transact(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run a unit of work and commit it; deadlocks and serialisation failures run it again.

        Survives the caller's cancellation: the unit of work ends before the cancellation goes on.
        """
        return await _shielded(_tried(lambda: self._once(work)))

    async def _once(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        async with self._pool.lent() as connection:
            await connection.execute("BEGIN")
            tx = Tx(connection, self)
            result = await work(tx)
            outputs = await tx.flush()
            if await connection.execute("COMMIT") != "COMMIT":
                # Somebody caught a statement's error and went on: Postgres rolls back and calls it no error.
                raise InFailedSQLTransactionError("a statement of this unit of work failed, so nothing of it is kept")
        if outputs.events:
            self._shards |= {shard_of(event.key) for event in outputs.events}
            self.wrote_events.set()
        if outputs.effects:
            self.wrote_effects.set()
        if outputs.timers and any(timer.due_at <= self.clock.now() for timer, _ in outputs.timers.values()):
            self.wrote_due_timers.set()
        return result

    def written_shards(self) -> set[int]:
        """Return the outbox shards that this process wrote to since it was last asked."""
        shards, self._shards = self._shards, set()
        return shards

    async def read(self, statement: str, **parameters: Any) -> list[Row]:
        """Run one statement, which is a transaction by itself, and return its rows."""
        return await _alone(self._pool, statement, parameters)

    async def mark(self, statement: str, **parameters: Any) -> list[Row]:
        """Run one statement that a crash of Postgres may undo, without waiting for the disk; returns its rows.

        Only for marks that cost nothing but a repetition when they are lost: leases of what is fenced, and cursors
        of what is taken once by whoever receives it.
        """
        return await _alone(self._marks, statement, parameters)

    async def close(self) -> None:
        """Close every connection and wake no sleeper any more."""
        self.watch.close()
        await self._pool.close()
        await self._marks.close()


async def _alone(pool: Pool, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
    numbers, names = numbered(statement)
    values = [parameters[name] for name in names]

    async def run() -> list[Row]:
        # Without BEGIN and COMMIT around it: one way to the server and back, not three.
        async with pool.lent() as connection:
            return list(await connection.fetch(numbers, *values))

    return await _shielded(_tried(run))


async def _shielded(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _tried(once: Callable[[], Awaitable[T]]) -> T:
    for number in range(TRIES):
        try:
            return await once()
        except PostgresError as error:
            if number == TRIES - 1 or sqlstate(error) not in RETRIED_STATES:
                raise
        await asyncio.sleep(AGAIN_SECONDS * 2**number * (0.5 + jitter()))
    raise AssertionError("unreachable: the last try returns or raises")
