"""The rule gate as the planner meets it.

Owns: telling the gate about a case. Refuses: any rule of its own; a plan is only made of what the gate permits, and
the same question is asked again when a charge is about to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from dunwell_retry.planning.model import Case, Decline, Method, Sent
from dunwell_retry.rules import Gate
from dunwell_retry.rules.model import (
    NO_CAPS,
    Attempt,
    Block,
    Initiator,
    Instrument,
    Origin,
    PastAttempt,
    TenantCaps,
    Verdict,
    asked_at,
)
from dunwell_retry.rules.values import maker

# The longest window any card rule counts over is 30 days; older renewals cannot matter to it.
WINDOW = timedelta(days=31)


class Rules(Protocol):
    """The gate over one history, as `rules.Gate` is."""

    def allow(self, attempt: Attempt) -> Verdict:
        """Return the verdict on an attempt."""
        ...


# A payment before the failure: when it was sent, its amount, whether it was approved, what it was told.
Earlier = tuple[datetime, int, bool, Decline | None]
MakeRules = Callable[[Sequence[PastAttempt]], Rules]


def instrument(method: Method) -> Instrument:
    """Return the gate's view of a method."""
    return _instrument(
        method.instrument_id, method.kind, method.network, method.funding, method.country, method.account_reference,
        method.token,
    )  # fmt: skip


def _past(
    at: datetime, invoice_id: str, amount_minor: int, currency: str, method: Method, approved: bool,
    decline: Decline | None, initiator: Initiator = Initiator.MERCHANT, origin: Origin = Origin.US,
) -> PastAttempt:  # fmt: skip
    said = decline or _SILENT
    return _past_attempt(
        at, invoice_id, amount_minor, currency, initiator, method.instrument_id, approved, method.account_reference,
        method.token, origin, said.network_code, said.advice_code, said.gateway_code, said.message,
    )  # fmt: skip


_SILENT = Decline()
_past_attempt, _attempt, _instrument = maker(PastAttempt), maker(Attempt), maker(Instrument)
# Looked up in a third of the time that an enumeration's own call takes; that call names what is unknown.
_INITIATORS = {entry.value: entry for entry in Initiator}
_ORIGINS = {entry.value: entry for entry in Origin}


class _Subject:
    """What the gate is told about a case whatever has been sent: its methods, and the charges that could be asked for."""

    __slots__ = ("asked", "case", "methods")

    def __init__(self, case: Case) -> None:
        self.case = case
        self.methods = {method.instrument_id: method for method in case.methods}
        # By method and initiator: two charges that agree in both differ by their instant only.
        self.asked: dict[tuple[str, str], Attempt] = {}

    def attempt(self, at: datetime, instrument_id: str, initiator: str) -> Attempt:
        """Return a charge as a question to the gate, and keep it for the same question at other instants."""
        case = self.case
        self.asked[instrument_id, initiator] = made = _attempt(
            at=at,
            invoice_id=case.invoice_id,
            amount_minor=case.amount_minor,
            currency=case.currency,
            initiator=_INITIATORS.get(initiator) or Initiator(initiator),
            gateway=case.gateway,
            instrument=instrument(self.methods[instrument_id]),
            merchant_country=case.country,
            authorization=case.authorization,
            notified_at=case.notified_at,
            first_presented_at=case.first_presented_at or case.failed_at,
            high_cost_loan=case.high_cost_loan,
            blocks=tuple([Block(block.kind, block.since, block.until) for block in case.blocks]),
            caps=NO_CAPS if case.min_gap_hours is None else TenantCaps(min_gap_hours=case.min_gap_hours),
        )
        return made


