from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_kit.clock import ManualClock
from dunwell_kit.ids import CountedIds, RandomIds, derived, new_secret, spelled

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_an_id_is_a_uuid_of_version_7_that_holds_its_millisecond() -> None:
    made = RandomIds(ManualClock(START)).uuid()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == int(START.timestamp() * 1000)


def test_ids_sort_by_the_time_they_were_made() -> None:
    clock = ManualClock(START)
    ids = RandomIds(clock)
    made = []
    for _ in range(50):
        made.append(ids.new("rec"))
        clock.advance(timedelta(milliseconds=1))
    assert made == sorted(made)


def test_ids_of_one_millisecond_differ() -> None:
    ids = RandomIds(ManualClock(START))
    assert len({ids.uuid() for _ in range(1000)}) == 1000


@settings(max_examples=50)
@given(st.uuids(), st.uuids())
def test_spelling_keeps_the_order_of_uuids(one: UUID, other: UUID) -> None:
    assert (spelled("x", one) < spelled("x", other)) == (one < other)
    assert len(spelled("x", one)) == len("x_") + 26


def test_counted_ids_repeat_for_a_seed_and_only_for_it() -> None:
    first, again, other = CountedIds("a"), CountedIds("a"), CountedIds("b")
    row = [first.new("rec") for _ in range(5)]
    assert row == [again.new("rec") for _ in range(5)] == sorted(row)
    assert row[0] != other.new("rec")
    assert CountedIds("a").uuid().version == 7


def test_a_derived_id_depends_on_every_part() -> None:
    assert derived("jrn", "t1", "payment", 7) == derived("jrn", "t1", "payment", 7)
    assert derived("jrn", "t1", "payment", 7) != derived("jrn", "t1", "payment", 8)
    assert derived("jrn", "x").startswith("jrn_")


def test_secrets_differ_and_fit_a_url() -> None:
    assert new_secret() != new_secret()
    assert new_secret().replace("-", "").replace("_", "").isalnum()
