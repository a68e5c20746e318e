from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dunwell_kit.clock import ClockWriter, FileClock, ManualClock
from dunwell_kit.database import Database, Tx
from dunwell_kit.failpoints import FailpointHit, arm
from dunwell_kit.ids import CountedIds
from dunwell_kit.outputs import TimerSet
from dunwell_kit.testing import running, settings_of, wait_until
from dunwell_kit.timers import TRIES_MAX, Fired, Timers

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DUE = START + timedelta(hours=1)


@pytest.fixture
async def database(kit_dsn: str) -> AsyncIterator[Database]:
    opened = Database(kit_dsn, service="test", clock=ManualClock(START), ids=CountedIds())
    yield opened
    await opened.close()


class Handler:
    def __init__(self, bad: str = "") -> None:
        self.bad = bad

    async def __call__(self, tx: Tx, fired: Fired) -> None:
        await tx.execute("INSERT INTO seen (key, what) VALUES (:k, :w)", k=fired.case_id, w=fired.payload.get("n", ""))
        if fired.case_id == self.bad:
            raise ValueError("cannot be fired")


def timers_of(database: Database, handler: Handler | None = None) -> Timers:
    settings = settings_of("test", "", "", lease_seconds=1)
    return Timers(database, settings, {"attempt": handler or Handler()})


def clock_of(database: Database) -> ManualClock:
    assert isinstance(database.clock, ManualClock)
    return database.clock


async def arm_timer(database: Database, case: str, due: datetime = DUE, n: str = "", step: str = "") -> None:
    async def work(tx: Tx) -> None:
        tx.set_timer(TimerSet(case, "attempt", due, step, {"n": n}))

    await database.transact(work)


async def seen(database: Database) -> list[str]:
    return [row["key"] for row in await database.read("SELECT key FROM seen ORDER BY n")]


async def state(database: Database) -> list[str]:
    return [row["state"] for row in await database.read("SELECT state FROM timers ORDER BY id")]


async def end_leases(database: Database) -> None:
    await database.read("UPDATE timers SET lease_until = now() - interval '1 s' WHERE state = 'leased' RETURNING 1")


async def test_a_timer_fires_once_and_not_before_it_is_due(database: Database) -> None:
    await arm_timer(database, "c1", n="7")
    timers = timers_of(database)
    clock_of(database).set(DUE - timedelta(microseconds=1))
    assert await timers.turn() == 0
    clock_of(database).set(DUE)
    assert (await timers.turn(), await timers.turn()) == (1, 0)
    assert [dict(r) for r in await database.read("SELECT key, what FROM seen")] == [{"key": "c1", "what": "7"}]
    assert await state(database) == ["done"]


async def test_timers_fire_in_the_order_they_are_due(database: Database) -> None:
    for n in (3, 1, 2):
        await arm_timer(database, f"c{n}", START + timedelta(minutes=n))
    clock_of(database).set(DUE)
    await timers_of(database).turn()
    assert await seen(database) == ["c1", "c2", "c3"]


async def test_arming_again_moves_the_timer(database: Database) -> None:
    await arm_timer(database, "c1", n="old")
    await arm_timer(database, "c1", DUE + timedelta(hours=1), n="new")
    timers = timers_of(database)
    clock_of(database).set(DUE)
    assert await timers.turn() == 0
    clock_of(database).set(DUE + timedelta(hours=1))
    assert await timers.turn() == 1
    assert [row["what"] for row in await database.read("SELECT what FROM seen")] == ["new"]


async def test_steps_of_a_kind_are_timers_of_their_own(database: Database) -> None:
    await arm_timer(database, "c1", step="1")
    await arm_timer(database, "c1", step="2")
    clock_of(database).set(DUE)
    assert await timers_of(database).turn() == 2


async def test_a_canceled_timer_never_fires(database: Database) -> None:
    await arm_timer(database, "c1")
    await arm_timer(database, "c2")

    async def cancel(tx: Tx) -> int:
        tx.set_timer(TimerSet("c1", "attempt", DUE, "2"))
        return await tx.cancel_timers("c1", "attempt")

    assert await database.transact(cancel) == 1
    clock_of(database).set(DUE)
    await timers_of(database).turn()
    assert await seen(database) == ["c2"]
    assert await state(database) == ["canceled", "done"]


