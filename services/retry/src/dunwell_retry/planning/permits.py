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
    Attempt,
    Block,
    Initiator,
    Instrument,
    Origin,
    PastAttempt,
    TenantCaps,
    Verdict,
)

# The longest window any card rule counts over is 30 days; older renewals cannot matter to it.
_WINDOW = timedelta(days=31)


class Rules(Protocol):
    """The gate over one history, as `rules.Gate` is."""

    def allow(self, attempt: Attempt) -> Verdict:
        """Return the verdict on an attempt."""
        ...


MakeRules = Callable[[Sequence[PastAttempt]], Rules]


def instrument(method: Method) -> Instrument:
    """Return the gate's view of a method."""
    return Instrument(
        instrument_id=method.instrument_id,
        kind=method.kind,
        network=method.network,
        funding=method.funding,
        country=method.country,
        account_reference=method.account_reference,
        token=method.token,
    )


def _past(
    at: datetime, invoice_id: str, amount_minor: int, currency: str, method: Method, approved: bool,
    decline: Decline | None, initiator: Initiator = Initiator.MERCHANT, origin: Origin = Origin.US,
) -> PastAttempt:  # fmt: skip
    codes = (decline.network_code, decline.advice_code, decline.gateway_code, decline.message) if decline else _NONE
    return PastAttempt(
        at, invoice_id, amount_minor, currency, initiator, method.instrument_id, approved, method.account_reference,
        method.token, origin, *codes,
    )  # fmt: skip


_NONE = (None, None, None, None)
# Looked up in a third of the time that an enumeration's own call takes; that call names what is unknown.
_INITIATORS = {entry.value: entry for entry in Initiator}
_ORIGINS = {entry.value: entry for entry in Origin}


class Permits:
    """The gate for one case, with everything that was ever sent for it.

    A question that was asked before is not asked again: the gate is deterministic and the history the same.
    """

    def __init__(self, case: Case, rules: MakeRules = Gate) -> None:
        self._make = rules
        self._take(case)
        first = case.failed_on or case.methods[0]
        earlier = case.failed_at - _WINDOW
        self._history = [
            _past(payment.at, "earlier", payment.amount_minor, case.currency, first, payment.approved, payment.decline)
            for payment in case.history
            if payment.at > earlier
        ]
        self._history.append(
            _past(case.failed_at, case.invoice_id, case.amount_minor, case.currency, first, False, case.decline)
        )
        for charge in case.sent:
            self._sent(charge)
        self._open()

    def _take(self, case: Case) -> None:
        self._case = case
        self._methods = {method.instrument_id: method for method in case.methods}
        self._instruments = {name: instrument(method) for name, method in self._methods.items()}
        self._blocks = tuple(Block(block.kind, block.since, block.until) for block in case.blocks)
        self._caps = TenantCaps(min_gap_hours=case.min_gap_hours)

    def _open(self, before: Rules | None = None) -> None:
        """Make the gate over the history, from the one over all of it but its last entry where there is one."""
        self._rules = before.after(self._history[-1]) if isinstance(before, Gate) else self._make(self._history)
        self._answers: dict[tuple[datetime, str, str], Verdict] = {}

    def _sent(self, charge: Sent) -> None:
        case = self._case
        method = self._methods.get(charge.instrument_id) or Method(charge.instrument_id)
        self._history.append(
            _past(
                charge.at, case.invoice_id, case.amount_minor, case.currency, method, charge.approved, charge.decline,
                _INITIATORS.get(charge.initiator) or Initiator(charge.initiator),
                _ORIGINS.get(charge.origin) or Origin(charge.origin),
            )
        )  # fmt: skip

    def after(self, case: Case) -> Permits:
        """Return the gate of the same case after its last charge, without telling it all the rest again."""
        following = Permits.__new__(Permits)
        following._make, following._case = self._make, case
        following._methods, following._instruments = self._methods, self._instruments
        following._blocks, following._caps = self._blocks, self._caps
        following._history = list(self._history)
        following._sent(case.sent[-1])
        following._open(self._rules)
        return following

    def supposing(self, at: datetime, instrument_id: str) -> Permits:
        """Return the gate as if a planned charge had been refused the way the last one was, without advice."""
        case = self._case
        last = case.sent[-1].decline if case.sent else case.decline
        decline = Decline(last.gateway_code, last.network_code, None, None) if last else None
        following = Permits.__new__(Permits)
        following._make, following._case = self._make, case
        following._methods, following._instruments = self._methods, self._instruments
        following._blocks, following._caps = self._blocks, self._caps
        method = self._methods[instrument_id]
        supposed = _past(at, case.invoice_id, case.amount_minor, case.currency, method, False, decline)
        following._history = [*self._history, supposed]
        following._open(self._rules)
        return following

    def ask(self, at: datetime, instrument_id: str, initiator: str = "merchant") -> Verdict:
        """Return the gate's verdict on a charge at an instant."""
        key = (at, instrument_id, initiator)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = self._rules.allow(self._attempt(at, instrument_id, initiator))
        return found

    def _attempt(self, at: datetime, instrument_id: str, initiator: str) -> Attempt:
        case = self._case
        return Attempt(
            at=at,
            invoice_id=case.invoice_id,
            amount_minor=case.amount_minor,
            currency=case.currency,
            initiator=_INITIATORS.get(initiator) or Initiator(initiator),
            gateway=case.gateway,
            instrument=self._instruments[instrument_id],
            merchant_country=case.country,
            authorization=case.authorization,
            notified_at=case.notified_at,
            first_presented_at=case.first_presented_at or case.failed_at,
            high_cost_loan=case.high_cost_loan,
            blocks=self._blocks,
            caps=self._caps,
        )


def at_fire_time(
    case: Case, at: datetime, instrument_id: str, initiator: str = "merchant", rules: MakeRules = Gate
) -> Verdict:
    """Return the gate's verdict on a planned charge that is about to be sent; ask it every time."""
    return Permits(case, rules).ask(at, instrument_id, initiator)
