"""A guard around a world: anything that breaks the protocol is named, never guessed around.

Owns: the checks of what a world is and of what it returns; those of one invoice are in `invoices`. Refuses: checks of
policies; a world itself refuses bad questions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, cast, overload

from dunwell_worlds.invoices import WorldBroken, aware, broken_decline, check_invoice, said
from dunwell_worlds.protocol import (
    ActionKind,
    AttemptResult,
    FailedInvoice,
    OracleWorld,
    PayerAction,
    RevealingWorld,
    World,
)

__all__ = ["ValidatedWorld", "WorldBroken", "check_invoice"]

_METHODS = ("failures", "attempt", "deliver", "payer_actions")
_ACTIONS = frozenset(ActionKind)
_FIELDS = tuple(entry.name for entry in fields(FailedInvoice))
# No debt is chased longer; what is added to an instant stays in the calendar.
_HORIZON_MAX = timedelta(days=3660)


def _need(holds: bool, subject: str, rule: str) -> None:
    if not holds:
        raise WorldBroken(f"{subject}: {rule}")


class ValidatedWorld:
    """A world whose every answer is checked, and whose every error names the world, the method and the invoice.

    Args:
        inner: The world to guard.
        most: So many invoices were asked for; those beyond are not read. None = all.
        currencies: The codes that an invoice may have; None = any three capitals.

    Raises:
        WorldBroken: When a part of the interface is missing.
    """

    def __init__(self, inner: World, most: int | None = None, currencies: Collection[str] | None = None) -> None:
        name = type(inner).__name__
        for method in _METHODS:
            _need(callable(getattr(inner, method, None)), f"world {name}", f"has no method {method!r}")
        _need(isinstance(getattr(inner, "name", None), str), f"world {name}", "has no name")
        horizon = getattr(inner, "horizon", None)
        _need(isinstance(horizon, timedelta) and horizon > timedelta(0), f"world {name}", "has no positive horizon")
        _need(inner.horizon <= _HORIZON_MAX, f"world {name}", f"has a horizon beyond {_HORIZON_MAX.days} days")
        self.name = inner.name
        self.horizon = inner.horizon
        self.inner = inner
        self.offered: int | None = None
        telling = _Telling(inner, inner.name)
        self.oracle: OracleWorld | None = telling if isinstance(inner, OracleWorld) else None
        self.revealing: RevealingWorld | None = telling if isinstance(inner, RevealingWorld) else None
        self._most, self._currencies = most, currencies
        self._asked: dict[str, datetime] = {}
        self._places: dict[str, int] = {}
        # The result that was checked last: worlds often give the same one again.
        self._sound: AttemptResult | None = None

    def failures(self) -> Sequence[FailedInvoice]:
        """Return the invoices; each is checked when it is read, and its id must be new."""
        subject = f"world {self.name!r}"
        try:
            found: object = self.inner.failures()
        except Exception as error:
            raise _raised(self.name, "failures", None, error) from error
        whole = hasattr(found, "__len__") and hasattr(found, "__getitem__")
        whole = whole and not isinstance(found, Mapping | str | bytes)
        _need(whole, subject, f"failures must return a sequence, not {type(found).__name__}")
        invoices = cast(Sequence[FailedInvoice], found)
        try:
            self.offered = len(invoices)
        except Exception as error:
            raise _raised(self.name, "failures", None, error) from error
        _need(self.offered > 0, subject, "has no failed invoice")
        read = self.offered if self._most is None else min(self.offered, self._most)
        return _Checked(self, invoices, range(read))

    def read(self, invoices: Sequence[FailedInvoice], number: int) -> FailedInvoice:
        """Return one of the world's invoices, checked; `number` is its place from 0."""
        try:
            invoice = invoices[number]
        except Exception as error:
            # An IndexError above all: let out, it would look like the end of the invoices.
            raise _raised(self.name, f"failures()[{number}]", None, error) from error
        if not isinstance(invoice, FailedInvoice):
            missing = [name for name in _FIELDS if not hasattr(invoice, name)]
            _need(not missing, f"failure {number}", f"{type(invoice).__name__} has no {', '.join(missing)}")
        check_invoice(invoice)
        if self._currencies is not None and invoice.currency not in self._currencies:
            raise WorldBroken(f"invoice {invoice.invoice_id!r}: currency {invoice.currency!r} is not in ISO 4217")
        if self._places.setdefault(invoice.invoice_id, number) != number:
            raise WorldBroken(f"invoice {invoice.invoice_id!r}: its id was given to another invoice before")
        return invoice

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        """Charge once and check the result."""
        if at.__class__ is not datetime or at.tzinfo is not UTC:
            aware(at, f"invoice {invoice_id!r}", "at")
        if self._asked.get(invoice_id, at) > at:
            raise self._out_of_order(invoice_id, at)
        self._asked[invoice_id] = at
        try:
            result = self.inner.attempt(invoice_id, at, instrument_id, route, initiator)
        except Exception as error:
            raise _raised(self.name, "attempt", invoice_id, error) from error
        if result is not None and result is self._sound:
            return result
        if not isinstance(result, AttemptResult):
            raise WorldBroken(f"invoice {invoice_id!r}: attempt returned {type(result).__name__}, no AttemptResult")
        if type(result.approved) is not bool:
            raise WorldBroken(f"invoice {invoice_id!r}: approved must be True or False, not {result.approved!r}")
        if result.decline is not None:
            if result.approved:
                raise WorldBroken(f"invoice {invoice_id!r}: an approved charge has a decline")
            rule = broken_decline(result.decline)
            if rule is not None:
                raise WorldBroken(f"invoice {invoice_id!r}: attempt: {rule}")
        if type(result.cost_minor_usd) is not int or result.cost_minor_usd < 0:
            raise WorldBroken(f"invoice {invoice_id!r}: cost_minor_usd must be an int >= 0")
        self._sound = result
        return result

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Let a message reach the payer."""
        aware(at, f"invoice {invoice_id!r}", "at")
        if self._asked.get(invoice_id, at) > at:
            raise self._out_of_order(invoice_id, at)
        self._asked[invoice_id] = at
        try:
            self.inner.deliver(invoice_id, at, channel, tone, kind)
        except Exception as error:
            raise _raised(self.name, "deliver", invoice_id, error) from error

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return what the payer does in (after, until], checked for order and bounds."""
        if after.tzinfo is not UTC or until.tzinfo is not UTC:
            aware(after, f"invoice {invoice_id!r}", "after")
            aware(until, f"invoice {invoice_id!r}", "until")
        try:
            actions = self.inner.payer_actions(invoice_id, after, until)
        except Exception as error:
            raise _raised(self.name, "payer_actions", invoice_id, error) from error
        if actions == ():
            return actions
        subject = f"invoice {invoice_id!r}"
        whole = isinstance(actions, Sequence) and not isinstance(actions, str | bytes)
        _need(whole, subject, f"payer_actions must return a sequence, not {type(actions).__name__}")
        before = after
        for action in actions:
            right = hasattr(action, "at") and hasattr(action, "kind")
            _need(right, subject, f"payer_actions holds a {type(action).__name__}, which is no PayerAction")
            aware(action.at, subject, "payer action's at")
            _need(before <= action.at <= until and action.at > after, subject, "payer actions out of order or bounds")
            _need(
                isinstance(action.kind, str) and action.kind in _ACTIONS,
                subject,
                f"unknown payer action {action.kind!r}",
            )
            before = action.at
        return actions

    def _out_of_order(self, invoice_id: str, at: datetime) -> ValueError:
        last = self._asked[invoice_id]
        return ValueError(f"invoice {invoice_id!r}: {at.isoformat()} comes before {last.isoformat()}")


