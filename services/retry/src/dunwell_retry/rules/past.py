"""The history as the rules read it: sorted, without duplicates, seen from one account.

Owns: which past attempts concern an instrument, what their codes mean, and how many fall into a window.
Refuses: any rule.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from dunwell_gateways.declines import Classification, Row
from dunwell_kit.errors import Invalid
from dunwell_kit.money import EXPONENTS
from dunwell_retry.rules.meaning import meaning, since, until
from dunwell_retry.rules.model import Attempt, Initiator, Instrument, PastAttempt
from dunwell_retry.rules.rulebook import Rule
from dunwell_retry.rules.values import maker

_CARDS = frozenset(
    ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay", "maestro", "elo", "hipercard", "rupay")
)
_DEBITS = frozenset(("ach", "sepa", "bacs", "pad", "becs", "becs_nz", "autogiro"))
_UPI = frozenset(("upi",))
# What no instrument of a kind runs on: asked about one, the rules of the other would be silent. A network that is
# in no list is judged by the careful defaults.
_NOT_OF_KIND = {"card": _DEBITS | _UPI, "wallet": _DEBITS | _UPI, "bank_debit": _CARDS | _UPI, "upi": _CARDS | _DEBITS}


class RuleInputInvalid(Invalid):
    """The question to the gate cannot be answered; names the field."""

    slug = "rule-input-invalid"
    title = "Rule input invalid"

    def __init__(self, field_name: str, detail: str) -> None:
        super().__init__(f"{field_name}: {detail}")
        self.field_name = field_name


def check_attempt(attempt: Attempt) -> None:
    """Return when the attempt can be judged; RuleInputInvalid naming the field otherwise."""
    if type(attempt.amount_minor) is not int or attempt.amount_minor <= 0 or attempt.currency not in EXPONENTS:
        _check_money(attempt.amount_minor, attempt.currency, "attempt.")
    # An instant in UTC is right; only others are looked at.
    if attempt.at.tzinfo is not UTC:
        check_instant(attempt.at, "attempt.at")
    told, first = attempt.notified_at, attempt.first_presented_at
    if told is not None and told.tzinfo is not UTC:
        check_instant(told, "attempt.notified_at")
    if first is not None and first.tzinfo is not UTC:
        check_instant(first, "attempt.first_presented_at")
    instrument = attempt.instrument
    others = _NOT_OF_KIND.get(instrument.kind)
    if others is None:
        raise RuleInputInvalid("attempt.instrument.kind", f"{instrument.kind!r} is none of {sorted(_NOT_OF_KIND)}")
    if instrument.network in others:
        raise RuleInputInvalid(
            "attempt.instrument.network", f"{instrument.network!r} is no network of a {instrument.kind!r}"
        )


def _check_money(amount_minor: int, currency: str, prefix: str) -> None:
    if type(amount_minor) is not int or amount_minor <= 0:
        raise RuleInputInvalid(f"{prefix}amount_minor", f"{amount_minor!r} is not a positive integer")
    if currency not in EXPONENTS:
        raise RuleInputInvalid(f"{prefix}currency", f"{currency!r} is not an ISO 4217 code")


def check_instant(at: datetime, name: str) -> None:
    """Return when an instant is aware; RuleInputInvalid naming the field otherwise."""
    if at.tzinfo is None or at.utcoffset() is None:
        raise RuleInputInvalid(name, "has no time zone")


def in_month(times: Sequence[datetime], at: datetime) -> int:
    """Return how many instants fall into the calendar month of another, by UTC however each is written."""
    month = at.astimezone(UTC)
    return sum(
        (each.year, each.month) == (month.year, month.month) for each in (time.astimezone(UTC) for time in times)
    )


def tidy(history: Sequence[PastAttempt]) -> list[PastAttempt]:
    """Return the history in a list of its own, oldest first, each attempt once; RuleInputInvalid naming the entry that cannot be."""
    before, strict = None, True
    for index, past in enumerate(history):
        check_past(past, index)
        strict = strict and (before is None or before < past.at)
        before = past.at
    if strict:
        # As it nearly always comes: in the order of time, and no two at once.
        return list(history)
    ordered = sorted(history, key=_instant_of)
    if all(one.at != two.at for one, two in pairwise(ordered)):
        return ordered
    # Equal attempts are equal whatever zone their instant is written in. Ties are broken by content, so that the
    # order of the input never shows.
    return sorted(dict.fromkeys(history), key=_order)


def check_past(past: PastAttempt, index: int) -> None:
    """Return when an entry of the history can be judged; RuleInputInvalid naming the field otherwise."""
    if type(past.amount_minor) is not int or past.amount_minor <= 0 or past.currency not in EXPONENTS:
        _check_money(past.amount_minor, past.currency, f"history[{index}].")
    if past.at.tzinfo is not UTC:
        check_instant(past.at, f"history[{index}].at")


def _instant_of(past: PastAttempt) -> datetime:
    return past.at


def _order(past: PastAttempt) -> tuple[object, ...]:
    """Return all that two attempts of one instant can differ by, so that no order of the input is left to show."""
    codes = f"{past.network_code}|{past.advice_code}|{past.gateway_code}|{past.message}"
    whose = past.initiator.value, past.origin.value, past.account_reference or ""
    return (past.at, past.invoice_id, past.amount_minor, past.approved, past.instrument_id, past.token or "", codes,
            past.currency, *whose)  # fmt: skip


def concerns(instrument: Instrument, past: PastAttempt) -> bool:
    """Return whether a past attempt used the same account: the account reference decides where both know it."""
    if instrument.account_reference and past.account_reference:
        return instrument.account_reference == past.account_reference
    if instrument.instrument_id == past.instrument_id:
        return True
    return bool(instrument.token) and instrument.token == past.token


@dataclass(slots=True)
class Refusal:
    """One refused attempt with what its codes mean on the UTC day it was refused; not changed once made.

    Args:
        until: Before this instant the same codes mean the same.
    """

    past: PastAttempt
    meaning: Classification
    until: datetime


_told = maker(Refusal)


@dataclass(slots=True)
class _Run:
    """Reattempts of one amount by one initiator; `begun` when the amount's original refusal is known."""

    times: list[datetime]
    begun: bool


