"""A tenant's logged charges as a world.

Owns: replaying what was logged. Refuses: guesses; a charge for which nothing was logged near its instant is answered
as refused and counted, so that what the replay does not know shows as missing and never as a gain.

The file holds one JSON object a line: the fields of `FailedInvoice` with ISO instants, and
`"attempts": [{"at", "instrument_id", "route", "approved", "decline": {...} | null, "propensity"}]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from dunwell_worlds.protocol import (
    AttemptResult,
    Decline,
    FailedInvoice,
    Instrument,
    PastPayment,
    PayerAction,
    World,
)
from dunwell_worlds.validate import WorldBroken

# A logged charge tells about instants this near: funds and risk scores rarely change faster.
NEAR = timedelta(hours=6)
_AUTHORISATION_MINOR_USD = 6


def _decline(value: Mapping[str, Any] | None) -> Decline | None:
    if value is None:
        return None
    return Decline(value.get("gateway_code"), value.get("network_code"), value.get("advice_code"), value.get("message"))


def _instant(text: str) -> datetime:
    """Return an instant in UTC; one without an offset stays as it is, and the check of the world names it."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is None else at.astimezone(UTC)


def _invoice(row: Mapping[str, Any]) -> FailedInvoice:
    at = _instant
    instruments = tuple(
        Instrument(
            entry["instrument_id"], entry["kind"], entry["network"], entry["funding"], entry["issuer_id"],
            entry["country"], tuple(entry["expires"]) if entry.get("expires") else None,
        )
        for entry in row["instruments"]
    )  # fmt: skip
    history = tuple(
        PastPayment(at(entry["at"]), entry["amount_minor"], entry["approved"], _decline(entry.get("decline")))
        for entry in row.get("history", ())
    )
    decline = _decline(row["decline"])
    if decline is None:
        raise KeyError("decline")
    if not isinstance(row["routes"], list):
        raise TypeError("routes must be a list")
    return FailedInvoice(
        row["invoice_id"], row["payer_id"], row["tenant_id"], row["amount_minor"], row["currency"], row["timezone"],
        at(row["due_at"]), at(row["failed_at"]), row["gateway"], tuple(row["routes"]), instruments, decline, history,
    )  # fmt: skip


class HistoryWorld:
    """Logged failures and what was answered to the charges that were really sent."""

    name = "history"
    horizon = timedelta(days=30)

    def __init__(self, rows: Sequence[tuple[FailedInvoice, Sequence[Mapping[str, Any]]]]) -> None:
        self._invoices = [invoice for invoice, _ in rows]
        self._logged = {invoice.invoice_id: list(attempts) for invoice, attempts in rows}
        self.asked = self.matched = 0

    def failures(self) -> Sequence[FailedInvoice]:
        """Return the logged failures."""
        return self._invoices

    def attempt(self, invoice_id: str, at: datetime, instrument_id: str, route: str, initiator: str) -> AttemptResult:
        """Answer as the log does for a charge within six hours, and as refused where it is silent."""
        self.asked += 1
        best: tuple[timedelta, Mapping[str, Any]] | None = None
        for entry in self._logged[invoice_id]:
            apart = abs(datetime.fromisoformat(entry["at"]) - at)
            if entry["instrument_id"] == instrument_id and apart <= NEAR and (best is None or apart < best[0]):
                best = (apart, entry)
        if best is None:
            return AttemptResult(False, Decline(None, None, None, "not in the log"), _AUTHORISATION_MINOR_USD)
        self.matched += 1
        entry = best[1]
        if entry["approved"]:
            return AttemptResult(True, None, _AUTHORISATION_MINOR_USD)
        decline = _decline(entry.get("decline")) or Decline(None, None, None, None)
        return AttemptResult(False, decline, _AUTHORISATION_MINOR_USD)

    def deliver(self, invoice_id: str, at: datetime, channel: str, tone: str, kind: str) -> None:
        """Accept a message; the log cannot tell what it would have done."""

    def payer_actions(self, invoice_id: str, after: datetime, until: datetime) -> Sequence[PayerAction]:
        """Return nothing: the log holds charges only."""
        return ()


def history_world(text: str) -> Callable[[int, int], World]:
    """Return a factory over a log; the seed does not matter, `invoices` takes the first so many."""
    rows: list[tuple[FailedInvoice, Sequence[Mapping[str, Any]]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows.append((_invoice(row), row.get("attempts", ())))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise WorldBroken(f"history line {number}: {error!r}") from error

    def factory(seed: int, invoices: int) -> World:
        return HistoryWorld(rows[:invoices])

    return factory
