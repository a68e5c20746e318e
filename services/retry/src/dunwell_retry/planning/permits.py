"""The rule gate as the planner meets it.

Owns: telling the gate about a case. Refuses: any rule of its own; a plan is only made of what the gate permits, and
the same question is asked again when a charge is about to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from dunwell_retry.planning.model import Case, Decline, Method
from dunwell_retry.rules import allow
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

Gate = Callable[[Attempt, Sequence[PastAttempt]], Verdict]
# The longest window any card rule counts over is 30 days; older renewals cannot matter to it.
_WINDOW = timedelta(days=31)


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


def _past(case: Case, at: datetime, method: Method, approved: bool, decline: Decline | None) -> PastAttempt:
    return PastAttempt(
        at=at,
        invoice_id=case.invoice_id,
        amount_minor=case.amount_minor,
        currency=case.currency,
        initiator=Initiator.MERCHANT,
        instrument_id=method.instrument_id,
        account_reference=method.account_reference,
        token=method.token,
        approved=approved,
        network_code=decline.network_code if decline else None,
        advice_code=decline.advice_code if decline else None,
        gateway_code=decline.gateway_code if decline else None,
        message=decline.message if decline else None,
    )


class Permits:
    """The gate for one case; `supposed` charges of a plan are counted as if they had been refused."""

    def __init__(self, case: Case, gate: Gate = allow) -> None:
        self._case, self._gate = case, gate
        self._methods = {method.instrument_id: method for method in case.methods}
        self._instruments = {name: instrument(method) for name, method in self._methods.items()}
        self._blocks = tuple(Block(block.kind, block.since, block.until) for block in case.blocks)
        self._caps = TenantCaps(min_gap_hours=case.min_gap_hours)
        first = case.methods[0]
        self.history: list[PastAttempt] = [
            PastAttempt(
                at=payment.at,
                invoice_id="earlier",
                amount_minor=payment.amount_minor,
                currency=case.currency,
                initiator=Initiator.MERCHANT,
                instrument_id=first.instrument_id,
                account_reference=first.account_reference,
                token=first.token,
                approved=payment.approved,
                network_code=payment.decline.network_code if payment.decline else None,
                advice_code=payment.decline.advice_code if payment.decline else None,
                gateway_code=payment.decline.gateway_code if payment.decline else None,
            )
            for payment in case.history
            if case.failed_at - payment.at < _WINDOW
        ]
        self.history.append(_past(case, case.failed_at, first, False, case.decline))
        for charge in case.sent:
            self._sent(charge.instrument_id, charge.at, charge.approved, charge.decline, charge.initiator, charge.origin)

    def _sent(
        self, instrument_id: str, at: datetime, approved: bool, decline: Decline | None, initiator: str, origin: str
    ) -> None:
        method = self._methods.get(instrument_id) or Method(instrument_id)
        past = _past(self._case, at, method, approved, decline)
        if initiator != "merchant" or origin != "us":
            values = {name: getattr(past, name) for name in past.__dataclass_fields__}
            past = PastAttempt(**{**values, "initiator": Initiator(initiator), "origin": Origin(origin)})
        self.history.append(past)

    def suppose(self, at: datetime, instrument_id: str) -> None:
        """Count a planned charge as refused the way the last one was, without advice."""
        last = self._case.sent[-1].decline if self._case.sent else self._case.decline
        code = last.network_code if last else None
        decline = Decline(last.gateway_code if last else None, code, None, None)
        self.history.append(_past(self._case, at, self._methods[instrument_id], False, decline))

    def ask(self, at: datetime, instrument_id: str, initiator: str = "merchant") -> Verdict:
        """Return the gate's verdict on a charge at an instant."""
        case = self._case
        return self._gate(
            Attempt(
                at=at,
                invoice_id=case.invoice_id,
                amount_minor=case.amount_minor,
                currency=case.currency,
                initiator=Initiator(initiator),
                gateway=case.gateway,
                instrument=self._instruments[instrument_id],
                merchant_country=case.country,
                authorization=case.authorization,
                notified_at=case.notified_at,
                first_presented_at=case.first_presented_at or case.failed_at,
                high_cost_loan=case.high_cost_loan,
                blocks=self._blocks,
                caps=self._caps,
            ),
            self.history,
        )


def at_fire_time(case: Case, at: datetime, instrument_id: str, initiator: str = "merchant", gate: Gate = allow) -> Verdict:
    """Return the gate's verdict on a planned charge that is about to be sent; ask it every time."""
    return Permits(case, gate).ask(at, instrument_id, initiator)
