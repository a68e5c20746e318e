"""A world of another make: rent days, irregular income, second methods, bank debit.

Owns: a population whose functional forms differ from the base world's in every place: income in pulses of any size,
fixed days on which money leaves, approval that rises smoothly with money, refusals that pile up with pressure, and
payers who can be charged on a second method. No planner is tuned on it: it shows what a policy does where its
assumptions are wrong. It has no oracle and no messages that work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np

from dunwell_worlds import zones
from dunwell_worlds.hashing import generator, key, uniform
from dunwell_worlds.instants import second_of
from dunwell_worlds.paydays import EPOCH
from dunwell_worlds.protocol import AttemptResult, Decline, FailedInvoice, Instrument, PastPayment, PayerAction

_DAY, _HOUR = 86400, 3600
_PAST_DAYS, _AHEAD_DAYS = 360, 32
_START = date(2025, 9, 1)
_PLACES = (("DE", "Europe/Berlin", "EUR"), ("GB", "Europe/London", "GBP"), ("FR", "Europe/Paris", "EUR"),
           ("US", "America/Chicago", "USD"), ("PL", "Europe/Warsaw", "EUR"))  # fmt: skip
_DEBIT_NETWORK = {"EUR": ("sepa", "AM04"), "GBP": ("bacs", "0"), "USD": ("ach", "R01")}
# Adyen refusal codes. Source: docs.adyen.com/development-resources/refusal-reasons.
_CARD_CODES = {"money": ("12", "51"), "pressure": ("2", "05"), "gone": ("8", "14"), "ended": ("6", "54"),
               "down": ("9", "91"), "policy": ("10", "57")}  # fmt: skip
_DEBIT_GONE = {"sepa": "AC04", "bacs": "B", "ach": "R02"}
_OBSTACLES, _OBSTACLE_SHARE = ("none", "gone", "ended", "policy", "down"), (0.78, 0.07, 0.07, 0.04, 0.04)
_DOWN_HOURS = 30


@dataclass(slots=True)
class _Household:
    """One payer: money by day over a year back and a month ahead, in invoices."""

    first_day: int
    money: np.ndarray
    pay_hour: int
    obstacle: str
    temper: float
    peak_hour: int
    due: int
    zone: str
    country: str
    currency: str
    methods: tuple[str, ...]
    tried: list[int] = field(default_factory=list)
    done: bool = False


class ForeignWorld:
    """Failed invoices of households whose money comes irregularly and leaves on the first."""

    name = "foreign"
    horizon = timedelta(days=30)

    def __init__(self, seed: int, invoices: int) -> None:
        if invoices < 0:
            raise ValueError(f"a world needs 0 or more invoices, not {invoices}")
        self.seed, self._count = seed, invoices
        self._luck, self._hide = key(seed, "foreign luck"), key(seed, "foreign code")
        self._homes: dict[int, _Household] = {}
        self._last: dict[int, int] = {}

    def failures(self) -> Sequence[FailedInvoice]:
        """Return every failed invoice."""
        return [self._invoice(index) for index in range(self._count)]

    def _home(self, index: int) -> _Household:
        home = self._homes.get(index)
        if home is None:
            home = self._homes[index] = self._draw(index)
        return home

    def _draw(self, index: int) -> _Household:
        rng = generator(self.seed * 1_000_003 + index, "household")
        country, zone, currency = _PLACES[int(rng.integers(len(_PLACES)))]
        obstacle = _OBSTACLES[int(rng.choice(len(_OBSTACLES), p=_OBSTACLE_SHARE))]
        second = rng.random() < 0.35
        first = "debit" if rng.random() < 0.3 and obstacle != "ended" else "card"
        methods = (first, "card" if first == "debit" else "debit") if second else (first,)
        first_day = (_START - EPOCH).days + int(rng.integers(0, 270)) - _PAST_DAYS
        money = _money(rng, first_day)
        temper = float(rng.uniform(0.05, 0.9))
        day = _PAST_DAYS
        # The bill came on a day without enough money, or against another obstacle.
        if obstacle == "none":
            for _ in range(40):
                if money[day] < 1 or temper < 0.25:
                    break
                money = _money(rng, first_day)
                temper = float(rng.uniform(0.05, 0.6))
        local = (first_day + day) * _DAY + int(rng.integers(0, 24)) * _HOUR
        due = int(zones.utc_seconds(zone, np.array([local]))[0])
        return _Household(
            first_day, money, int(rng.integers(5, 13)), obstacle, temper, int(rng.integers(8, 22)), due, zone,
            country, currency, methods,
        )  # fmt: skip

    def _invoice(self, index: int) -> FailedInvoice:
        home = self._home(index)
        instruments = tuple(self._instrument(index, home, method) for method in home.methods)
        failed = home.due + 300
        amount = 500 + int(uniform(self._hide, index, 7) ** 3 * 40_000)
        cause = self._cause(index, home, failed)
        return FailedInvoice(
            f"inv-{index}", f"home-{index}", "ten_foreign", amount, home.currency, home.zone,
            datetime.fromtimestamp(home.due, UTC), datetime.fromtimestamp(failed, UTC), "adyen", ("adyen",),
            instruments, self._decline(index, home, instruments[0].kind, cause, 1), self._past(index, home, amount),
        )  # fmt: skip

    def _instrument(self, index: int, home: _Household, method: str) -> Instrument:
        if method == "debit":
            network = _DEBIT_NETWORK[home.currency][0]
            return Instrument(
                f"mandate-{index}", "bank_debit", network, "none", f"bank-{index % 17}", home.country, None
            )
        network = "mastercard" if index % 3 else "visa"
        return Instrument(f"card-{index}", "card", network, "debit", f"bank-{index % 17}", home.country, (2029, 6))

    def _past(self, index: int, home: _Household, amount: int) -> tuple[PastPayment, ...]:
        """Return a year of weekly, fortnightly or monthly charges against the same household's money."""
        span = (7, 14, 30)[index % 3]
        rows = []
        for days in range(span * (_PAST_DAYS // span - 1), 0, -span):
            at = home.due - days * _DAY
            approved = uniform(self._luck, index, 1_000_000 + days) < self._by_money(home, at, "card")
            decline = None if approved else self._decline(index, home, "card", "money", days)
            rows.append(PastPayment(datetime.fromtimestamp(at, UTC), amount, approved, decline))
        return tuple(rows)

    def _by_money(self, home: _Household, second: int, method: str) -> float:
        local = second + zones.offset_seconds(home.zone, second)
        day, hour = local // _DAY - home.first_day, local % _DAY // _HOUR
        # Before the hour at which the bank books, yesterday's money counts; a debit is drawn two days later.
        at = min(len(home.money) - 1, max(0, day - (hour < home.pay_hour) + (2 if method == "debit" else 0)))
        return 1 / (1 + math.exp(-(float(home.money[at]) - 1) / 0.12))

    def _cause(self, index: int, home: _Household, second: int) -> str:
        if home.obstacle != "none":
            return home.obstacle
        short = 1 - self._by_money(home, second, home.methods[0])
        return "money" if uniform(self._hide, index, second // _HOUR) < max(0.15, short) else "pressure"

    def _chance(self, home: _Household, second: int, method: str) -> float:
        if method == home.methods[0]:
            if home.obstacle in ("gone", "ended", "policy"):
                return 0.0
            if home.obstacle == "down" and second < home.due + _DOWN_HOURS * _HOUR:
                return 0.05
        chance = self._by_money(home, second, method)
        if method == "card":
            hour = (second + zones.offset_seconds(home.zone, second)) % _DAY / _HOUR
            swing = 0.15 * math.cos((hour - home.peak_hour) / 24 * 2 * math.pi)
            lately = sum(1 for at in home.tried if second - at < 3 * _DAY)
            chance *= 1 / (1 + math.exp(-(-0.6 + 2 * home.temper + swing - 0.9 * lately)))
        return chance

    def _decline(self, index: int, home: _Household, kind: str, cause: str, counter: int) -> Decline:
        if kind == "bank_debit":
            network, short = _DEBIT_NETWORK[home.currency]
            return Decline(None, short if cause in ("money", "pressure", "down") else _DEBIT_GONE[network], None, None)
        if cause == "money" and uniform(self._hide, index, counter) < 0.4:
            cause = "pressure"  # this bank says as little as it can
        gateway, network_code = _CARD_CODES[cause]
        return Decline(gateway, network_code, None, None)

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        """Charge once; ValueError on anything unknown, naive or out of order."""
        index = self._index(invoice_id)
        home = self._home(index)
        kinds = {"card": f"card-{index}", "debit": f"mandate-{index}"}
        method = next((name for name in home.methods if kinds[name] == instrument_id), None)
        if method is None or route != "adyen" or initiator not in ("merchant", "payer"):
            raise ValueError(f"invoice {invoice_id!r}: unknown {instrument_id!r}, {route!r} or {initiator!r}")
        second = self._ordered(index, at)
        cost = 30 if method == "debit" else 8
        if home.done:
            return AttemptResult(False, Decline("duplicate", "94", None, None), cost)
        chance = self._chance(home, second, method)
        home.tried.append(second)
        if uniform(self._luck, index, second // _HOUR) < chance:
            home.done = True
            return AttemptResult(True, None, cost)
        cause = self._cause(index, home, second) if method == home.methods[0] else "money"
        kind = "bank_debit" if method == "debit" else "card"
        penalty = 300 if method == "debit" else 0  # a returned debit costs about three dollars
        return AttemptResult(False, self._decline(index, home, kind, cause, second // _HOUR), cost + penalty)

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Accept a message that changes nothing."""
        self._ordered(self._index(invoice_id), at)

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return nothing: these payers wait."""
        self._index(invoice_id)
        return ()

    def hidden_reason(self, invoice_id: str) -> str:
        """Return the obstacle; `none` means money or the bank's temper."""
        return self._home(self._index(invoice_id)).obstacle

    def _index(self, invoice_id: str) -> int:
        tail = invoice_id.removeprefix("inv-")
        if not tail.isdecimal() or int(tail) >= self._count:
            raise ValueError(f"this world has no invoice {invoice_id!r}")
        return int(tail)

    def _ordered(self, index: int, at: datetime) -> int:
        second = second_of(at)
        if second < self._last.get(index, second):
            raise ValueError("calls about one invoice come in time order")
        self._last[index] = second
        return second


def _money(rng: np.random.Generator, first_day: int) -> np.ndarray:
    """Walk one household's balance: a wage or benefit on a fixed day, gigs at any time, rent on the first."""
    days = _PAST_DAYS + _AHEAD_DAYS
    steady = rng.random() < 0.6
    wage_day, wage = int(rng.integers(1, 29)), float(rng.uniform(0.8, 4))
    gigs = rng.random(days) < (0.03 if steady else 0.16)
    sizes = rng.gamma(1.5, 0.6, days)
    spending = rng.gamma(2.0, (wage if steady else 1.8) / 34, days)
    rent = float(rng.uniform(0.2, 0.5))
    balance, out = float(rng.uniform(0, 2)), np.empty(days)
    months = np.arange(first_day, first_day + days).astype("datetime64[D]")
    of_month = (months - months.astype("datetime64[M]")).astype(np.int64) + 1
    for day in range(days):
        if steady and of_month[day] == wage_day:
            balance += wage
        if gigs[day]:
            balance += float(sizes[day])
        if of_month[day] == 1:
            balance *= 1 - rent
        balance = max(0.0, balance - float(spending[day]) * (0.4 + 0.6 * min(1.0, balance)))
        out[day] = balance
    return out


def make(seed: int, invoices: int) -> ForeignWorld:
    """Return the foreign world."""
    return ForeignWorld(seed, invoices)
