from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.envelope import decode, envelope_of
from dunwell_kit.clock import monotonic
from dunwell_kit.database import Database, Tx
from dunwell_kit.failpoints import FailpointHit, arm
from dunwell_kit.kafka import started
from dunwell_kit.outputs import SHARD_COUNT, shard_of
from dunwell_kit.relay import _READ, Relay
from dunwell_kit.sending import partition_of
from dunwell_kit.testing import Tail, envelope_for, kafka_producer, running, settings_of, tail, wait_until

pytestmark = pytest.mark.integration
TOPIC = "dunwell.ingest.payment.v1"
Record = ConsumerRecord[bytes, bytes]


def changed(payer: str) -> payment_pb2.PayerChanged:
    return payment_pb2.PayerChanged(origin=payment_pb2.Origin(payer_id=payer))


async def emit(database: Database, key: str, *payers: str) -> None:
    async def work(tx: Tx) -> None:
        for payer in payers:
            tx.emit(changed(payer), key=key)

    await database.transact(work)


def payer_of(record: Record) -> str:
    message = decode(envelope_of(record.headers), record.value or b"")
    assert isinstance(message, payment_pb2.PayerChanged)
    return message.origin.payer_id


async def until_published(log: Tail, tenant: str, count: int) -> list[Record]:
    async def enough() -> bool:
        return len(await log.keys_of(tenant)) >= count

    await wait_until(enough)
    return await log.keys_of(tenant)


@pytest.fixture
async def relay(kit_database: Database, kit_dsn: str, catalogue_on_kafka: str) -> Relay:
    return Relay(kit_database, settings_of("test", kit_dsn, catalogue_on_kafka))


async def test_a_late_commit_is_not_lost(
    kit_database: Database, relay: Relay, catalogue_on_kafka: str, tenant: str
) -> None:
    written, may_commit = asyncio.Event(), asyncio.Event()

    async def late(tx: Tx) -> None:
        tx.emit(changed("late"), key=f"{tenant}:a")
        # Written now, before the other's row, and committed after it.
        await tx.flush()
        written.set()
        await may_commit.wait()

    async with tail(catalogue_on_kafka, TOPIC) as log, running(relay):
        slow = asyncio.ensure_future(kit_database.transact(late))
        await written.wait()
        await emit(kit_database, f"{tenant}:b", "early")
        assert [payer_of(r) for r in await until_published(log, tenant, 1)] == ["early"]
        may_commit.set()
        await slow
        assert [payer_of(r) for r in await until_published(log, tenant, 2)] == ["early", "late"]


async def test_a_record_is_the_event_with_its_key_and_headers(
    kit_database: Database, relay: Relay, catalogue_on_kafka: str, tenant: str
) -> None:
    async def work(tx: Tx) -> str:
        tx.caused_by("cause-1", "rec_1")
        return tx.emit(changed("p"), key=f"{tenant}:p", subject="p")

    async with tail(catalogue_on_kafka, TOPIC) as log, running(relay):
        event_id = await kit_database.transact(work)
        (record,) = await until_published(log, tenant, 1)
    envelope = envelope_of(record.headers)
    assert record.key == f"{tenant}:p".encode() == envelope.key.encode()
    assert (envelope.id, envelope.type, envelope.source) == (event_id, "dunwell.payer.changed.v1", "dunwell/test")
    assert (envelope.correlation_id, envelope.causation_id) == ("rec_1", "cause-1")
    assert (envelope.sequence, envelope.subject) == (1, "p")


class Refused(Exception):
    pass


async def test_each_key_keeps_its_order_under_writers_that_roll_back(
    kit_database: Database, relay: Relay, catalogue_on_kafka: str, tenant: str
) -> None:
    committed: dict[str, int] = defaultdict(int)

    async def writer(number: int) -> None:
        chance = Random(number)
        for turn in range(40):
            keys = sorted({f"{tenant}:{chance.randrange(4)}" for _ in range(2)})

            async def work(tx: Tx, keys: list[str] = keys, turn: int = turn) -> None:
                # A transaction id taken early makes commits and ids run in different orders.
                await tx.execute("INSERT INTO seen (key) VALUES (:key)", key=keys[0])
                for key in keys:
                    tx.emit(changed(f"{number}-{turn}"), key=key)
                if chance.random() < 0.2:
                    await tx.flush()
                    raise Refused

            try:
                await kit_database.transact(work)
            except Refused:
                continue
            for key in keys:
                committed[key] += 1

    async with tail(catalogue_on_kafka, TOPIC) as log, running(relay):
        await asyncio.gather(*(writer(n) for n in range(8)))
        records = await until_published(log, tenant, sum(committed.values()))
    sequences: dict[str, list[int]] = defaultdict(list)
    for record in records:
        sequences[(record.key or b"").decode()].append(envelope_of(record.headers).sequence)
    assert sequences == {key: list(range(1, count + 1)) for key, count in committed.items()}


