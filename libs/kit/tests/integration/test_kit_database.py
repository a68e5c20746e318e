from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
import pytest
from asyncpg.exceptions import InFailedSQLTransactionError, UndefinedTableError

from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.envelope import SEQUENCE_WIDTH
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database, Tx
from dunwell_kit.ids import CountedIds
from dunwell_kit.outputs import EffectRecorded, TimerSet
from dunwell_kit.testing import settings_of
from dunwell_kit.timers import Fired, Timers

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
async def database(kit_dsn: str) -> AsyncIterator[Database]:
    opened = Database(kit_dsn, service="test", clock=ManualClock(NOW), ids=CountedIds())
    yield opened
    await opened.close()


async def seen(database: Database) -> list[str]:
    return [row["what"] for row in await database.read("SELECT what FROM seen ORDER BY n")]


async def test_a_unit_of_work_that_goes_on_after_a_failed_statement_is_an_error(database: Database) -> None:
    async def work(tx: Tx) -> None:
        await tx.execute("INSERT INTO seen (key, what) VALUES ('k', 'lost')")
        with pytest.raises(UndefinedTableError):
            await tx.rows("SELECT 1 FROM no_such_table")

    with pytest.raises(InFailedSQLTransactionError):
        await database.transact(work)
    assert await seen(database) == []


async def test_a_statement_alone_is_a_transaction(database: Database) -> None:
    await database.read("INSERT INTO seen (key, what) VALUES ('k', :w)", w="one")
    await database.mark("INSERT INTO seen (key, what) VALUES ('k', :w)", w="two")
    assert await seen(database) == ["one", "two"]


async def test_only_marks_do_without_the_disk(database: Database) -> None:
    question = "SELECT current_setting('synchronous_commit') AS waits"
    assert [row["waits"] for row in await database.read(question)] == ["on"]
    assert [row["waits"] for row in await database.mark(question)] == ["off"]


async def test_what_is_gathered_is_written_once_and_with_the_unit_of_work(database: Database) -> None:
    calls: list[list[str]] = []

    async def write(tx: Tx, items: Sequence[str]) -> None:
        calls.append(list(items))
        for item in items:
            await tx.execute("INSERT INTO seen (key, what) VALUES ('k', :w)", w=item)

    async def work(tx: Tx) -> None:
        for item in ("a", "b", "c"):
            tx.gather(write, item)
        assert await tx.rows("SELECT 1 FROM seen") == []

    await database.transact(work)
    assert calls == [["a", "b", "c"]]
    assert await seen(database) == ["a", "b", "c"]


async def test_a_commit_names_the_shards_it_wrote_to_once(database: Database) -> None:
    async def work(tx: Tx) -> None:
        tx.emit_raw("topic", "t:a", {}, b"1")
        tx.emit_raw("topic", "t:a", {}, b"2")

    await database.transact(work)
    stored = {row["shard"] for row in await database.read("SELECT shard FROM outbox")}
    assert database.written_shards() == stored
    assert database.written_shards() == set()


async def test_an_effect_that_is_being_finished_is_not_waited_for(database: Database, kit_dsn: str) -> None:
    async def record(tx: Tx) -> None:
        tx.record_effect(EffectRecorded("fetch", "key", "case", {}))

    await database.transact(record)
    other = await asyncpg.connect(kit_dsn)
    async with asyncio.timeout(10):
        async with other.transaction():
            await other.execute("UPDATE effects SET state='done'")
            # Would wait for the other, were the conflict looked for first.
            await database.transact(record)
    await other.close()
    assert [row["state"] for row in await database.read("SELECT state FROM effects")] == ["done"]


async def test_timers_and_messages_that_meet_do_not_wait_for_each_other_in_a_circle(
    database: Database, kit_dsn: str
) -> None:
    """A message holds the case and moves its timer while the timer is about to fire: the timer waits for the case."""
    await database.read("INSERT INTO seen (key, what) VALUES ('case', 'row')")

    async def arm(tx: Tx) -> None:
        tx.set_timer(TimerSet("case", "attempt", NOW))

    await database.transact(arm)
    locking = asyncio.Event()

    async def lock(tx: Tx, case_ids: Sequence[str]) -> None:
        locking.set()
        await tx.execute("SELECT 1 FROM seen WHERE key = ANY(CAST(:ids AS text[])) FOR UPDATE", ids=list(case_ids))

    async def handler(tx: Tx, fired: Fired) -> None:
        await tx.execute("INSERT INTO seen (key, what) VALUES ('fired', '')")

    settings = settings_of("test", "", "")
    other = await asyncpg.connect(kit_dsn)
    async with asyncio.timeout(10):
        async with other.transaction():
            await other.execute("SELECT 1 FROM seen WHERE key='case' FOR UPDATE")
            firing = asyncio.ensure_future(Timers(database, settings, {"attempt": handler}, lock).turn())
            await locking.wait()
            await other.execute("UPDATE timers SET fence=fence+1, state='canceled' WHERE case_id='case'")
        await firing
    await other.close()
    # The message was first, so the timer that it canceled did not fire.
    assert await seen(database) == ["row"]


async def test_all_that_a_unit_of_work_puts_out_is_one_statement(database: Database) -> None:
    """Several keys, each with its own count, an event's number in its headers, and a raw record's headers untouched."""

    async def work(tx: Tx) -> None:
        tx.emit(payment_pb2.PayerChanged(), key="t:a")
        tx.set_timer(TimerSet("c1", "later", NOW, "", {"n": 1}))
        tx.record_effect(EffectRecorded("call", "k1", "c1", {}))
        tx.emit_raw("dead", "t:b", {"why": "poison"}, b"raw")
        tx.emit(payment_pb2.PayerChanged(), key="t:a")

    for _ in range(2):
        await database.transact(work)
    rows = await database.read(
        "SELECT agg_key, agg_version, topic, headers->>'ce_sequence' AS n, headers->>'why' AS why FROM outbox ORDER BY id"
    )
    told = [(row["agg_key"], row["agg_version"], row["n"] and int(row["n"]), row["why"]) for row in rows]
    once = [("t:a", 1, 1, None), ("t:b", 1, None, "poison"), ("t:a", 2, 2, None)]
    again = [("t:a", 3, 3, None), ("t:b", 2, None, "poison"), ("t:a", 4, 4, None)]
    assert told == once + again
    assert all(len(row["n"]) == SEQUENCE_WIDTH for row in rows if row["n"])
    assert [tuple(row) for row in await database.read("SELECT case_id, kind, fence FROM timers")] == [
        ("c1", "later", 1)
    ]
    assert [tuple(row) for row in await database.read("SELECT kind, idem_key FROM effects")] == [("call", "k1")]


@pytest.mark.parametrize("wanted", range(1, 8))
async def test_any_part_of_it_is_written_alone(database: Database, wanted: int) -> None:
    async def work(tx: Tx) -> None:
        if wanted & 1:
            tx.set_timer(TimerSet("c1", "later", NOW))
        if wanted & 2:
            tx.record_effect(EffectRecorded("call", "k1", "c1", {}))
        if wanted & 4:
            tx.emit_raw("topic", "t:a", {}, b"1")

    await database.transact(work)
    counts = [
        (await database.read(f"SELECT count(*) AS n FROM {table}"))[0]["n"] for table in ("timers", "effects", "outbox")
    ]
    assert counts == [wanted & 1, (wanted & 2) // 2, (wanted & 4) // 4]