class Permits:
    """The gate for one case, with everything that was ever sent for it.

    The question that was asked last is not asked again when a charge is sent: the gate is deterministic and the history
    the same.

    Args:
        recent: What the case's history holds of the `WINDOW` before the failure; None looks it up there.
    """

    __slots__ = ("_answer", "_history", "_last", "_make", "_question", "_rules", "_subject")

    def __init__(self, case: Case, rules: MakeRules = Gate, recent: Sequence[Earlier] | None = None) -> None:
        self._make = rules
        self._subject = _Subject(case)
        first = case.failed_on or case.methods[0]
        if recent is None:
            earlier = case.failed_at - WINDOW
            recent = [(row.at, row.amount_minor, row.approved, row.decline) for row in case.history if row.at > earlier]
        self._history = [
            _past(at, "earlier", amount_minor, case.currency, first, approved, decline)
            for at, amount_minor, approved, decline in recent
        ]
        self._history.append(
            _past(case.failed_at, case.invoice_id, case.amount_minor, case.currency, first, False, case.decline)
        )
        self._history += [self._told(charge) for charge in case.sent]
        self._last = case.sent[-1].decline if case.sent else case.decline
        self._rules: Rules = rules(self._history)
        self._question: tuple[datetime, str, str] | None = None
        self._answer: Verdict | None = None

    def _told(self, charge: Sent) -> PastAttempt:
        case, said = self._subject.case, charge.decline or _SILENT
        method = self._subject.methods.get(charge.instrument_id) or Method(charge.instrument_id)
        # Written out as `_past` would: this is asked for after every charge of a replay.
        return _past_attempt(
            charge.at, case.invoice_id, case.amount_minor, case.currency,
            _INITIATORS.get(charge.initiator) or Initiator(charge.initiator), method.instrument_id, charge.approved,
            method.account_reference, method.token, _ORIGINS.get(charge.origin) or Origin(charge.origin),
            said.network_code, said.advice_code, said.gateway_code, said.message,
        )  # fmt: skip

    def _with(self, past: PastAttempt, last: Decline | None) -> Permits:
        """Return the gate over one more attempt; only a gate of another make is told all the others again."""
        following = Permits.__new__(Permits)
        following._make, following._subject, following._last = self._make, self._subject, last
        # A gate of ours keeps what it was told; any other is told all of it again.
        following._history, rules = [*self._history, past], self._rules
        following._rules = rules.after(past) if isinstance(rules, Gate) else self._make(following._history)
        following._question = following._answer = None
        return following

    def add(self, case: Case) -> None:
        """Take in the case's last charge, in place: a replay never needs the shorter history again."""
        charge = case.sent[-1]
        past = self._told(charge)
        if isinstance(self._rules, Gate):
            self._rules.add(past)
        else:
            # A new list: this gate may hold on to the one that it was told.
            self._history = [*self._history, past]
            self._rules = self._make(self._history)
        self._last, self._question, self._answer = charge.decline, None, None

    def supposing(self, at: datetime, instrument_id: str) -> Permits:
        """Return the gate as if a planned charge had been refused the way the last one was, without advice."""
        case, last = self._subject.case, self._last
        decline = Decline(last.gateway_code, last.network_code, None, None) if last else None
        method = self._subject.methods[instrument_id]
        return self._with(_past(at, case.invoice_id, case.amount_minor, case.currency, method, False, decline), last)

    def ask(self, at: datetime, instrument_id: str, initiator: str = "merchant") -> Verdict:
        """Return the gate's verdict on a charge at an instant."""
        question = (at, instrument_id, initiator)
        if self._answer is not None and question == self._question:
            return self._answer
        rules, subject = self._rules, self._subject
        asked = subject.asked.get((instrument_id, initiator)) or subject.attempt(at, instrument_id, initiator)
        found = rules.allow_at(asked, at) if isinstance(rules, Gate) else rules.allow(asked_at(asked, at))
        self._question, self._answer = question, found
        return found


def at_fire_time(
    case: Case, at: datetime, instrument_id: str, initiator: str = "merchant", rules: MakeRules = Gate
) -> Verdict:
    """Return the gate's verdict on a planned charge that is about to be sent; ask it every time."""
    return Permits(case, rules).ask(at, instrument_id, initiator)
