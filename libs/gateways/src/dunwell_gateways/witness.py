"""What a gateway's own record says about who paid: the part of the port that not every gateway can offer.

Owns: the question and its answer as values. Refuses: I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

from dunwell_gateways.port import ChargeIntent, ChargeRequest


@runtime_checkable
class Witness(Protocol):
    """A charge client whose gateway remembers which idempotency key paid an invoice.

    An answer of 500 is replayed as a 500 for the life of its key, so a replay cannot say that the charge was made.
    """

    def payments_noted(self, sent_at: datetime) -> ChargeRequest:
        """Return the call that reads what the gateway noted about payments after a request of ours was sent.

        Args:
            sent_at: Aware UTC, by our clock.
        """

    def paid_by_key(self, intent: ChargeIntent, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return the idempotency key of the request that paid the intent's invoice, empty if that had none.

        Returns:
            None when the record does not tell, or cannot be trusted.
        """