async def test_a_relay_that_dies_between_send_and_cursor_only_duplicates(
    kit_database: Database, relay: Relay, kit_dsn: str, catalogue_on_kafka: str, tenant: str
) -> None:
    for n in range(20):
        await emit(kit_database, f"{tenant}:{n % 3}", str(n))
    async with tail(catalogue_on_kafka, TOPIC) as log:
        arm("relay.after_send=raise")
        with pytest.raises(FailpointHit):
            async with running(relay):
                await until_published(log, tenant, 20)
        second = Relay(kit_database, settings_of("test", kit_dsn, catalogue_on_kafka))
        async with running(second):
            records = await until_published(log, tenant, 40)
    ids = [envelope_of(r.headers).id for r in records]
    assert len(ids) == 40
    assert len(set(ids)) == 20
    first_seen: dict[bytes, list[int]] = defaultdict(list)
    for record in {envelope_of(r.headers).id: r for r in reversed(records)}.values():
        first_seen[record.key or b""].append(envelope_of(record.headers).sequence)
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in first_seen.values())


async def test_a_second_relay_takes_over_when_the_lease_has_ended(
    kit_database: Database, kit_dsn: str, catalogue_on_kafka: str, tenant: str
) -> None:
    settings = settings_of("test", kit_dsn, catalogue_on_kafka, lease_seconds=1)
    dead, second = Relay(kit_database, settings), Relay(kit_database, settings)
    await emit(kit_database, f"{tenant}:p", "1", "2")
    async with tail(catalogue_on_kafka, TOPIC) as log:
        await started(dead._producer, "test")
        arm("relay.after_send=raise")
        with pytest.raises(FailpointHit):
            await dead.turn()
        await dead._producer.stop()
        died_at = monotonic()
        async with running(second):
            assert len(await until_published(log, tenant, 4)) == 4
            # A little less than the lease: it began before the dead relay's last step ended.
            assert monotonic() - died_at > 0.7
            before = await kit_database.read("SELECT shard, owner, fence FROM outbox_cursor ORDER BY shard")
            await dead._record([])
            after = await kit_database.read("SELECT shard, owner, fence FROM outbox_cursor ORDER BY shard")
    assert before == after
    assert {row["owner"] for row in after} == {second._me}
    assert {row["fence"] for row in after} >= {2}


async def test_many_rows_of_one_shard_are_sent_piece_by_piece(
    kit_database: Database, relay: Relay, catalogue_on_kafka: str, tenant: str
) -> None:
    await emit(kit_database, f"{tenant}:p", *(str(n) for n in range(1201)))
    async with tail(catalogue_on_kafka, TOPIC) as log, running(relay):
        records = await until_published(log, tenant, 1201)
    assert [payer_of(r) for r in records] == [str(n) for n in range(1201)]


OLD_SLOT = "((extract(epoch FROM now())::bigint / 10800) - 3) % 8"


async def test_rotation_empties_only_what_is_sent(
    kit_database: Database, relay: Relay, catalogue_on_kafka: str, tenant: str
) -> None:
    await emit(kit_database, f"{tenant}:p", "1", "2")

    async def age(tx: Tx) -> int:
        await tx.execute(f"UPDATE outbox SET slot = {OLD_SLOT}")
        return int(await tx.value(f"SELECT {OLD_SLOT}"))

    slot = await kit_database.transact(age)

    async def rotate() -> tuple[bool, int]:
        (answer,) = await kit_database.read("SELECT rotate_outbox(CAST(:k AS int)) AS sent", k=slot)
        (left,) = await kit_database.read("SELECT count(*) AS n FROM outbox")
        return answer["sent"], left["n"]

    assert await rotate() == (False, 2)
    async with tail(catalogue_on_kafka, TOPIC) as log, running(relay):
        assert len(await until_published(log, tenant, 2)) == 2

        async def emptied() -> bool:
            return await rotate() == (True, 0)

        await wait_until(emptied)


async def test_a_slot_that_is_being_read_does_not_stop_the_relay(
    kit_database: Database, relay: Relay, kit_dsn: str, catalogue_on_kafka: str, tenant: str
) -> None:
    reader = await asyncpg.connect(kit_dsn)
    try:
        await reader.execute("BEGIN")
        await reader.execute("SELECT count(*) FROM outbox")
        async with tail(catalogue_on_kafka, TOPIC) as log, running(relay):
            await wait_until(lambda: relay._rotated_at > 0)
            await emit(kit_database, f"{tenant}:p", "1")
            assert len(await until_published(log, tenant, 1)) == 1
    finally:
        await reader.close()


