from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_kit.clock import ClockWriter, FileClock, ManualClock, SystemClock, clock_from_environment, monotonic

START = datetime(2026, 3, 1, 9, 30, 15, 123456, tzinfo=UTC)


def test_a_reader_sees_each_instant_the_driver_writes(tmp_path: Path) -> None:
    writer = ClockWriter(tmp_path / "clock", START)
    reader = FileClock(tmp_path / "clock")
    assert reader.now() == START
    writer.set(START + timedelta(days=60, microseconds=1))
    assert reader.now() == writer.now() == START + timedelta(days=60, microseconds=1)
    assert reader.now().tzinfo is UTC


def test_the_virtual_clock_never_goes_back(tmp_path: Path) -> None:
    writer = ClockWriter(tmp_path / "clock", START)
    with pytest.raises(ValueError, match="cannot go back"):
        writer.set(START - timedelta(microseconds=1))
    assert FileClock(tmp_path / "clock").now() == START


def test_another_zone_is_the_same_instant(tmp_path: Path) -> None:
    away = START.astimezone(timezone(timedelta(hours=9)))
    ClockWriter(tmp_path / "clock", away)
    assert FileClock(tmp_path / "clock").now() == START


@settings(max_examples=30)
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_survives_the_file(tmp_path_factory: pytest.TempPathFactory, at: datetime) -> None:
    path = tmp_path_factory.mktemp("clock") / "clock"
    ClockWriter(path, at)
    assert FileClock(path).now() == at


def test_the_environment_chooses_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUNWELL_CLOCK_FILE", raising=False)
    assert isinstance(clock_from_environment(), SystemClock)
    ClockWriter(tmp_path / "clock", START)
    monkeypatch.setenv("DUNWELL_CLOCK_FILE", str(tmp_path / "clock"))
    assert clock_from_environment().now() == START
    assert clock_from_environment().virtual


def test_the_machines_clock_is_aware_and_a_manual_one_moves_by_hand() -> None:
    assert SystemClock().now().tzinfo is UTC
    clock = ManualClock(START)
    clock.advance(timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=1)
    clock.set(START)
    assert clock.now() == START
    assert monotonic() <= monotonic()


def test_a_reader_keeps_the_last_instant_of_a_driver_that_is_gone(tmp_path: Path) -> None:
    writer = ClockWriter(tmp_path / "clock", START)
    reader = FileClock(tmp_path / "clock")
    writer.close()
    assert reader.now() == START