@dataclass(slots=True)
class Account:
    """The history of one account (card, mandate) at one gateway; it grows by `add`, and only its gate holds it.

    Args:
        entries: All attempts, oldest first.
        refusals: Those refused since the last approval, oldest first.
        times: Their instants.
        declines: All refused ones, whatever was approved between.
        hard: Refusals since the last approval with the rows that forbid the credential.
        unknown: Refusals since the last approval whose codes nobody knows.
        visa_never: Category 1 refusals with their rule, as far as Visa's rules have looked.
        visa_seen: How many of the refusals they have looked at.
        advised: Refusals with a Mastercard advice that means something, its rule and until when it asks to wait;
            None where it does not speak of time. As far as Mastercard's rules have looked.
        advised_seen: How many of the refusals they have looked at.
    """

    instrument: Instrument
    gateway: str
    entries: list[PastAttempt]
    refusals: list[Refusal]
    times: list[datetime]
    declines: list[PastAttempt]
    hard: list[tuple[Refusal, Row]]
    unknown: list[PastAttempt]
    visa_never: list[tuple[Refusal, Rule]] = field(default_factory=list)
    visa_seen: int = 0
    advised: list[tuple[Refusal, Rule, datetime | None]] = field(default_factory=list)
    advised_seen: int = 0
    _runs: dict[tuple[int, str, Initiator], _Run] = field(default_factory=dict)
    _amounts: dict[tuple[int, str], list[datetime]] = field(default_factory=dict)
    _decline_times: list[datetime] | None = None

    def reattempts(self, amount_minor: int, currency: str, initiator: Initiator) -> Sequence[datetime]:
        """Return the instants of consecutive refused reattempts of one amount by one initiator.

        The run begins after the last approval of the same amount by the same initiator. The first refusal of the
        amount since anybody's last approval is the original, not a reattempt.
        """
        key = (amount_minor, currency, initiator)
        run = self._runs.get(key)
        if run is None:
            same = [each for each in self.entries if each.amount_minor == amount_minor and each.currency == currency]
            # Nothing was approved since: the first of them is a refusal.
            refused = _since_approval(same)
            original = refused[0] if refused else None
            mine = _since_approval([each for each in same if each.initiator is initiator])
            run = self._runs[key] = _Run([each.at for each in mine if each is not original], original is not None)
        return run.times

    def declines_of(self, amount_minor: int, currency: str) -> Sequence[datetime]:
        """Return the instants of all refusals of one amount, oldest first."""
        key = (amount_minor, currency)
        if key not in self._amounts:
            self._amounts[key] = [
                each.at for each in self.declines if each.amount_minor == amount_minor and each.currency == currency
            ]
        return self._amounts[key]

    def add(self, past: PastAttempt) -> None:
        """Take in one more attempt, later than all it holds."""
        if not concerns(self.instrument, past):
            return
        self.entries.append(past)
        if past.approved:
            self._begin_anew()
            return
        refusal = self._read(past)
        told = refusal.meaning
        self.refusals.append(refusal)
        self.times.append(past.at)
        self.declines.append(past)
        if told.hard:
            self.hard += [(refusal, row) for row in told.rows if row.hard]
        if not told.rows:
            self.unknown.append(past)
        self._count(past)

    def _read(self, past: PastAttempt) -> Refusal:
        """Return what a refusal means; mostly that is what the one before meant, in the same words."""
        if self.refusals:
            last = self.refusals[-1]
            said = last.past
            if (
                past.network_code == said.network_code
                and past.gateway_code == said.gateway_code
                and past.advice_code == said.advice_code
                and past.message == said.message
                and past.at < last.until
            ):
                return _told(past, last.meaning, last.until)
        return _refusal(past, self.gateway, self.instrument)

    def _begin_anew(self) -> None:
        """Forget what an approval ends; counts of all declines it does not."""
        if self.refusals:
            self.refusals, self.times, self.hard, self.unknown = [], [], [], []
            self.visa_never, self.visa_seen, self.advised, self.advised_seen = [], 0, [], 0
        if self._runs:
            self._runs = {}

    def _count(self, refused: PastAttempt) -> None:
        """Add a refusal to the counts that were asked for before."""
        amount, currency, at = refused.amount_minor, refused.currency, refused.at
        for key, run in self._runs.items():
            if key[0] == amount and key[1] == currency:
                # The first refusal of an amount is the original and no reattempt.
                if run.begun and key[2] is refused.initiator:
                    run.times.append(at)
                run.begun = True
        if self._amounts and (amount, currency) in self._amounts:
            self._amounts[amount, currency].append(at)
        if self._decline_times is not None:
            self._decline_times.append(at)

    def decline_times(self) -> Sequence[datetime]:
        """Return the instants of all refusals, oldest first."""
        if self._decline_times is None:
            self._decline_times = [each.at for each in self.declines]
        return self._decline_times

    def copy(self) -> Account:
        """Return an account that grows without this one."""
        return Account(
            self.instrument, self.gateway, self.entries[:], self.refusals[:], self.times[:], self.declines[:],
            self.hard[:], self.unknown[:], self.visa_never[:], self.visa_seen, self.advised[:], self.advised_seen,
            {key: _Run(run.times[:], run.begun) for key, run in self._runs.items()},
            {amount: times[:] for amount, times in self._amounts.items()},
            None if self._decline_times is None else self._decline_times[:],
        )  # fmt: skip


