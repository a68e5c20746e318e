"""What the gateway tells of a payer without naming him: where he lives, and what he paid before.

Past payments are attempts of others: they go to the attempt ledger, where budgets and pay cycles look.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dunwell_gateways.charge import ChargeTransport, NoReply, Timeouts
from dunwell_gateways.port import ChargeRequest
from dunwell_kit.database import Database, Tx
from dunwell_retry import store
from dunwell_retry.rules.model import Initiator, Origin, PastAttempt

# Two years of monthly payments, which is also all that a page of the list holds.
CHARGES_MAX = 100


@dataclass(frozen=True, slots=True)
class PayerTold:
    """What was told; `past` holds (natural key, attempt)."""

    timezone: str
    country: str
    past: tuple[tuple[str, PastAttempt], ...]


async def fetch(
    database: Database, transports: dict[str, ChargeTransport], timeouts: Timeouts, case_id: str
) -> PayerTold | None:
    """Ask the gateway about a case's payer; None when it does not answer."""
    rows = await database.read("SELECT gateway, account, payer_id FROM cases WHERE case_id=:id", id=case_id)
    place = rows[0]
    if not place["payer_id"]:
        return PayerTold("", "", ())
    transport = transports[place["gateway"]]
    payer = quote(place["payer_id"], safe="")
    customer = await _get(transport, f"/v1/customers/{payer}", timeouts)
    charges = await _get(transport, f"/v1/charges?customer={payer}&limit={CHARGES_MAX}", timeouts)
    if customer is None or charges is None:
        return None
    prefix = f"{place['gateway']}:{place['account']}:"
    found = (past_attempt(charge) for charge in charges.get("data", ()))
    past = tuple((prefix + key, attempt) for key, attempt in found)
    return PayerTold(_zone(customer), (customer.get("address") or {}).get("country") or "", past)


async def _get(transport: ChargeTransport, path: str, timeouts: Timeouts) -> dict[str, Any] | None:
    reply = await transport.send(ChargeRequest("GET", path), timeouts=timeouts)
    if isinstance(reply, NoReply) or reply.status >= 500 or reply.status == 429:
        return None
    if reply.status != 200:
        # The gateway knows no such payer: that is an answer, and there is nothing to learn.
        return {}
    found: dict[str, Any] = json.loads(reply.body)
    return found


def _zone(customer: dict[str, Any]) -> str:
    name = (customer.get("metadata") or {}).get("timezone") or ""
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError):
        return ""


def past_attempt(charge: dict[str, Any]) -> tuple[str, PastAttempt]:
    """Read one past attempt from Stripe's charge object: (charge id, attempt).

    Source: docs.stripe.com/api/charges/object, fields status, outcome, failure_code, payment_method_details.
    """
    outcome = charge.get("outcome") or {}
    approved = charge.get("status") == "succeeded"
    card = (charge.get("payment_method_details") or {}).get("card") or {}
    return charge["id"], PastAttempt(
        at=datetime.fromtimestamp(charge["created"], UTC),
        invoice_id=str(charge.get("invoice") or ""),
        amount_minor=charge["amount"],
        currency=charge["currency"].upper(),
        initiator=Initiator.MERCHANT,
        instrument_id=str(charge.get("payment_method") or ""),
        approved=approved,
        account_reference=card.get("fingerprint"),
        token=charge.get("payment_method"),
        origin=Origin.GATEWAY,
        network_code=None if approved else outcome.get("network_decline_code"),
        advice_code=None if approved else outcome.get("network_advice_code"),
        gateway_code=None if approved else outcome.get("reason") or charge.get("failure_code"),
    )


async def remember(tx: Tx, case_id: str, told: PayerTold) -> None:
    """Write past attempts that nobody told us of."""
    case = await store.case_for_update(tx, case_id)
    if case is None:
        return
    for key, attempt in told.past:
        await store.log_attempt(tx, case.place, key, attempt, "fetched")
