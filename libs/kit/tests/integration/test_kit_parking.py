from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka import ConsumerRecord

from dunwell.payment.v1 import payment_pb2
from dunwell_kit import parking
from dunwell_kit.database import Database, Tx
from dunwell_kit.errors import NotFound
from dunwell_kit.ids import CountedIds
from dunwell_kit.messages import Received, received
from dunwell_kit.testing import envelope_for

pytestmark = pytest.mark.integration
GROUP, KEY = "dunwell.ledger", "t:a"
TOPIC = "dunwell.ingest.payment.v1"
Record = ConsumerRecord[bytes, bytes]
ids = CountedIds("parking")


def record(offset: int, payer: str) -> Record:
    message = payment_pb2.PayerChanged(origin=payment_pb2.Origin(payer_id=payer))
    headers = envelope_for(message, event_id=str(ids.uuid()), key=KEY).headers()
    value = message.SerializeToString()
    return ConsumerRecord(TOPIC, 0, offset, 0, 0, KEY.encode(), value, None, 0, len(value), tuple(headers))


class Handled:
    def __init__(self, bad: str = "") -> None:
        self.bad = bad

    async def __call__(self, tx: Tx, item: Received) -> None:
        assert isinstance(item.message, payment_pb2.PayerChanged)
        what = item.message.origin.payer_id
        await tx.execute("INSERT INTO seen (key, what) VALUES (:key, :what)", key=item.envelope.key, what=what)
        if what == self.bad:
            raise ValueError("still bad")

    @property
    def table(self) -> dict[str, Handled]:
        return {"dunwell.payer.changed.v1": self}


async def wait_behind(tx: Tx, group: str, records: list[ConsumerRecord]) -> list[Received]:
    """Park as a consumer does: ask which keys are parked, then park what waits behind them."""
    parked = {row["agg_key"] for row in await tx.rows(parking.PARKED_KEYS, grp=group, keys=[KEY])}
    return await parking.park_waiting(tx, group, records, [received(r) for r in records], parked)


async def park_three(database: Database) -> None:
    async def work(tx: Tx) -> None:
        await parking.bury(tx, GROUP, record(1, "1"), ValueError("bad"))
        later = [record(2, "2"), record(3, "3")]
        assert await wait_behind(tx, GROUP, later) == []

    await database.transact(work)


async def seen(database: Database) -> list[str]:
    return [row["what"] for row in await database.read("SELECT what FROM seen ORDER BY n")]


async def states(database: Database) -> tuple[list[str], int, int]:
    letters = await database.read("SELECT state FROM dead_letters")
    (left,) = await database.read("SELECT count(*) AS n FROM parked_messages")
    return [row["state"] for row in letters], left["n"], await parking.count_parked(database)


async def test_a_replay_handles_a_key_in_order_and_frees_it(kit_database: Database) -> None:
    await park_three(kit_database)
    (letter,) = await parking.dead_letters(kit_database)
    assert (letter["waiting"], letter["agg_key"]) == (3, KEY)
    json.dumps(letter, default=str)
    assert await parking.replay(kit_database, GROUP, KEY, Handled().table) == 3
    assert await seen(kit_database) == ["1", "2", "3"]
    assert await states(kit_database) == (["replayed"], 0, 0)


async def test_a_replay_stops_at_what_still_fails_and_keeps_the_rest(kit_database: Database) -> None:
    await park_three(kit_database)
    with pytest.raises(ValueError, match="still bad"):
        await parking.replay(kit_database, GROUP, KEY, Handled(bad="2").table)
    assert await seen(kit_database) == ["1"]
    assert await states(kit_database) == (["open"], 2, 1)


async def test_a_dropped_message_lets_the_rest_be_replayed(kit_database: Database) -> None:
    await park_three(kit_database)
    assert await parking.drop(kit_database, GROUP, KEY) == 1
    assert await parking.replay(kit_database, GROUP, KEY, Handled().table) == 2
    assert await seen(kit_database) == ["2", "3"]
    assert await states(kit_database) == (["dropped"], 0, 0)


async def test_a_key_that_is_not_parked_is_not_found(kit_database: Database) -> None:
    with pytest.raises(NotFound, match="is not parked"):
        await parking.replay(kit_database, GROUP, "t:nobody", Handled().table)
    assert await parking.drop(kit_database, GROUP, "t:nobody") == 0


async def test_another_group_is_not_touched(kit_database: Database) -> None:
    await park_three(kit_database)

    async def work(tx: Tx) -> list[Received]:
        other = [record(4, "4")]
        return await wait_behind(tx, "dunwell.retry", other)

    assert len(await kit_database.transact(work)) == 1
    with pytest.raises(NotFound):
        await parking.replay(kit_database, "dunwell.retry", KEY, Handled().table)


async def test_a_message_parked_while_a_replay_ends_is_replayed_too(kit_database: Database) -> None:
    await park_three(kit_database)
    parked, commit = asyncio.Event(), asyncio.Event()

    async def consumer_parks(tx: Tx) -> None:
        late = [record(4, "4")]
        assert await wait_behind(tx, GROUP, late) == []
        parked.set()
        await commit.wait()

    consumer = asyncio.ensure_future(kit_database.transact(consumer_parks))
    await parked.wait()
    replay = asyncio.ensure_future(parking.replay(kit_database, GROUP, KEY, Handled().table))
    # Time for the replay to reach its end, were it allowed to.
    await asyncio.wait([replay], timeout=0.3)
    commit.set()
    await consumer
    assert await replay == 4
    assert await seen(kit_database) == ["1", "2", "3", "4"]
    assert await states(kit_database) == (["replayed"], 0, 0)
