"""A guard around a world: anything that breaks the protocol is named, never guessed around.

Owns: the checks of what a world returns. Refuses: checks of policies; a world itself refuses bad questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import overload
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dunwell_worlds.protocol import (
    ActionKind,
    AttemptResult,
    Decline,
    FailedInvoice,
    OracleWorld,
    PayerAction,
    RevealingWorld,
    World,
)

_KINDS = ("card", "bank_debit")
_METHODS = ("failures", "attempt", "deliver", "payer_actions")


class WorldBroken(ValueError):
    """A world broke its protocol; the message names the invoice and the rule."""


def _need(holds: bool, subject: str, rule: str) -> None:
    if not holds:
        raise WorldBroken(f"{subject}: {rule}")


def _aware(at: object, subject: str, name: str) -> None:
    # The messages are only built when they are needed: this runs for every row of every past.
    if not isinstance(at, datetime):
        raise WorldBroken(f"{subject}: {name} must be a datetime, not {type(at).__name__}")
    if at.tzinfo is not UTC and at.utcoffset() != timedelta(0):
        raise WorldBroken(f"{subject}: {name} must be aware UTC, not {at.isoformat()}")


def check_invoice(invoice: FailedInvoice) -> FailedInvoice:
    """Return the invoice when it keeps the protocol; raise `WorldBroken` otherwise."""
    subject = f"invoice {invoice.invoice_id!r}"
    _aware(invoice.due_at, subject, "due_at")
    _aware(invoice.failed_at, subject, "failed_at")
    _need(invoice.failed_at >= invoice.due_at, subject, "failed_at lies before due_at")
    _need(type(invoice.amount_minor) is int and invoice.amount_minor > 0, subject, "amount_minor must be an int > 0")
    _need(len(invoice.currency) == 3 and invoice.currency.isupper(), subject, "currency must be an ISO 4217 code")
    try:
        ZoneInfo(invoice.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WorldBroken(f"{subject}: unknown time zone {invoice.timezone!r}") from error
    _need(bool(invoice.routes), subject, "routes must name at least one processor")
    _need(bool(invoice.instruments), subject, "instruments must hold the one that failed")
    ids = [instrument.instrument_id for instrument in invoice.instruments]
    _need(len(set(ids)) == len(ids), subject, "instrument ids must be unique")
    for instrument in invoice.instruments:
        _need(instrument.kind in _KINDS, subject, f"unknown instrument kind {instrument.kind!r}")
        if instrument.expires is not None:
            _need(1 <= instrument.expires[1] <= 12, subject, f"impossible expiry {instrument.expires!r}")
    _check_history(invoice, subject)
    _need(isinstance(invoice.decline, Decline), subject, "decline is missing")
    return invoice


def _check_history(invoice: FailedInvoice, subject: str) -> None:
    before: datetime | None = None
    for payment in invoice.history:
        at = payment.at
        if at.__class__ is not datetime or at.tzinfo is not UTC:
            _aware(at, subject, "history[].at")
        if before is not None and at < before:
            raise WorldBroken(f"{subject}: history is not in time order")
        if payment.approved and payment.decline is not None:
            raise WorldBroken(f"{subject}: an approved payment of the past has a decline")
        before = at
    _need(before is None or before <= invoice.failed_at, subject, "history reaches past failed_at")


class ValidatedWorld:
    """A world whose every answer is checked.

    Args:
        inner: The world to guard.

    Raises:
        WorldBroken: When a part of the interface is missing.
    """

    def __init__(self, inner: World) -> None:
        name = type(inner).__name__
        for method in _METHODS:
            _need(callable(getattr(inner, method, None)), f"world {name}", f"has no method {method!r}")
        _need(isinstance(getattr(inner, "name", None), str), f"world {name}", "has no name")
        horizon = getattr(inner, "horizon", None)
        _need(isinstance(horizon, timedelta) and horizon > timedelta(0), f"world {name}", "has no positive horizon")
        self.name = inner.name
        self.horizon = inner.horizon
        self.inner = inner
        self.oracle = inner if isinstance(inner, OracleWorld) else None
        self.revealing = inner if isinstance(inner, RevealingWorld) else None
        self._asked: dict[str, datetime] = {}

    def failures(self) -> Sequence[FailedInvoice]:
        """Return the invoices; each is checked when it is read, and its id must be new."""
        return _Checked(self.inner.failures())

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        """Charge once and check the result."""
        if at.__class__ is not datetime or at.tzinfo is not UTC:
            _aware(at, f"invoice {invoice_id!r}", "at")
        self._in_order(invoice_id, at)
        result = self.inner.attempt(invoice_id, at, instrument_id, route, initiator)
        if not isinstance(result, AttemptResult):
            raise WorldBroken(f"invoice {invoice_id!r}: attempt returned {type(result).__name__}")
        if result.approved and result.decline is not None:
            raise WorldBroken(f"invoice {invoice_id!r}: an approved charge has a decline")
        if type(result.cost_minor_usd) is not int or result.cost_minor_usd < 0:
            raise WorldBroken(f"invoice {invoice_id!r}: cost_minor_usd must be >= 0")
        return result

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Let a message reach the payer."""
        _aware(at, f"invoice {invoice_id!r}", "at")
        self._in_order(invoice_id, at)
        self.inner.deliver(invoice_id, at, channel, tone, kind)

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return what the payer does in (after, until], checked for order and bounds."""
        for at, name in ((after, "after"), (until, "until")):
            if at.__class__ is not datetime or at.tzinfo is not UTC:
                _aware(at, f"invoice {invoice_id!r}", name)
        actions = self.inner.payer_actions(invoice_id, after, until)
        if not actions:
            return actions
        subject = f"invoice {invoice_id!r}"
        before = after
        for action in actions:
            _aware(action.at, subject, "payer action's at")
            _need(before <= action.at <= until and action.at > after, subject, "payer actions out of order or bounds")
            _need(action.kind in set(ActionKind), subject, f"unknown payer action {action.kind!r}")
            before = action.at
        return actions

    def _in_order(self, invoice_id: str, at: datetime) -> None:
        last = self._asked.get(invoice_id)
        if last is not None and at < last:
            raise ValueError(f"invoice {invoice_id!r}: {at.isoformat()} comes before {last.isoformat()}")
        self._asked[invoice_id] = at


class _Checked(Sequence[FailedInvoice]):
    def __init__(self, inner: Sequence[FailedInvoice]) -> None:
        self._inner = inner

    def __len__(self) -> int:
        return len(self._inner)

    @overload
    def __getitem__(self, at: int) -> FailedInvoice: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[FailedInvoice]: ...
    def __getitem__(self, at: int | slice) -> FailedInvoice | Sequence[FailedInvoice]:
        if isinstance(at, slice):
            return _Checked(self._inner[at])
        return check_invoice(self._inner[at])
