"""What analytics folds facts into: one row a case.

Owns: the value types. Refuses: SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from google.protobuf.message import Message

# Default attribution window of recovery: the horizon of every published figure we compare with (days).
WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Fact:
    """One event of the log."""

    event_id: str
    type: str
    message: Message
    occurred_at: datetime
    causation_id: str


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A recovery case as its facts tell it."""

    case_id: str
    tenant_id: str
    gateway: str
    payer_id: str
    invoice_id: str
    opened_at: datetime
    currency: str
    amount_minor: int
    decline_reason: str
    network: str
    funding: str
    experiment: str
    arm: str
    state: str = "open"
    recovered_by: str = ""
    recovered_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    notices_sent: int = 0
    notices_suppressed: int = 0

    @property
    def opened_on(self) -> date:
        """The UTC day on which it opened: its cohort."""
        return self.opened_at.date()

    @property
    def recovered_in_window(self) -> bool:
        """True when the money came within the window, the only recovery a rate counts."""
        return self.recovered_at is not None and self.recovered_at - self.opened_at <= WINDOW