async def test_the_lease_of_a_dead_node_is_claimed_by_another(database: Database) -> None:
    await arm_timer(database, "c1")
    clock_of(database).set(DUE)
    arm("timers.claimed=raise")
    with pytest.raises(FailpointHit):
        await timers_of(database).turn()
    other = timers_of(database)
    assert await other.turn() == 0
    await end_leases(database)
    assert await other.turn() == 1
    assert await seen(database) == ["c1"]


async def test_a_node_whose_lease_ended_fires_nothing(database: Database) -> None:
    await arm_timer(database, "c1")
    clock_of(database).set(DUE)
    zombie, other = timers_of(database), timers_of(database)
    fire = zombie._fire

    async def late(rows: object) -> None:
        await end_leases(database)
        assert await other.turn() == 1
        await fire(rows)  # type: ignore[arg-type]

    zombie._fire = late  # type: ignore[method-assign]
    await zombie.turn()
    assert await seen(database) == ["c1"]


async def test_a_timer_armed_again_while_it_is_claimed_fires_at_its_new_time(database: Database) -> None:
    await arm_timer(database, "c1", n="old")
    clock_of(database).set(DUE)
    timers = timers_of(database)
    fire = timers._fire

    async def moved(rows: object) -> None:
        await arm_timer(database, "c1", DUE + timedelta(days=1), n="new")
        await fire(rows)  # type: ignore[arg-type]

    timers._fire = moved  # type: ignore[method-assign]
    await timers.turn()
    assert await seen(database) == []
    assert await state(database) == ["pending"]


async def test_a_timer_that_keeps_failing_is_set_aside_and_stops_no_other(database: Database) -> None:
    await arm_timer(database, "bad")
    await arm_timer(database, "good")
    clock_of(database).set(DUE)
    timers = timers_of(database, Handler(bad="bad"))
    for _ in range(TRIES_MAX):
        assert await timers.turn() >= 1
        await end_leases(database)
    assert await timers.turn() == 0
    assert await seen(database) == ["good"]
    (row,) = await database.read("SELECT state, error, tries FROM timers WHERE case_id = 'bad'")
    assert (row["state"], row["tries"]) == ("failed", TRIES_MAX)
    assert "cannot be fired" in row["error"]


async def test_two_nodes_fire_each_timer_once(database: Database) -> None:
    for n in range(250):
        await arm_timer(database, f"c{n}", START + timedelta(seconds=n))
    clock_of(database).set(DUE)
    async with running(timers_of(database), timers_of(database)):

        async def all_seen() -> bool:
            return len(await seen(database)) >= 250

        await wait_until(all_seen)
    assert Counter(await seen(database)) == Counter(f"c{n}" for n in range(250))


async def test_a_virtual_clock_is_followed_step_by_step(kit_dsn: str, tmp_path: Path) -> None:
    writer = ClockWriter(tmp_path / "clock", START)
    database = Database(kit_dsn, service="test", clock=FileClock(tmp_path / "clock"), ids=CountedIds())
    for day in range(1, 4):
        await arm_timer(database, f"c{day}", START + timedelta(days=day))
    try:
        async with running(timers_of(database)):
            for day in range(1, 4):
                writer.set(START + timedelta(days=day))

                async def stepped(day: int = day) -> bool:
                    return len(await seen(database)) == day

                await wait_until(stepped)
    finally:
        await database.close()


async def test_a_handler_may_arm_its_own_timer_again(database: Database) -> None:
    async def again(tx: Tx, fired: Fired) -> None:
        await tx.execute("INSERT INTO seen (key) VALUES (:k)", k=fired.case_id)
        tx.set_timer(TimerSet(fired.case_id, fired.kind, fired.due_at + timedelta(hours=1)))

    await arm_timer(database, "c1")
    timers = Timers(database, settings_of("test", "", ""), {"attempt": again})
    for hours in range(3):
        clock_of(database).set(DUE + timedelta(hours=hours))
        assert await timers.turn() == 1
    assert await seen(database) == ["c1"] * 3
    assert await state(database) == ["pending"]
    await asyncio.gather(timers.turn(), timers.turn())
    assert await seen(database) == ["c1"] * 3
