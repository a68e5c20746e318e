"""A referee who does not trust the gate: counts what must never happen, from plain lists.

Owns: two counts, charges after a final refusal and charges over a cap. Refuses: the gate's code and data, so that an
error in them cannot hide itself here.
Sources: docs.bill1st.com/docs/mac-response-codes and checkout.com/docs/developer-resources/codes/visa-response-codes
(Visa category 1), developers.tabapay.com/docs/merchant-advice-code (Mastercard 03 and 21), read September 2026.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Protocol

from dunwell_worlds.protocol import Decline, FailedInvoice

_VISA_FINAL = frozenset({"04", "07", "12", "14", "15", "41", "43", "R0", "R1", "R3"})
_MASTERCARD_FINAL_ADVICE = frozenset({"03", "21"})
_ACH_RETRYABLE = frozenset({"R01", "R09"})
_SILENT = Decline(None, None, None, None)
_WINDOW, _ONE_DAY = timedelta(days=30), timedelta(days=1)
_VISA_CAP, _MASTERCARD_DAY, _MASTERCARD_MONTH, _ACH_CAP = 20, 10, 35, 2
# No card's cap bites with fewer refusals, whenever they came.
_FEW = min(_VISA_CAP, _MASTERCARD_DAY, _MASTERCARD_MONTH)


class _Charge(Protocol):
    at: datetime
    instrument_id: str
    initiator: str


def judged(
    invoice: FailedInvoice, charges: Sequence[_Charge], declines: Sequence[Decline | None]
) -> tuple[int, int]:  # fmt: skip
    """Return how many charges of an invoice came after a final refusal, and how many over a cap.

    Args:
        charges: In the order of time.
        declines: What each was refused with; the last charge may have none, as it was approved.
    """
    if _harmless(invoice, declines):
        return 0, 0
    referee = _Referee(invoice)
    for charge, decline in zip_longest(charges, declines):
        referee.judge(charge.at, charge.instrument_id, charge.initiator)
        referee.refuse(charge.at, charge.instrument_id, decline)
    return referee.never_retry, referee.over_cap


def _harmless(invoice: FailedInvoice, declines: Sequence[Decline | None]) -> bool:
    """Return whether nothing was final by any network's word and no cap was near: nearly always."""
    if len(declines) + 1 >= _FEW:
        return False
    for instrument in invoice.instruments:
        if instrument.network == "ach":
            return False
    for decline in (invoice.decline, *declines):
        if decline is not None and (
            decline.network_code in _VISA_FINAL or decline.advice_code in _MASTERCARD_FINAL_ADVICE
        ):
            return False
    return True


class _Referee:
    """Watches one invoice."""

    def __init__(self, invoice: FailedInvoice) -> None:
        self.never_retry = self.over_cap = 0
        self._networks = {entry.instrument_id: entry.network for entry in invoice.instruments}
        self._final: set[str] = set()
        self._refused: dict[str, list[datetime]] = {}
        first = invoice.instruments[0].instrument_id
        self.refuse(invoice.failed_at, first, invoice.decline)

    def refuse(self, at: datetime, instrument_id: str, decline: Decline | None) -> None:
        """Remember a refusal, and whether it was a final one."""
        decline = decline or _SILENT
        self._refused.setdefault(instrument_id, []).append(at)
        network = self._networks[instrument_id]
        if (
            (network == "visa" and decline.network_code in _VISA_FINAL)
            or (network == "mastercard" and decline.advice_code in _MASTERCARD_FINAL_ADVICE)
            or (network == "ach" and decline.network_code not in _ACH_RETRYABLE)
        ):
            self._final.add(instrument_id)

    def judge(self, at: datetime, instrument_id: str, initiator: str) -> None:
        """Count a charge that was about to be sent, if it must not be."""
        if initiator == "payer":
            return
        if instrument_id in self._final:
            self.never_retry += 1
        refused, network = self._refused.get(instrument_id, []), self._networks[instrument_id]
        if network == "ach":
            self.over_cap += len(refused) > _ACH_CAP
        elif len(refused) >= _FEW:
            self.over_cap += _over_cap(network, refused, at)


def _over_cap(network: str, refused: list[datetime], at: datetime) -> bool:
    # In the order of time, as charges are sent: what lies in a window is the end of the list.
    month = len(refused) - bisect_right(refused, at - _WINDOW)
    if network == "mastercard":
        day = len(refused) - bisect_right(refused, at - _ONE_DAY)
        return day >= _MASTERCARD_DAY or month >= _MASTERCARD_MONTH
    return network in ("visa", "amex", "discover") and month > _VISA_CAP