def _raised(world: str, method: str, invoice_id: str | None, error: Exception) -> WorldBroken:
    if isinstance(error, WorldBroken):
        return error
    about = f" of invoice {invoice_id!r}" if invoice_id is not None else ""
    return WorldBroken(f"world {world!r}: {method}{about} raised {said(error)}")


class _Telling:
    """What a world tells beyond the protocol, its errors named."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name = inner, name

    def hidden_reason(self, invoice_id: str) -> str:
        """Return the name of the true reason of the failure."""
        try:
            reason: str = self._inner.hidden_reason(invoice_id)
        except Exception as error:
            raise _raised(self._name, "hidden_reason", invoice_id, error) from error
        if not isinstance(reason, str):
            raise WorldBroken(f"invoice {invoice_id!r}: hidden_reason must be a text, not {reason!r}")
        return reason

    def oracle_probability(self, invoice_id: str, at: datetime, instrument_id: str, route: str) -> float:
        """Return the chance that a charge would be approved."""
        try:
            chance: float = self._inner.oracle_probability(invoice_id, at, instrument_id, route)
            right = bool(0 <= chance <= 1)
        except Exception as error:
            raise _raised(self._name, "oracle_probability", invoice_id, error) from error
        _need(right, f"invoice {invoice_id!r}", f"oracle_probability must lie in 0..1, not {chance!r}")
        return chance


class _Checked(Sequence[FailedInvoice]):
    """Invoices that are checked when they are read."""

    def __init__(self, world: ValidatedWorld, inner: Sequence[FailedInvoice], numbers: range) -> None:
        self._world, self._inner, self._numbers = world, inner, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[FailedInvoice]:
        # Not until the first IndexError, as sequences are walked otherwise: that one may be the world's own mistake.
        return (self._world.read(self._inner, number) for number in self._numbers)

    @overload
    def __getitem__(self, at: int) -> FailedInvoice: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[FailedInvoice]: ...
    def __getitem__(self, at: int | slice) -> FailedInvoice | Sequence[FailedInvoice]:
        if isinstance(at, slice):
            return _Checked(self._world, self._inner, self._numbers[at])
        return self._world.read(self._inner, self._numbers[at])