async def test_a_caller_that_gives_up_leaves_no_open_transaction(kit_database: Database) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def work(tx: Tx) -> None:
        await tx.execute("INSERT INTO seen (what) VALUES ('kept')")
        inside.set()
        await leave.wait()

    caller = asyncio.ensure_future(kit_database.transact(work))
    await inside.wait()
    caller.cancel()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert [row["what"] for row in await kit_database.read("SELECT what FROM seen")] == ["kept"]
    open_ones = await kit_database.read(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    assert open_ones == []


async def test_a_deadlock_is_run_again(kit_database: Database) -> None:
    async def seed(tx: Tx) -> None:
        await tx.execute("INSERT INTO seen (key, what) VALUES ('a', ''), ('b', '')")

    await kit_database.transact(seed)
    met = asyncio.Barrier(2)

    async def crossing(tx: Tx, first: str, second: str, tries: list[int]) -> None:
        tries.append(1)
        await tx.execute("UPDATE seen SET what = what || 'x' WHERE key = :key", key=first)
        if len(tries) == 1:
            await met.wait()
        await tx.execute("UPDATE seen SET what = what || 'x' WHERE key = :key", key=second)

    one: list[int] = []
    other: list[int] = []
    await asyncio.gather(
        kit_database.transact(lambda tx: crossing(tx, "a", "b", one)),
        kit_database.transact(lambda tx: crossing(tx, "b", "a", other)),
    )
    # One of them has lost at least once; on a busy machine the two may meet again.
    assert len(one) + len(other) >= 3
    assert {row["what"] for row in await kit_database.read("SELECT what FROM seen")} == {"xx"}


async def test_a_window_larger_than_a_batch_keeps_its_order_and_its_partition(
    kit_database: Database, relay: Relay, catalogue_on_kafka: str, tenant: str
) -> None:
    key = f"{tenant}:large"
    # 450 records of some 900 bytes are three batches of 128 KiB, and fit one window.
    payers = [f"{number:04}" + "x" * 600 for number in range(450)]
    await emit(kit_database, key, *payers)
    async with tail(catalogue_on_kafka, TOPIC) as log:
        async with running(relay):
            records = await until_published(log, tenant, len(payers))
        async with kafka_producer(catalogue_on_kafka) as plain:
            # A whole event: other tests read this topic too.
            plainly = changed("plain")
            headers = envelope_for(plainly, event_id=str(kit_database.ids.uuid()), key=key).headers()
            value = plainly.SerializeToString()
            sent = await plain.send_and_wait(TOPIC, value, key=key.encode(), headers=headers)
    assert [payer_of(record) for record in records] == payers
    assert {record.partition for record in records} == {sent.partition}


@given(st.binary(min_size=1, max_size=40), st.integers(1, 64))
def test_a_key_goes_where_every_client_sends_it(key: bytes, count: int) -> None:
    everyone = list(range(count))
    assert partition_of(key, count) == partition_of(key, count) == DefaultPartitioner()(key, everyone, everyone)


def removed_by_filters(plan: dict[str, Any]) -> int:
    """Return how many rows a plan read in vain, below its nodes included."""
    here = int(plan.get("Rows Removed by Filter", 0)) + int(plan.get("Rows Removed by Index Recheck", 0))
    return here * int(plan.get("Actual Loops", 1)) + sum(removed_by_filters(each) for each in plan.get("Plans", ()))


async def test_a_window_reads_what_is_new_however_many_rows_its_slot_holds(kit_database: Database) -> None:
    me, sent = str(kit_database.ids.uuid()), 3000
    await kit_database.read("UPDATE outbox_cursor SET owner=CAST(:me AS uuid), hi=NULL RETURNING 1", me=me)
    await kit_database.read(
        """INSERT INTO outbox (shard, event_id, agg_key, agg_version, topic, headers, payload)
           SELECT :shard, gen_random_uuid(), 'k', n, 't', '{}', 'x' FROM generate_series(1, CAST(:sent AS int)) n RETURNING 1""",
        shard=shard_of("k"),
        sent=sent,
    )
    # All of them are in an earlier window.
    await kit_database.read("UPDATE outbox_cursor SET lo=pg_current_snapshot() RETURNING 1")
    await kit_database.transact(emitting_raw("k"))
    (row,) = await kit_database.read(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {_READ}",
        me=me,
        lease=20.0,
        piece=500,
        shards=list(range(SHARD_COUNT)),
        idle=False,
    )
    (found,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    assert found["Plan"]["Actual Rows"] == 1
    assert removed_by_filters(found["Plan"]) < sent / 10


def emitting_raw(key: str) -> Callable[[Tx], Awaitable[None]]:
    """Return a unit of work that publishes one record."""

    async def work(tx: Tx) -> None:
        tx.emit_raw("topic", key, {}, b"1")

    return work
