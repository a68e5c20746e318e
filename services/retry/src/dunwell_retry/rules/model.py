"""What the rule gate is asked and what it answers.

Owns: the value types of the gate, which are also its JSON shape (`dunwell rules check`).
Refuses: any rule; those live in dated data beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dunwell_retry.rules.values import quick


class Initiator(StrEnum):
    """Who starts a charge: the merchant off-session, or the payer on-session."""

    MERCHANT = "merchant"
    PAYER = "payer"


class Origin(StrEnum):
    """Which system sent a past attempt; every attempt of anybody counts."""

    US = "us"
    GATEWAY = "gateway"
    PAYER = "payer"
    OPERATOR = "operator"


@quick
@dataclass(frozen=True, slots=True)
class Instrument:
    """A card, bank-debit mandate or UPI mandate.

    Args:
        kind: `card`, `bank_debit`, `upi` or `wallet`.
        network: `visa mastercard amex discover elo hipercard … ach sepa bacs pad becs becs_nz autogiro upi`.
        funding: `credit debit prepaid none`.
        country: ISO 3166 alpha-2 of the issuer.
        account_reference: PAR/PAN reference that survives a new token; None when the gateway gives none.
        token: The credential actually charged.
    """

    instrument_id: str
    kind: str
    network: str
    funding: str = "none"
    country: str | None = None
    account_reference: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A reason outside the networks that forbids charging: moratorium, dispute, hardship, kill_switch …"""

    kind: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TenantCaps:
    """A tenant's own limits, stricter than the networks'; None = no own limit."""

    per_invoice: int | None = None
    per_30_days: int | None = None
    min_gap_hours: int | None = None


NO_CAPS = TenantCaps()


@quick
@dataclass(frozen=True, slots=True)
class Attempt:
    """The charge somebody wants to send.

    Args:
        at: Aware UTC instant at which it would be sent.
        amount_minor: Integer minor units of `currency`, > 0.
        authorization: Reference of a fresh payer authorisation that lifts a stop, if any.
        notified_at: When the pre-debit notice went out (UPI, Bacs, Reg E).
        first_presented_at: First presentation or original settlement of a bank debit.
        high_cost_loan: True for loans under 12 CFR 1041.8 or CONC 7.6.
    """

    at: datetime
    invoice_id: str
    amount_minor: int
    currency: str
    initiator: Initiator
    gateway: str
    instrument: Instrument
    merchant_country: str | None = None
    authorization: str | None = None
    notified_at: datetime | None = None
    first_presented_at: datetime | None = None
    high_cost_loan: bool = False
    blocks: tuple[Block, ...] = ()
    caps: TenantCaps = NO_CAPS


def asked_at(attempt: Attempt, at: datetime) -> Attempt:
    """Return the same attempt at another instant; `dataclasses.replace` takes four times as long."""
    return Attempt(
        at, attempt.invoice_id, attempt.amount_minor, attempt.currency, attempt.initiator, attempt.gateway,
        attempt.instrument, attempt.merchant_country, attempt.authorization, attempt.notified_at,
        attempt.first_presented_at, attempt.high_cost_loan, attempt.blocks, attempt.caps,
    )  # fmt: skip


@quick
@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One charge that was sent, by anybody, and what came back."""

    at: datetime
    invoice_id: str
    amount_minor: int
    currency: str
    initiator: Initiator
    instrument_id: str
    approved: bool
    account_reference: str | None = None
    token: str | None = None
    origin: Origin = Origin.US
    network_code: str | None = None
    advice_code: str | None = None
    gateway_code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Fee:
    """A scheme fee the attempt would cause; integer minor units."""

    amount_minor: int
    currency: str
    reason: str


@quick
@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer.

    Args:
        permit: True when the attempt may be sent at `attempt.at`.
        rule: Stable id of the deciding rule, e.g. `visa.cat1`.
        not_before: Earliest aware UTC instant at which the same attempt may be asked again;
            None when permitted now or never.
        counters: Counter name to count, as projected from the history.
        sources: Where the deciding rules are written down.
    """

    permit: bool
    rule: str
    reason: str
    not_before: datetime | None = None
    fee_if_sent: Fee | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
