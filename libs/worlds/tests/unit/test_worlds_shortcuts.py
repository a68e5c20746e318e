"""What a world works out in a quicker way is what the plain way gives."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dunwell_worlds import paydays, zones
from dunwell_worlds.fees import ChargeLog
from dunwell_worlds.hashing import drawn, key, stirred, uniform


def test_a_draw_in_two_steps_is_the_draw_in_one() -> None:
    for number in range(200):
        concern, subject, counter = key(number, "test"), number * 7919, number * 104_729 % 500_000
        assert drawn(concern, stirred(subject, counter)) == uniform(concern, subject, counter)
        assert drawn(concern, stirred(subject)) == uniform(concern, subject)


@pytest.mark.parametrize(
    "name",
    ["America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "Asia/Gaza", "Europe/Dublin"],
)
def test_an_offset_is_that_of_the_wall_clock(name: str) -> None:
    where, start = ZoneInfo(name), datetime(2019, 1, 1, tzinfo=UTC)
    # Every eleven hours of seven years; Casablanca's summer is interrupted for five weeks of each.
    for number in range(0, 7 * 366 * 24, 11):
        at = start + timedelta(hours=number)
        offset = at.astimezone(where).utcoffset()
        assert offset is not None
        assert zones.offset_seconds(name, int(at.timestamp())) == offset.total_seconds(), at


def test_pay_days_of_the_month_are_those_of_the_calendar() -> None:
    table, _, cycles = paydays.variants("real")
    rows = [row for row, cycle in zip(table, cycles, strict=True) if cycle == 2]
    for row, wanted in zip(rows, ((15, 0), (1, 15)), strict=True):
        for day in range(paydays.FIRST_DAY + 40, paydays.LAST_DAY, 17):
            on = paydays.EPOCH + timedelta(days=day)
            while not (on.day in wanted or (0 in wanted and on.day == monthrange(on.year, on.month)[1])):
                on -= timedelta(days=1)
            assert row[day - paydays.FIRST_DAY] == (on - paydays.EPOCH).days


@pytest.mark.parametrize(("network", "free", "fee"), [("visa", 20, 10), ("mastercard", 9, 50), ("amex", 60, 0)])
def test_excess_costs_from_the_charge_on_that_exceeds(network: str, free: int, fee: int) -> None:
    log = ChargeLog("05", None, 0)
    costs = [log.sent(60 * number, network, "05", None) for number in range(1, 61)]
    # The first refusal counts as well.
    assert costs == [6] * min(free, 60) + [6 + fee] * max(0, 60 - free)
    assert log.sent(31 * 86400 + 3600, network, "05", None) == 6
