from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database, Tx
from dunwell_kit.effects import AT_ONCE, TRIES_MAX, Done, Effect, Effects, Postponed
from dunwell_kit.failpoints import arm
from dunwell_kit.ids import CountedIds
from dunwell_kit.outputs import EffectRecorded
from dunwell_kit.testing import running, settings_of, wait_until

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
Answer = Callable[[Effect], Done | Postponed]


@pytest.fixture
async def database(kit_dsn: str) -> AsyncIterator[Database]:
    opened = Database(kit_dsn, service="test", clock=ManualClock(START), ids=CountedIds())
    yield opened
    await opened.close()


def done(effect: Effect) -> Done:
    async def apply(tx: Tx) -> None:
        await tx.execute("INSERT INTO seen (key, what) VALUES (:k, :w)", k=effect.idem_key, w=str(effect.tries))

    return Done("ok", apply)


class World:
    """The outside: remembers each performance."""

    def __init__(self, answer: Answer = done) -> None:
        self.answer = answer
        self.performed: list[tuple[str, int]] = []

    async def perform(self, effect: Effect) -> Done | Postponed:
        self.performed.append((effect.idem_key, effect.tries))
        return self.answer(effect)


def effects_of(database: Database, world: World) -> Effects:
    return Effects(database, settings_of("test", "", "", lease_seconds=5), {"charge": world.perform})


async def record(database: Database, key: str = "k1", not_before: datetime | None = None) -> None:
    async def work(tx: Tx) -> None:
        tx.record_effect(EffectRecorded("charge", key, "c1", {"amount_minor": 100}, not_before))

    await database.transact(work)


async def row_of(database: Database) -> tuple[str, int]:
    (row,) = await database.read("SELECT state, tries FROM effects")
    return row["state"], row["tries"]


async def outcomes(database: Database) -> list[tuple[str, str]]:
    return [(row["key"], row["what"]) for row in await database.read("SELECT key, what FROM seen ORDER BY n")]


async def end_leases(database: Database) -> None:
    await database.read("UPDATE effects SET lease_until = now() - interval '1 s' RETURNING 1")


async def test_an_effect_is_performed_once_and_its_outcome_written_with_it(database: Database) -> None:
    world = World()
    await record(database)
    await record(database)
    effects = effects_of(database, world)
    assert (await effects.turn(), await effects.turn()) == (1, 0)
    assert world.performed == [("k1", 1)]
    assert await outcomes(database) == [("k1", "1")]
    assert await row_of(database) == ("done", 1)


async def test_an_effect_waits_for_its_business_time(database: Database) -> None:
    world = World()
    await record(database, not_before=START + timedelta(hours=1))
    effects = effects_of(database, world)
    assert await effects.turn() == 0
    assert isinstance(database.clock, ManualClock)
    database.clock.advance(timedelta(hours=1))
    assert await effects.turn() == 1


async def test_a_postponed_effect_comes_back_and_costs_no_try(database: Database) -> None:
    world = World(lambda _: Postponed(START + timedelta(minutes=5)))
    await record(database)
    effects = effects_of(database, world)
    assert isinstance(database.clock, ManualClock)
    assert (await effects.turn(), await effects.turn()) == (1, 0)
    assert await row_of(database) == ("pending", 0)
    world.answer = done
    database.clock.advance(timedelta(minutes=5))
    assert await effects.turn() == 1
    assert await outcomes(database) == [("k1", "1")]


async def test_a_performer_that_died_is_followed_by_a_second_try_that_knows(database: Database) -> None:
    world = World()
    await record(database)
    # What a crash after the call leaves behind: performed, and nothing written.
    arm("effects.performed=raise")
    await effects_of(database, world).turn()
    assert await outcomes(database) == []
    assert await effects_of(database, world).turn() == 0
    await end_leases(database)
    assert await effects_of(database, world).turn() == 1
    assert world.performed == [("k1", 1), ("k1", 2)]
    assert await outcomes(database) == [("k1", "2")]


async def test_the_late_outcome_of_a_lost_lease_is_not_written(database: Database) -> None:
    await record(database)
    other = effects_of(database, World())

    class Slow(World):
        async def perform(self, effect: Effect) -> Done | Postponed:
            await end_leases(database)
            assert await other.turn() == 1
            return await super().perform(effect)

    await effects_of(database, Slow()).turn()
    assert await outcomes(database) == [("k1", "2")]


