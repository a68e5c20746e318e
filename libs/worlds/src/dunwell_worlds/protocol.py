"""The shape of a world: who fails to pay, what banks answer, what payers do.

Owns: the types that worlds, the sandbox and the back-test share. Refuses: any model; see `base` for one.

Anyone may write a world: a module with a factory `make(seed: int, invoices: int) -> World`. Rules of the game:

- Every instant is aware UTC.
- Calls about one invoice come in time order.
- A world answers the same question the same way for the same seed, whichever policy asks.
- A policy sees only what a `FailedInvoice` and the results of the attempts tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Decline:
    """What a refused charge said, verbatim; None where that party said nothing.

    Args:
        gateway_code: The gateway's own code, e.g. Stripe `insufficient_funds`.
        network_code: ISO 8583 response code or bank-debit return code, e.g. `51`, `R01`.
        advice_code: The network's advice, e.g. Mastercard `24`.
        message: The gateway's text.
    """

    gateway_code: str | None
    network_code: str | None
    advice_code: str | None
    message: str | None


@dataclass(frozen=True)
class Instrument:
    """A payment method that may be charged without the payer present.

    Args:
        kind: `card` or `bank_debit`.
        network: `visa mastercard amex discover … ach sepa bacs …`.
        funding: `credit debit prepaid none`.
        country: ISO 3166 alpha-2 of the issuer, empty when nobody told it.
        expires: (year, month), both 1-based; None when it does not expire.
    """

    instrument_id: str
    kind: str
    network: str
    funding: str
    issuer_id: str
    country: str
    expires: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class PastPayment:
    """One charge of this payer before the failure; `decline` is None when it was approved or when nobody knows why not."""

    at: datetime
    amount_minor: int
    approved: bool
    decline: Decline | None


@dataclass(frozen=True)
class FailedInvoice:
    """One invoice whose first charge was refused.

    Args:
        amount_minor: Integer minor units of `currency`, > 0.
        timezone: IANA name of the payer's zone.
        routes: Processors that can carry the charge; the first one carried the refused charge.
        instruments: The first one is the one that was refused; the others may be charged as well.
        history: Oldest first; empty for a new payer.
    """

    invoice_id: str
    payer_id: str
    tenant_id: str
    amount_minor: int
    currency: str
    timezone: str
    due_at: datetime
    failed_at: datetime
    gateway: str
    routes: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    decline: Decline
    history: Sequence[PastPayment]


@dataclass(frozen=True)
class AttemptResult:
    """What a charge came to.

    Args:
        decline: None when it was approved, or when the bank gave no reason at all.
        cost_minor_usd: Every fee it caused, in US cents.
    """

    approved: bool
    decline: Decline | None
    cost_minor_usd: int


class ActionKind(StrEnum):
    """What a payer may do by himself.

    `fixed_method`: the method on file works again or was replaced, the next charge should pass.
    `paid`: the invoice is paid, no charge may follow. `canceled`: the payer leaves; a loss.
    `complained`, `opted_out`: reactions to contact; an opt-out ends all further messages.
    """

    FIXED_METHOD = "fixed_method"
    PAID = "paid"
    CANCELED = "canceled"
    COMPLAINED = "complained"
    OPTED_OUT = "opted_out"


@dataclass(frozen=True)
class PayerAction:
    """Something the payer did, at an aware UTC instant."""

    kind: ActionKind
    at: datetime


class World(Protocol):
    """A population of failed invoices and everything that answers to them.

    `horizon` is the span after `failed_at` within which an invoice can be recovered.
    """

    name: str
    horizon: timedelta

    def failures(self) -> Sequence[FailedInvoice]:
        """Return every failed invoice; may build each one when it is read."""
        ...

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        """Charge once; `initiator` is `merchant` or `payer`."""
        ...

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Let a message reach the payer; channel `email sms in_app call`, tone `friendly firm final`."""
        ...

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return what the payer does in (after, until], oldest first."""
        ...


@runtime_checkable
class OracleWorld(Protocol):
    """A world that also tells the truth, which only the oracle bound may ask."""

    def oracle_probability(self, invoice_id: str, at: datetime, instrument_id: str, route: str) -> float:
        """Return the chance that a charge at this instant would be approved, given the attempts so far."""
        ...


@runtime_checkable
class RevealingWorld(Protocol):
    """A world that tells the hidden reason afterwards, for reports only."""

    def hidden_reason(self, invoice_id: str) -> str:
        """Return the name of the true reason of the failure."""
        ...
