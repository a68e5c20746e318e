"""What notify knows: a case as it sees it, a contact, a planned step, a message.

Owns: the value types. Refuses: any decision about money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

EMAIL = "email"


class Tone(StrEnum):
    """How a notice speaks."""

    FRIENDLY = "friendly"
    FIRM = "firm"
    FINAL = "final"


class Step(StrEnum):
    """A notice's place in the sequence of a case."""

    FAILED = "failed"
    REMINDER_1 = "reminder-1"
    REMINDER_2 = "reminder-2"
    FINAL = "final"
    RECEIPT = "receipt"


class PayerAction(StrEnum):
    """What the payer can do about it."""

    NONE = "none"
    WAIT = "wait"
    UPDATE_METHOD = "update_method"
    AUTHENTICATE = "authenticate"
    CONTACT_BANK = "contact_bank"
    PAY_LINK = "pay_link"


# Only the payer can help here, so waiting in silence would only cost days.
PAYER_FIXES = frozenset(
    {PayerAction.UPDATE_METHOD, PayerAction.AUTHENTICATE, PayerAction.CONTACT_BANK, PayerAction.PAY_LINK}
)


@dataclass(frozen=True, slots=True)
class Payer:
    """Who is written to: the payer's id at a gateway account."""

    tenant_id: str
    gateway: str
    account: str
    payer_id: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """A recovery case as notify sees it. Amounts in minor units; instants aware UTC."""

    case_id: str
    payer: Payer
    invoice_id: str
    currency: str
    amount_minor: int
    failed_at: datetime
    payer_key: str
    decline_reason: str = ""
    payer_action: PayerAction = PayerAction.WAIT
    silent_until: datetime | None = None
    deadline_at: datetime | None = None
    next_attempt_at: datetime | None = None
    state: str = "open"
    closed_by: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """How a payer is reached; the only personal data here.

    Args:
        email: None when none is known.
        timezone: IANA zone of the payer; quiet hours are kept in it.
    """

    email: str | None
    name: str
    language: str
    timezone: str
    country: str
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of the sequence with its instant and why it is then."""

    step: Step
    tone: Tone
    due_at: datetime
    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Send:
    """Decision: send now."""


@dataclass(frozen=True, slots=True)
class Later:
    """Decision: not now; ask again at an instant."""

    at: datetime
    rule: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """Decision: never send this step."""

    rule: str
    why: str
    evidence: str = ""


Verdict = Send | Later | Suppress


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known beside a case when one of its steps is due.

    Args:
        taken: Steps that were sent, queued or suppressed.
        contact: None when we never asked or were told.
        sent: When the payer was written to, about any case.
        settled_by: Id of the event that settled the invoice; empty when it is open.
    """

    taken: frozenset[str]
    contact: Contact | None
    sent: tuple[datetime, ...]
    settled_by: str


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to write.

    Args:
        steps: (case, step) that it takes, its own first.
        rule: Why it is not sent; empty when it is queued.
    """

    notice_id: str
    payer: Payer
    tone: str
    steps: Sequence[tuple[str, str]]
    rule: str = ""
