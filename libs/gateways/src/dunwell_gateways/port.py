"""The port: what every gateway folder offers, as values and protocols.

Owns: the canonical facts a webhook tells, the one result type of a charge, and the capability record.
Refuses: I/O and anything one gateway alone knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money


class SignatureFault(StrEnum):
    """Why a delivery is not authentic."""

    MISSING = "missing"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"


class SignatureInvalid(Invalid):
    """The delivery was not signed with one of the endpoint's secrets, or not now."""

    slug = "signature-invalid"
    title = "Signature invalid"
    status = 401

    def __init__(self, fault: SignatureFault, detail: str) -> None:
        super().__init__(f"signature {fault.value}: {detail}")
        self.fault = fault


class Unreadable(Invalid):
    """The body is not what the gateway documents; keep it for a person."""

    slug = "unreadable-body"
    title = "Unreadable body"


class Kind(StrEnum):
    """What a webhook told; one per event of the ingest topic, plus `payment_linked`, which is no event."""

    PAYMENT_FAILED = "payment_failed"
    PAYMENT_SUCCEEDED = "payment_succeeded"
    PAYMENT_PENDING = "payment_pending"
    PAYMENT_ACTION_REQUIRED = "payment_action_required"
    PAYMENT_CANCELED = "payment_canceled"
    PAYMENT_SETTLED = "payment_settled"
    PAYMENT_REFUNDED = "payment_refunded"
    REFUND_PENDING = "refund_pending"
    REFUND_FAILED = "refund_failed"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_UPDATED = "dispute_updated"
    DISPUTE_CLOSED = "dispute_closed"
    FRAUD_WARNED = "fraud_warned"
    INVOICE_OPENED = "invoice_opened"
    INVOICE_CHANGED = "invoice_changed"
    INVOICE_PAID = "invoice_paid"
    INVOICE_VOIDED = "invoice_voided"
    INVOICE_MARKED_UNCOLLECTIBLE = "invoice_marked_uncollectible"
    INSTRUMENT_ADDED = "instrument_added"
    INSTRUMENT_REPLACED = "instrument_replaced"
    INSTRUMENT_EXPIRING = "instrument_expiring"
    INSTRUMENT_EXPIRED = "instrument_expired"
    INSTRUMENT_FAILED = "instrument_failed"
    INSTRUMENT_REMOVED = "instrument_removed"
    MANDATE_ACTIVATED = "mandate_activated"
    MANDATE_CANCELED = "mandate_canceled"
    SUBSCRIPTION_PAST_DUE = "subscription_past_due"
    SUBSCRIPTION_PAUSED = "subscription_paused"
    SUBSCRIPTION_SUSPENDED = "subscription_suspended"
    SUBSCRIPTION_CANCEL_SCHEDULED = "subscription_cancel_scheduled"
    SUBSCRIPTION_CANCELED = "subscription_canceled"
    SUBSCRIPTION_REACTIVATED = "subscription_reactivated"
    SUBSCRIPTION_COMPLETED = "subscription_completed"
    GATEWAY_RECOVERY_SCHEDULED = "gateway_recovery_scheduled"
    GATEWAY_RECOVERY_EXHAUSTED = "gateway_recovery_exhausted"
    PAYER_CHANGED = "payer_changed"
    PAYER_DELETED = "payer_deleted"
    GATEWAY_ACCESS_REVOKED = "gateway_access_revoked"
    PAYMENT_LINKED = "payment_linked"


class Trigger(StrEnum):
    """Who set off a charge."""

    SCHEDULE = "schedule"
    GATEWAY_RETRY = "gateway_retry"
    PAYER = "payer"
    OPERATOR = "operator"
    US = "us"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RawDecline:
    """The four raw values of a refusal, verbatim; empty = not told."""

    gateway_code: str = ""
    network_code: str = ""
    advice_code: str = ""
    message: str = ""

    def __bool__(self) -> bool:
        return bool(self.gateway_code or self.network_code or self.advice_code or self.message)