def _since_approval(entries: Sequence[PastAttempt]) -> list[PastAttempt]:
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].approved:
            return list(entries[index + 1 :])
    return list(entries)


def account_of(entries: Sequence[PastAttempt], instrument: Instrument, gateway: str) -> Account:
    """Return the part of a tidy history that concerns an instrument."""
    account = Account(instrument, gateway, [], [], [], [], [], [])
    for each in entries:
        account.add(each)
    return account


def _refusal(past: PastAttempt, gateway: str, instrument: Instrument) -> Refusal:
    on, network = (past.at if past.at.tzinfo is UTC else past.at.astimezone(UTC)).date(), instrument.network
    told = meaning(
        past.gateway_code, past.network_code, past.advice_code, past.message, gateway, network,
        since(on, gateway, network), instrument.country,
    )  # fmt: skip
    return _told(past, told, until(on, gateway, network))


def window(times: Sequence[datetime], at: datetime, span: timedelta, limit: int) -> tuple[int, datetime | None]:
    """Return how many instants lie in (at - span, at], and when fewer than `limit` are left, None while there is room.

    Args:
        times: Ascending.
    """
    # Mostly all of them lie in the past and in the window: two looks at the ends tell.
    upper = len(times)
    if upper and times[-1] > at:
        upper = bisect_right(times, at)
    count, begin = upper, at - span
    if upper and times[0] <= begin:
        count -= bisect_right(times, begin, 0, upper)
    if count < limit:
        return count, None
    return count, times[upper - limit] + span
