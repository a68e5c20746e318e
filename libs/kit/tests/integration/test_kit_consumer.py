from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from dunwell.payment.v1 import payment_pb2
from dunwell_kit.consumer import POISON_RUN_MAX, Consumer, FenceLost
from dunwell_kit.database import Database, Tx, is_transient
from dunwell_kit.errors import Unavailable
from dunwell_kit.failpoints import arm
from dunwell_kit.ids import CountedIds
from dunwell_kit.messages import Handler, Received
from dunwell_kit.testing import envelope_for, kafka_producer, make_topic, running, settings_of, wait_until

pytestmark = pytest.mark.integration


@dataclass
class Bench:
    """One consumer group on one topic, with a handler that writes what it was given."""

    database: Database
    dsn: str
    bootstrap: str
    topic: str
    ids: CountedIds
    bad: set[str] = field(default_factory=set)
    transient_errors: int = 0

    def member(self) -> Consumer:
        settings = settings_of(self.topic.replace(".", "-"), self.dsn, self.bootstrap)
        return Consumer(self.database, settings, self.handlers(), [self.topic])

    @property
    def group(self) -> str:
        return f"dunwell.{self.topic.replace('.', '-')}"

    def handlers(self) -> dict[str, Handler]:
        return {"dunwell.payer.changed.v1": self.on_payer_changed}

    async def on_payer_changed(self, tx: Tx, received: Received) -> None:
        assert isinstance(received.message, payment_pb2.PayerChanged)
        what = received.message.origin.payer_id
        if self.transient_errors:
            self.transient_errors -= 1
            raise ConnectionResetError("the database went away")
        await tx.execute("INSERT INTO seen (key, what) VALUES (:key, :what)", key=received.envelope.key, what=what)
        if what in self.bad:
            raise ValueError(f"{what} cannot be handled")

    async def send(self, items: Sequence[tuple[str, str]], ids: Sequence[str] | None = None) -> list[str]:
        """Send (key, payer) events; returns their ids."""
        used = list(ids or (str(self.ids.uuid()) for _ in items))
        async with kafka_producer(self.bootstrap) as producer:
            for (key, payer), event_id in zip(items, used, strict=True):
                message = payment_pb2.PayerChanged(origin=payment_pb2.Origin(payer_id=payer))
                headers = envelope_for(message, event_id=event_id, key=key).headers()
                await producer.send(self.topic, message.SerializeToString(), key=key.encode(), headers=headers)
            await producer.flush()
        return used

    async def send_raw(self, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        async with kafka_producer(self.bootstrap) as producer:
            await producer.send_and_wait(self.topic, value, key=key, headers=headers)

    async def seen(self) -> list[str]:
        return [row["what"] for row in await self.database.read("SELECT what FROM seen ORDER BY n")]

    async def seen_by_key(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for row in await self.database.read("SELECT key, what FROM seen ORDER BY n"):
            found[row["key"]].append(row["what"])
        return dict(found)

    async def until_seen(self, count: int, seconds: float = 20) -> list[str]:
        async def enough() -> bool:
            return len(await self.seen()) >= count

        await wait_until(enough, seconds)
        return await self.seen()

    async def until(self, statement: str, count: int) -> None:
        async def so() -> bool:
            (row,) = await self.database.read(statement)
            return bool(row["n"] == count)

        await wait_until(so)

    async def until_consumed(self, count: int) -> None:
        await self.until("SELECT coalesce(sum(next_offset), 0)::bigint AS n FROM cursors", count)

    async def parked(self) -> list[int]:
        rows = await self.database.read("SELECT record_offset FROM parked_messages ORDER BY id")
        return [row["record_offset"] for row in rows]


@pytest.fixture
async def bench(kit_database: Database, kit_dsn: str, catalogue_on_kafka: str, tenant: str) -> Bench:
    topic = await make_topic(catalogue_on_kafka, f"test.{tenant}.v1")
    return Bench(kit_database, kit_dsn, catalogue_on_kafka, topic, CountedIds(tenant))


async def test_a_duplicate_delivery_is_handled_once(bench: Bench) -> None:
    ids = await bench.send([("t:a", "1"), ("t:b", "2"), ("t:a", "3")])
    await bench.send([("t:a", "1"), ("t:b", "2")], ids[:2])
    async with running(bench.member()):
        await bench.until_consumed(5)
        await bench.send([("t:a", "3")], ids[2:])
        await bench.until_consumed(6)
    assert Counter(await bench.seen()) == {"1": 1, "2": 1, "3": 1}
    assert (await bench.seen_by_key())["t:a"] == ["1", "3"]


async def test_a_crash_between_commit_and_offset_commit_handles_nothing_twice(bench: Bench) -> None:
    await bench.send([("t:a", str(n)) for n in range(10)])
    arm("consumer.after_commit=raise")
    async with running(bench.member()):
        await bench.until_consumed(10)
    # Kafka was never told an offset, so the next member depends on the database alone.
    await bench.send([("t:a", "10")])
    async with running(bench.member()):
        await bench.until_consumed(11)
    assert await bench.seen() == [str(n) for n in range(11)]


async def test_a_crash_before_the_commit_leaves_nothing_behind(bench: Bench) -> None:
    await bench.send([("t:a", str(n)) for n in range(10)])
    arm("consumer.before_commit=raise")
    async with running(bench.member()):
        await bench.until_consumed(10)
    assert await bench.seen() == [str(n) for n in range(10)]
    assert await bench.parked() == []


async def test_a_rebalance_under_load_loses_and_doubles_nothing(bench: Bench) -> None:
    sent: list[tuple[str, str]] = []

    async def load(count: int) -> None:
        items = [(f"t:{n % 12}", str(n)) for n in range(len(sent), len(sent) + count)]
        sent.extend(items)
        await bench.send(items)

    first, second = bench.member(), bench.member()
    async with running(second):
        async with running(first):
            await load(200)

            async def shared() -> bool:
                await load(20)
                return bool(first._owned and second._owned)

            await wait_until(shared, 30)
            assert not set(first._owned) & set(second._owned)
            await load(200)
        await load(200)

        await bench.until_seen(len(sent), 30)
    assert Counter(await bench.seen()) == Counter(payer for _, payer in sent)
    for key, payers in (await bench.seen_by_key()).items():
        assert payers == [payer for k, payer in sent if k == key]


async def test_a_zombie_with_an_old_fence_writes_nothing(bench: Bench) -> None:
    await bench.send([("t:a", "1")])
    zombie = bench.member()
    records = []
    async with running(zombie):
        await bench.until_seen(1)
        apply = zombie._apply

        async def kept(batch: dict[TopicPartition, list[object]]) -> None:
            records.append(batch)
            # Another member claims the partition while this one holds its batch.
            await bench.database.read("UPDATE cursors SET fence = fence + 1 RETURNING 1")
            zombie._apply = apply  # type: ignore[method-assign]
            with pytest.raises(FenceLost):
                await apply(batch)  # type: ignore[arg-type]
            assert await bench.seen() == ["1"]
            raise FenceLost("as the transaction said")

        zombie._apply = kept  # type: ignore[assignment, method-assign]
        await bench.send([("t:a", "2")])
        # Still assigned by Kafka, it claims anew and goes on from the database's place.
        assert await bench.until_seen(2) == ["1", "2"]
    assert len(records) == 1


async def test_a_poison_message_parks_its_key_in_order_and_no_other(bench: Bench) -> None:
    bench.bad = {"bad"}
    await bench.send([("t:a", "1"), ("t:a", "bad"), ("t:b", "x"), ("t:a", "3"), ("t:b", "y"), ("t:a", "4")])
    async with running(bench.member()):
        await bench.until_consumed(6)
        await bench.send([("t:a", "5"), ("t:b", "z")])
        await bench.until_consumed(8)
    assert await bench.seen_by_key() == {"t:a": ["1"], "t:b": ["x", "y", "z"]}
    assert len(await bench.parked()) == 4
    (letter,) = await bench.database.read("SELECT * FROM dead_letters")
    assert (letter["agg_key"], letter["event_type"], letter["state"]) == ("t:a", "dunwell.payer.changed.v1", "open")
    assert "bad cannot be handled" in letter["error"]
    (told,) = await bench.database.read("SELECT topic, headers::text AS headers FROM outbox")
    assert told["topic"] == f"{bench.topic}.{bench.group.removeprefix('dunwell.')}.dlq"
    assert "bad cannot be handled" in told["headers"]


async def test_a_poison_message_that_is_published_again_is_parked_once(bench: Bench) -> None:
    bench.bad = {"bad"}
    ids = await bench.send([("t:a", "bad")])
    async with running(bench.member()):
        await bench.until_consumed(1)
        await bench.send([("t:a", "bad"), ("t:a", "2")], [ids[0], str(bench.ids.uuid())])
        await bench.until_consumed(3)
    assert await bench.parked() == [0, 2]
    assert len(await bench.database.read("SELECT 1 FROM dead_letters")) == 1


async def test_a_transient_error_never_dead_letters(bench: Bench) -> None:
    bench.transient_errors = 3
    await bench.send([("t:a", str(n)) for n in range(5)])
    async with running(bench.member()):
        await bench.until_seen(5)
    assert bench.transient_errors == 0
    assert await bench.database.read("SELECT 1 FROM dead_letters") == []
    assert await bench.seen() == [str(n) for n in range(5)]


async def test_cut_connections_lose_and_double_nothing(bench: Bench) -> None:
    async with running(bench.member()):
        for turn in range(3):
            await bench.send([("t:a", f"{turn}-{n}") for n in range(30)])
            # The connection that cuts the others is one of the pool's, and may be cut by nobody.
            await bench.database.read(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        async def consumed() -> bool:
            try:
                return len(await bench.seen()) >= 90
            except Exception as error:
                if not is_transient(error):
                    raise
                return False

        await wait_until(consumed, 30)
    assert await bench.seen() == [f"{turn}-{n}" for turn in range(3) for n in range(30)]
    assert await bench.database.read("SELECT 1 FROM dead_letters") == []


async def test_one_bad_message_of_a_batch_is_isolated(bench: Bench) -> None:
    bench.bad = {"17"}
    await bench.send([(f"t:{n}", str(n)) for n in range(50)])
    async with running(bench.member()):
        await bench.until_consumed(50)
    assert sorted(map(int, await bench.seen())) == [n for n in range(50) if n != 17]
    assert len(await bench.parked()) == 1


BROKEN = {
    "value": (b"\xff\xff", {}),
    "time": (b"", {"ce_time": b"2026-03-01T09:00:00"}),
    "id that is no uuid": (b"", {"ce_id": b"not-a-uuid"}),
    "NUL in a header": (b"", {"ce_id": b"a\x00b"}),
    "no headers": (b"", None),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_the_rest_flows(bench: Bench, what: str) -> None:
    value, changes = BROKEN[what]
    envelope = envelope_for(payment_pb2.PayerChanged(), event_id=str(bench.ids.uuid()), key="t:a")
    headers = {} if changes is None else {**dict(envelope.headers()), **changes}
    await bench.send_raw(b"t:\x00a", value, list(headers.items()))
    await bench.send([("t:b", "1")])
    async with running(bench.member()):
        await bench.until_consumed(2)
    assert await bench.seen() == ["1"]
    assert len(await bench.database.read("SELECT 1 FROM dead_letters")) == 1
    assert len(await bench.parked()) == 1


async def test_a_type_that_nobody_handles_is_passed_over(bench: Bench) -> None:
    deleted = payment_pb2.PayerDeleted()
    headers = envelope_for(deleted, event_id=str(bench.ids.uuid()), key="t:a").headers()
    await bench.send_raw(b"t:a", deleted.SerializeToString(), headers)
    async with running(bench.member()):
        await bench.until_consumed(1)
    assert await bench.database.read("SELECT 1 FROM inbox UNION ALL SELECT 1 FROM dead_letters") == []


async def test_a_bad_deploy_does_not_empty_the_topic_into_the_dead_letters(bench: Bench) -> None:
    count = POISON_RUN_MAX + 10
    bench.bad = {str(n) for n in range(count)}
    await bench.send([(f"t:{n}", str(n)) for n in range(count)])
    stop = asyncio.Event()
    with pytest.raises(Unavailable, match="the consumer stops"):
        await bench.member().run(stop)
    assert len(await bench.database.read("SELECT 1 FROM dead_letters")) == POISON_RUN_MAX
    bench.bad = set()
    async with running(bench.member()):
        await bench.until_seen(count - POISON_RUN_MAX)


async def test_a_skewed_clock_cannot_hide_a_duplicate(bench: Bench) -> None:
    message = payment_pb2.PayerChanged(origin=payment_pb2.Origin(payer_id="1"))
    at = datetime(1990, 1, 1, tzinfo=UTC)
    headers = envelope_for(message, event_id=str(bench.ids.uuid()), key="t:a", at=at).headers()
    for _ in range(2):
        await bench.send_raw(b"t:a", message.SerializeToString(), headers)
    async with running(bench.member()):
        await bench.until_consumed(2)
    assert await bench.seen() == ["1"]


@pytest.mark.parametrize(("cursor", "told"), [(-1, "past Kafka's retention"), (99, "Kafka ends at 3")])
async def test_a_cursor_that_kafka_no_longer_has_ends_the_consumer(bench: Bench, cursor: int, told: str) -> None:
    await bench.send([("t:a", str(n)) for n in range(3)])
    async with running(bench.member()):
        await bench.until_consumed(3)
    await bench.database.transact(
        lambda tx: tx.execute("UPDATE cursors SET next_offset = :c WHERE next_offset > 0", c=cursor)
    )
    with pytest.raises(Unavailable, match=told):
        await asyncio.wait_for(bench.member().run(asyncio.Event()), 30)
    assert await bench.seen() == ["0", "1", "2"]


async def test_waiting_records_that_nobody_applies_end_the_consumer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dunwell_kit.consumer.STUCK_SECONDS", 0.5)
    member = bench.member()
    # A client that is told to fetch nothing stands for one that is stuck.
    member._client.resume = lambda *_: None  # type: ignore[method-assign]
    member._settings = replace(member._settings, commit_to_kafka_seconds=0.1)
    await bench.send([("t:a", "1")])
    with pytest.raises(Unavailable, match="1 records wait and none was applied"):
        await asyncio.wait_for(member.run(asyncio.Event()), 30)
    async with running(bench.member()):
        await bench.until_consumed(1)