@dataclass(frozen=True, slots=True)
class InstrumentFacts:
    """What is known of a `card`, `bank_debit`, `upi` or `wallet` without naming its holder; empty or 0 = not told.

    The fingerprint is the gateway's reference of the account behind the token.
    """

    kind: str = ""
    network: str = ""
    funding: str = ""
    country: str = ""
    bin: str = ""
    expiry_month: int = 0
    expiry_year: int = 0
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One canonical fact told by one delivery; empty string or None = not told.

    Args:
        occurred_at: Aware UTC, the gateway's own time of the event.
        payment_id: The gateway's payment object (Stripe: the payment intent).
        subject_id: Id of the refund, dispute, warning or mandate the fact is about.
        money: ISO 4217 minor units; for a failed invoice what is still due, for a refund this refund.
        attempt_count: 1-based; 0 = not told.
        next_attempt_at: When the gateway itself will try again.
        off_session: True when the payer was absent; None = not told.
        status: The gateway's own word for the state, for people.
    """

    kind: Kind
    occurred_at: datetime
    payer_id: str = ""
    invoice_id: str = ""
    subscription_id: str = ""
    payment_id: str = ""
    charge_id: str = ""
    instrument_id: str = ""
    subject_id: str = ""
    money: Money | None = None
    attempt_count: int = 0
    next_attempt_at: datetime | None = None
    trigger: Trigger = Trigger.UNKNOWN
    decline: RawDecline = RawDecline()
    instrument: InstrumentFacts = InstrumentFacts()
    off_session: bool | None = None
    inquiry: bool = False
    funds_withdrawn: bool | None = None
    won: bool | None = None
    due_at: datetime | None = None
    status: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The head of one webhook: enough to dedupe it and to queue it."""

    event_id: str
    event_type: str
    created_at: datetime
    object_id: str


