"""The rule gate: may this charge be sent, and if not, when.

Pure and deterministic: equal questions and data give equal verdicts, whatever the order, the duplicates or the time
zones of the history. Every attempt of anybody counts. Asked when a plan is made and again when a charge is sent.
Asking changes no later answer; a gate's history grows by `add` alone.

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
from dunwell_retry.rules.findings import Asked, refusal
from dunwell_retry.rules.model import NO_CAPS, Attempt, PastAttempt, Verdict
from dunwell_retry.rules.past import Account, account_of, check_attempt, check_instant, check_past, tidy
from dunwell_retry.rules.rulebook import RuleData, default
from dunwell_retry.rules.values import maker

Family = Callable[[Asked], None]

_CARD_NETWORKS: dict[str, tuple[Family, ...]] = {
    "visa": (cards_visa.visa,),
    "mastercard": (cards_mastercard.mastercard,),
}
_OTHER_CARDS: tuple[Family, ...] = (cards_other.other_cards, cards_other.brazil)
_KINDS: dict[str, tuple[Family, ...]] = {"bank_debit": (bank_debit.bank_debit,), "upi": (upi.upi,)}
_verdict = maker(Verdict)
# Each step moves at least to the end of another rule's wait; real cases need one or two.
_STEPS_MAX = 16


class Gate:
    """The gate over one history; made once where many attempts of one case are asked about."""

    __slots__ = ("_accounts", "_approved", "_checked", "_data", "_entries", "_families", "_paid", "_paper")

    def __init__(self, history: Sequence[PastAttempt], data: RuleData | None = None) -> None:
        self._data = data or default()
        self._begin(history)

    def _begin(self, history: Sequence[PastAttempt]) -> None:
        self._entries = tidy(history)
        self._approved = [entry for entry in self._entries if entry.approved]
        self._paid = {entry.invoice_id for entry in self._approved}
        # One or two, so that a look along the list is faster than hashing an instrument.
        self._accounts: list[Account] = []
        # The attempt that was asked about last, mostly the only one: it is checked, these rules judge it, and they
        # write on this paper, which is used again for every instant that is asked about.
        self._checked: Attempt | None = None
        self._families: tuple[Family, ...] = ()
        self._paper: Asked | None = None

    def after(self, past: PastAttempt) -> Gate:
        """Return the gate over the history and one more attempt; a later one costs no second look at all the others."""
        following = Gate.__new__(Gate)
        following._entries, following._data = self._entries[:], self._data
        following._approved, following._paid = self._approved[:], self._paid.copy()
        following._accounts = [account.copy() for account in self._accounts]
        # The paper shows an account of the shorter history.
        following._checked, following._families, following._paper = self._checked, self._families, None
        following.add(past)
        return following

    def add(self, past: PastAttempt) -> None:
        """Take in one more attempt: `after` in place, for a replay that never needs the shorter history again."""
        check_past(past, len(self._entries))
        if self._entries and past.at <= self._entries[-1].at:
            self._begin((*self._entries, past))
            return
        self._entries.append(past)
        if past.approved:
            self._approved.append(past)
            self._paid.add(past.invoice_id)
        for account in self._accounts:
            account.add(past)

    def allow(self, attempt: Attempt) -> Verdict:
        """Return the verdict on an attempt; RuleInputInvalid naming the field that cannot be judged."""
        return self.allow_at(attempt, attempt.at)

    def allow_at(self, attempt: Attempt, at: datetime) -> Verdict:
        """Return the verdict on an attempt as if it were sent at another instant, aware; errors as of `allow`.

        A planner asks about one charge at a hundred instants: it need not be made and checked anew for each.
        """
        if attempt is not self._checked:
            check_attempt(attempt)
            self._families, self._paper = _families(attempt), None
            self._checked = attempt
        if at.tzinfo is not UTC:
            check_instant(at, "attempt.at")
            at = at.astimezone(UTC)
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
        """Return the verdict at an instant. A rule of no network is left out where it has nothing to look at."""
        asked = self._paper
        if asked is None:
            asked = self._paper = Asked(attempt, self._data, self._entries, self._account(attempt), self._approved, at)
        asked.turn(at)
        account = asked.account
        if attempt.blocks:
            general.blocks(asked)
        if attempt.invoice_id in self._paid:
            general.invoice(asked)
        for family in self._families:
            family(asked)
        if account.hard:
            general.hard_declines(asked)
        if account.unknown:
            general.unknown_codes(asked)
        if attempt.high_cost_loan:
            general.high_cost_loans(asked)
        if attempt.caps is not NO_CAPS:
            general.tenant_caps(asked)
        if asked.findings:
            return refusal(asked)
        rule, reason, sources = asked.passed
        return _verdict(True, rule, reason, None, asked.fee, asked.counters, sources)

    def _account(self, attempt: Attempt) -> Account:
        """Return the attempt's account, which is made when it is first asked about."""
        instrument, gateway = attempt.instrument, attempt.gateway
        for account in self._accounts:
            if (account.instrument is instrument or account.instrument == instrument) and account.gateway == gateway:
                return account
        made = account_of(self._entries, instrument, gateway)
        self._accounts.append(made)
        return made


def _families(attempt: Attempt) -> tuple[Family, ...]:
    instrument = attempt.instrument
    if instrument.kind in _KINDS:
        return _KINDS[instrument.kind]
    # A wallet is judged by the card network behind it.
    families = _CARD_NETWORKS.get(instrument.network, _OTHER_CARDS)
    return (*families, cards_other.india) if instrument.country == "IN" else families


def allow(attempt: Attempt, history: Sequence[PastAttempt], *, data: RuleData | None = None) -> Verdict:
    """Return whether an attempt may be sent at `attempt.at`, after all that was sent before.

    Raises:
        RuleInputInvalid: A field cannot be judged: no positive amount, no such currency, no time zone.
    """
    return Gate(history, data).allow(attempt)
