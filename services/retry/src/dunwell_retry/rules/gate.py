"""The rule gate: may this charge be sent, and if not, when.

Pure and deterministic: equal questions and data give equal verdicts, whatever the order, the duplicates or the time
zones of the history. Every attempt of anybody counts. Asked when a plan is made and again when a charge is sent.

`not_before` is the earliest instant at which the same attempt passes every rule as far as the history goes; None when
it passes now, or never will. More refusals never open a closed gate, with one exception: a larger refused amount of
the same invoice shows that more of it is due than was paid (`invoice.already_paid`).

Owns: the order in which rules are asked. Refuses: the rules themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from dunwell_retry.rules import bank_debit, cards_mastercard, cards_other, cards_visa, general, upi
from dunwell_retry.rules.findings import Asked, verdict
from dunwell_retry.rules.model import Attempt, Instrument, PastAttempt, Verdict
from dunwell_retry.rules.past import Account, account_of, check_attempt, check_past, followed, tidy
from dunwell_retry.rules.rulebook import RuleData, default

Family = Callable[[Asked], None]

_CARD_NETWORKS: dict[str, tuple[Family, ...]] = {
    "visa": (cards_visa.visa, cards_other.india),
    "mastercard": (cards_mastercard.mastercard, cards_other.india),
}
_OTHER_CARDS: tuple[Family, ...] = (cards_other.other_cards, cards_other.brazil, cards_other.india)
_KINDS: dict[str, tuple[Family, ...]] = {"bank_debit": (bank_debit.bank_debit,), "upi": (upi.upi,)}
_BEFORE: tuple[Family, ...] = (general.blocks, general.invoice)
_AFTER: tuple[Family, ...] = (general.unknown_codes, general.high_cost_loans, general.tenant_caps)
# Each step moves at least to the end of another rule's wait; real cases need one or two.
_STEPS_MAX = 16


class Gate:
    """The gate over one history; made once where many attempts of one case are asked about."""

    def __init__(self, history: Sequence[PastAttempt], data: RuleData | None = None) -> None:
        self._entries = tidy(history)
        self._approved = tuple(entry for entry in self._entries if entry.approved)
        self._data = data or default()
        self._accounts: dict[tuple[Instrument, str], Account] = {}

    def after(self, past: PastAttempt) -> Gate:
        """Return the gate over the history and one more attempt; a later one costs no second look at all the others."""
        check_past(past, len(self._entries))
        if self._entries and past.at <= self._entries[-1].at:
            return Gate((*self._entries, past), self._data)
        following = Gate.__new__(Gate)
        following._entries, following._data = (*self._entries, past), self._data
        following._approved = (*self._approved, past) if past.approved else self._approved
        following._accounts = {key: followed(account, past, *key) for key, account in self._accounts.items()}
        return following

    def allow(self, attempt: Attempt) -> Verdict:
        """Return the verdict on an attempt; RuleInputInvalid naming the field that cannot be judged."""
        check_attempt(attempt)
        at = attempt.at.astimezone(UTC)
        now = self._at(attempt, at)
        if now.permit or now.not_before is None:
            return now
        return self._with_first_permitted(attempt, now)

    def _with_first_permitted(self, attempt: Attempt, now: Verdict) -> Verdict:
        then = now.not_before
        for _ in range(_STEPS_MAX):
            if then is None:
                break
            later = self._at(attempt, then.astimezone(UTC))
            if later.permit:
                break
            then = later.not_before
            if then is None:
                # It waits for one rule and then meets one that never opens.
                return replace(later, fee_if_sent=now.fee_if_sent or later.fee_if_sent, counters=now.counters)
        utc = then.astimezone(UTC) if then else None
        return replace(now, not_before=utc) if utc != now.not_before else now

    def _at(self, attempt: Attempt, at: datetime) -> Verdict:
        asked = Asked(attempt, at, at.date(), self._data, self._entries, self._account(attempt), self._approved)
        for family in _BEFORE:
            family(asked)
        for family in _families(attempt):
            family(asked)
        general.hard_declines(asked)
        for family in _AFTER:
            family(asked)
        return verdict(asked)

    def _account(self, attempt: Attempt) -> Account:
        key = (attempt.instrument, attempt.gateway)
        found = self._accounts.get(key)
        if found is None:
            found = self._accounts[key] = account_of(self._entries, attempt.instrument, attempt.gateway)
        return found


def _families(attempt: Attempt) -> tuple[Family, ...]:
    kind, network = attempt.instrument.kind, attempt.instrument.network
    if kind in _KINDS:
        return _KINDS[kind]
    # A wallet is judged by the card network behind it.
    return _CARD_NETWORKS.get(network, _OTHER_CARDS)


def allow(attempt: Attempt, history: Sequence[PastAttempt], *, data: RuleData | None = None) -> Verdict:
    """Return whether an attempt may be sent at `attempt.at`, after all that was sent before.

    Raises:
        RuleInputInvalid: A field cannot be judged: no positive amount, no such currency, no time zone.
    """
    return Gate(history, data).allow(attempt)