async def test_a_failing_effect_backs_off_and_is_set_aside(database: Database) -> None:
    def refuse(_: Effect) -> Done:
        raise ValueError("refused")

    world = World(refuse)
    await record(database)
    effects = effects_of(database, world)
    waits = []
    for _ in range(TRIES_MAX):
        assert await effects.turn() == 1
        assert await effects.turn() == 0
        (row,) = await database.read("SELECT extract(epoch FROM lease_until - now())::float8 AS wait FROM effects")
        waits.append(row["wait"])
        await end_leases(database)
    assert all(later > earlier for earlier, later in pairwise(waits))
    assert await row_of(database) == ("failed", TRIES_MAX)
    assert await effects.turn() == 0
    assert len(world.performed) == TRIES_MAX


async def test_one_failing_effect_stops_no_other(database: Database) -> None:
    def picky(effect: Effect) -> Done:
        if effect.idem_key == "bad":
            raise ValueError("refused")
        return done(effect)

    for key in ("k1", "bad", "k2"):
        await record(database, key)
    async with running(effects_of(database, World(picky))):

        async def both() -> bool:
            return len(await outcomes(database)) == 2

        await wait_until(both)
    assert sorted(key for key, _ in await outcomes(database)) == ["k1", "k2"]


async def test_an_effect_of_a_rolled_back_unit_of_work_is_never_performed(database: Database) -> None:
    async def work(tx: Tx) -> None:
        tx.record_effect(EffectRecorded("charge", "k1", "c1", {}))
        await tx.flush()
        raise LookupError

    with pytest.raises(LookupError):
        await database.transact(work)
    assert await effects_of(database, World()).turn() == 0


class Hanging(World):
    """Keys that begin with `slow` are answered when they may be."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def perform(self, effect: Effect) -> Done | Postponed:
        if effect.idem_key.startswith("slow"):
            await self.may_answer.wait()
        return await super().perform(effect)


async def test_one_that_hangs_holds_up_no_other_recorded_later(database: Database) -> None:
    world = Hanging()
    await record(database, "slow")
    async with running(effects_of(database, world)):

        async def claimed() -> bool:
            return await row_of(database) == ("leased", 1)

        async def two() -> bool:
            return len(world.performed) == 2

        await wait_until(claimed)
        await record(database, "k1")
        await record(database, "k2")
        await wait_until(two)
        assert sorted(key for key, _ in world.performed) == ["k1", "k2"]
        world.may_answer.set()

        async def all_told() -> bool:
            return len(await outcomes(database)) == 3

        await wait_until(all_told)


async def test_more_than_fit_side_by_side_follow_as_slots_come_free(database: Database) -> None:
    world = Hanging()
    for number in range(AT_ONCE + 3):
        await record(database, f"slow{number:02}")
    async with running(effects_of(database, world)):

        async def full() -> bool:
            (row,) = await database.read("SELECT count(*) AS n FROM effects WHERE state='leased'")
            return int(row["n"]) == AT_ONCE

        async def all_told() -> bool:
            return len(await outcomes(database)) == AT_ONCE + 3

        await wait_until(full)
        world.may_answer.set()
        await wait_until(all_told)
    assert sorted(world.performed) == [(f"slow{number:02}", 1) for number in range(AT_ONCE + 3)]


async def test_a_stop_waits_for_what_is_being_performed(database: Database) -> None:
    world, stop = Hanging(), asyncio.Event()
    await record(database, "slow")
    role = asyncio.ensure_future(effects_of(database, world).run(stop))

    async def claimed() -> bool:
        return await row_of(database) == ("leased", 1)

    await wait_until(claimed)
    stop.set()
    database.wrote_effects.set()
    assert (await asyncio.wait([role], timeout=0.1))[0] == set()
    world.may_answer.set()
    await role
    assert await outcomes(database) == [("slow", "1")]


async def test_what_cannot_even_be_written_down_ends_the_role(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Effect) -> Done:
        raise ValueError("refused")

    async def lost(*_: object) -> None:
        raise LookupError("no way to write it down")

    effects = effects_of(database, World(refuse))
    monkeypatch.setattr(effects, "_failed", lost)
    await record(database)
    with pytest.raises(LookupError):
        await asyncio.wait_for(effects.run(asyncio.Event()), 10)
