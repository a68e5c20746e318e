"""What a world works out in a quicker way is what the plain way gives."""

from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from dunwell_worlds import paydays, zones
from dunwell_worlds.answers import Answers
from dunwell_worlds.base import make
from dunwell_worlds.fees import ChargeLog
from dunwell_worlds.hashing import drawn, key, mixed, mixed_all, stirred, uniform, uniforms
from dunwell_worlds.invoices import WorldBroken, check_invoice
from dunwell_worlds.payers import Payer
from dunwell_worlds.payments import Columns, Payments
from dunwell_worlds.protocol import AttemptResult, Decline, PastPayment


def test_a_draw_in_two_steps_is_the_draw_in_one() -> None:
    for number in range(200):
        concern, subject, counter = key(number, "test"), number * 7919, number * 104_729 % 500_000
        assert drawn(concern, stirred(subject, counter)) == uniform(concern, subject, counter)
        assert drawn(concern, stirred(subject)) == uniform(concern, subject)


def test_draws_for_all_subjects_at_once_are_those_for_each() -> None:
    for number in range(20):
        concern = key(number, "test")
        assert uniforms(concern, 3000) == [uniform(concern, subject) for subject in range(3000)]
        subjects = np.arange(500, dtype=np.uint64)
        assert mixed_all(np.uint64(concern) ^ subjects).tolist() == [mixed(concern ^ each) for each in range(500)]
    assert uniforms(key(1, "test"), 0) == []


FUNDS = Decline("insufficient_funds", "51", None, None)
INVOICE = make(1, 1).failures()[0]
LAST = int(INVOICE.failed_at.timestamp()) - 5000


def rows(seconds: list[int], told: list[int], amount_minor: int = 900) -> tuple[PastPayment, ...]:
    return tuple(
        PastPayment(datetime.fromtimestamp(at, UTC), amount_minor, code == 1, (FUNDS, None)[code])
        for at, code in zip(seconds, told, strict=True)
    )


def in_columns(seconds: list[int], told: list[int], amount_minor: int = 900) -> Payments:
    """Return the same rows as those of the second of three payers."""
    others = [LAST - 700, LAST - 600]
    bounds = np.array([0, 2, 2 + len(seconds), 4 + len(seconds)])
    columns = Columns(bounds, np.array([*others, *seconds, *others]), np.array([0, 1, *told, 1, 1]), (FUNDS, None))
    return Payments(columns, 1, amount_minor)


def test_payments_in_columns_are_the_rows_they_stand_for() -> None:
    seconds, told = [LAST - 4000, LAST - 300, LAST], [1, 0, 1]
    payments, plain = in_columns(seconds, told), rows(seconds, told)
    assert payments == plain
    assert payments == in_columns(seconds, told)
    assert payments != plain[1:]
    assert payments != "none"
    assert (tuple(payments), len(payments), hash(payments), repr(payments)) == (plain, 3, hash(plain), repr(plain))
    assert (payments[-1], payments[:2], payments[::-1]) == (plain[-1], plain[:2], plain[::-1])
    for moved in (-1, 0, 1):
        for half in (0, 500):
            at = plain[1].at + timedelta(seconds=moved, milliseconds=half)
            later = [(row.at, row.amount_minor, row.approved, row.decline) for row in plain if row.at > at]
            assert payments.after(at) == later


@pytest.mark.parametrize(
    ("seconds", "told", "amount_minor", "text"),
    [
        ([LAST, LAST - 1], [1, 1], 900, "history is not in time order"),
        ([LAST, LAST], [1, 1], 900, "twice"),
        ([LAST], [1], 0, "amount_minor must be an int > 0"),
        ([LAST], [1], True, "amount_minor must be an int > 0"),
        ([LAST], [2], 900, "must be a Decline, not str"),
        ([-5], [1], 900, "history must lie in the years"),
        ([LAST + 9000], [1], 900, "history reaches past failed_at"),
    ],
)
def test_a_past_in_columns_is_held_to_what_rows_are_held_to(
    seconds: list[int], told: list[int], amount_minor: int, text: str
) -> None:
    payments = in_columns(seconds, told, amount_minor)
    payments.columns.declines = (FUNDS, None, "51")  # type: ignore[assignment]
    with pytest.raises(WorldBroken, match=text):
        check_invoice(replace(INVOICE, history=payments))


def test_a_past_in_columns_may_hold_two_unlike_payments_of_one_instant() -> None:
    assert check_invoice(replace(INVOICE, history=in_columns([LAST, LAST], [0, 1])))
    assert check_invoice(replace(INVOICE, history=in_columns([], [])))


def test_pasts_are_in_order_or_not_for_each_payer_of_the_columns() -> None:
    chance = np.random.default_rng(7)
    for _ in range(300):
        sizes = chance.integers(0, 4, 6)
        bounds = np.concatenate(([0], np.cumsum(sizes)))
        seconds = LAST - chance.integers(0, 4, bounds[-1])
        columns = Columns(bounds, seconds, np.ones_like(seconds), (FUNDS, None))
        for payer in range(6):
            mine = seconds[bounds[payer] : bounds[payer + 1]].tolist()
            orderly = Payments(columns, payer, 900).orderly(INVOICE.failed_at)
            assert orderly == (mine == sorted(set(mine)))


def test_an_answer_is_made_once() -> None:
    answers = Answers()
    refused, approved = answers.of(FUNDS, 6), answers.of(None, 6)
    assert (refused, approved) == (AttemptResult(False, FUNDS, 6), AttemptResult(True, None, 6))
    assert answers.of(Decline(*FUNDS.__dict__.values()), 6) is refused
    assert answers.of(FUNDS, 8) == AttemptResult(False, FUNDS, 8)


def test_a_payer_feels_on_the_first_message_what_was_refused_before() -> None:
    felt = 0
    for subject in range(200):
        payer = Payer("nsf", 1.0, 0, 0, 7, subject)
        payer.saw_earlier(3)
        assert payer.irritation in (0.0, 0.2 + 0.2 + 0.2)
        felt += payer.irritation > 0
    # Three payers in ten are told of each refusal by their bank.
    assert 40 <= felt <= 80


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