class WebhookReader(Protocol):
    """The webhook half of a gateway folder; pure."""

    def verify(self, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> None:
        """Return when the raw body is authentic and fresh.

        Args:
            headers: Any letter case.
            secrets: Every secret now valid; several while one is rotated.

        Raises:
            SignatureInvalid: With the fault.
        """

    def delivery(self, body: bytes) -> Delivery:
        """Return the head of an authentic body; Unreadable if it is not the gateway's shape."""

    def translate(self, body: bytes) -> Sequence[Observation]:
        """Return what an authentic body tells; empty for types that tell us nothing.

        Raises:
            Unreadable: The body is not the gateway's shape, or holds an amount or currency that cannot be.
        """


class Outcome(StrEnum):
    """How a charge, or a look at one, ended."""

    APPROVED = "approved"
    DECLINED = "declined"
    ACTION_REQUIRED = "action_required"
    PENDING = "pending"
    ALREADY_PAID = "already_paid"
    NOT_SENT = "not_sent"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"  # the gateway executed nothing: our request, key or object is wrong; a person must look
    NOT_SUPPORTED = "not_supported"
    ABSENT = "absent"  # only from a look-up: no trace of the attempt
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ChargeIntent:
    """One charge to make; exactly one of `invoice_id` and `payment_id` names what is paid.

    Args:
        instrument_id: None = the gateway's default for that payer.
        attempts_before: `InvoiceState.attempt_count` before ours; lets a look-up tell a decline from no trace.
    """

    idem_key: str
    money: Money
    invoice_id: str = ""
    payment_id: str = ""
    instrument_id: str | None = None
    off_session: bool = True
    attempts_before: int | None = None
    connected_account: str | None = None


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Exact bytes of one call, without the secret; stored before it is sent."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    idem_key: str = ""


@dataclass(frozen=True, slots=True)
class ChargeResult:
    """What one call came to; the only result type of every gateway."""

    outcome: Outcome
    decline: RawDecline = RawDecline()
    payment_id: str = ""
    charge_id: str = ""
    instrument: InstrumentFacts = InstrumentFacts()
    money: Money | None = None
    retry_after_seconds: int | None = None
    replayed: bool = False
    request_id: str = ""
    detail: str = ""


class InvoiceStatus(StrEnum):
    """An invoice at the biller; only `open` may be charged."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class InvoiceState:
    """What the biller says about an invoice now."""

    status: InvoiceStatus
    remaining: Money | None = None
    attempt_count: int = 0
    next_attempt_at: datetime | None = None
    payer_id: str = ""
    subscription_id: str = ""
    payment_id: str = ""
    instrument_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PayerContact:
    """How to reach a payer, from the gateway; personal, never in an event."""

    payer_id: str
    email: str = ""
    phone: str = ""
    name: str = ""
    language: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class HeldInstrument:
    """One instrument the payer has on file."""

    instrument_id: str
    facts: InstrumentFacts


class LookUp(StrEnum):
    """By what an unknown outcome can be found again."""

    OBJECT = "object"
    REPLAY = "replay"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the gateway guarantees about one charge call.

    Args:
        idempotency_header: None = no key (then `key_window_hours` is 0); we guard alone.
        replays_declines: The same key again gives the same decline, not a new try.
        safe_on_429: A 429 is documented as not executed.
        signature_tolerance_seconds: Both-sided window of a webhook's time; None = the gateway signs no time.
    """

    idempotency_header: str | None
    key_window_hours: int
    replays_declines: bool
    safe_on_429: bool
    look_up_by: tuple[LookUp, ...]
    signature_tolerance_seconds: int | None
    sources: tuple[str, ...]


class ChargeClient(Protocol):
    """The charge half of a gateway folder; builds and reads bytes, sends none."""

    @property
    def capabilities(self) -> Capabilities: ...

    def authorize(self, secret: str) -> Mapping[str, str]:
        """Return the headers that carry the secret; added by the transport at the last moment."""

    def build(self, intent: ChargeIntent) -> ChargeRequest:
        """Return the call that makes the charge; equal intents give equal bytes."""

    def interpret(self, status: int, headers: Mapping[str, str], body: bytes) -> ChargeResult:
        """Return what the answer means; never raises, what it cannot read is UNKNOWN."""

    def look_up(self, intent: ChargeIntent) -> ChargeRequest:
        """Return the call that finds out what became of a charge without making one."""

    def interpret_look_up(
        self, intent: ChargeIntent, status: int, headers: Mapping[str, str], body: bytes
    ) -> ChargeResult:
        """Return what the look-up shows: a final outcome, PENDING, ABSENT or UNKNOWN."""

    def invoice_state(self, invoice_id: str) -> ChargeRequest:
        """Return the call that reads an invoice."""

    def interpret_invoice_state(self, status: int, headers: Mapping[str, str], body: bytes) -> InvoiceState:
        """Return the invoice's state; UNKNOWN when the answer cannot be trusted."""

    def links(self, *, payment_id: str = "", invoice_id: str = "") -> ChargeRequest:
        """Return the call that tells which payments belong to which invoice."""

    def interpret_links(self, status: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, str] | None:
        """Return payment id -> invoice id, empty when there is none; None when the answer cannot be trusted."""

    def payer(self, payer_id: str) -> ChargeRequest:
        """Return the call that reads a payer's contact data."""

    def interpret_payer(self, status: int, headers: Mapping[str, str], body: bytes) -> PayerContact | None:
        """Return the contact; None when there is none or the answer cannot be trusted."""

    def instruments(self, payer_id: str) -> ChargeRequest:
        """Return the call that lists what the payer has on file."""

    def interpret_instruments(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> Sequence[HeldInstrument] | None:
        """Return the instruments, newest first; None when the answer cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One gateway: its name and its two halves."""

    name: str
    webhook: WebhookReader
    charge: ChargeClient
