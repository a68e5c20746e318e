"""What the gateway tells of a payer without naming him: where he lives, and what he paid before.

Past payments are attempts of others: they go to the attempt ledger, where budgets and pay cycles look.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dunwell_gateways.charge import ChargeTransport, NoReply, Timeouts
from dunwell_gateways.money import from_gateway
from dunwell_gateways.port import ChargeRequest, Unreadable
from dunwell_gateways.wire import Json, instant, integer, part, read_json, reference, rows, text
from dunwell_kit.database import Database, Tx
from dunwell_kit.errors import Invalid
from dunwell_retry import store
from dunwell_retry.model import AMOUNT_MINOR_MAX
from dunwell_retry.rules.model import Initiator, Origin, PastAttempt

# Two years of monthly payments, which is also all that a page of the list holds.
CHARGES_MAX = 100
# What a policy's selector may hold.
LABEL_MAX = 80


@dataclass(frozen=True, slots=True)
class PayerTold:
    """What was told; `past` holds (natural key, attempt)."""

    timezone: str
    country: str
    past: tuple[tuple[str, PastAttempt], ...]
    segment: str = ""
    plan_name: str = ""


# The gateway did not say.
UNTOLD = PayerTold("", "", ())


async def fetch(
    database: Database, transports: dict[str, ChargeTransport], timeouts: Timeouts, case_id: str
) -> PayerTold | None:
    """Ask the gateway about a case's payer; None when it does not answer."""
    (place,) = await database.read("SELECT gateway, account, payer_id FROM cases WHERE case_id=:id", id=case_id)
    if not place["payer_id"]:
        return UNTOLD
    transport = transports[place["gateway"]]
    payer = quote(place["payer_id"], safe="")
    customer = await _get(transport, f"/v1/customers/{payer}", timeouts)
    charges = await _get(transport, f"/v1/charges?customer={payer}&limit={CHARGES_MAX}", timeouts)
    if customer is None or charges is None:
        return None
    prefix = f"{place['gateway']}:{place['account']}:"
    found = [told for charge in rows(charges) if (told := past_attempt(charge)) is not None]
    past = tuple((prefix + key, attempt) for key, attempt in found)
    country = text(part(customer.get("address")).get("country"))
    return PayerTold(_zone(customer), country, past, _label(customer, "segment"), _label(customer, "plan"))


async def _get(transport: ChargeTransport, path: str, timeouts: Timeouts) -> Json | None:
    reply = await transport.send(ChargeRequest("GET", path), timeouts=timeouts)
    if isinstance(reply, NoReply) or reply.status >= 500 or reply.status == 429:
        return None
    if reply.status != 200:
        # The gateway knows no such payer: that is an answer, and there is nothing to learn.
        return {}
    try:
        return read_json(reply.body)
    except Unreadable:
        # What stands between us and the gateway answered, not the gateway.
        return None


def _zone(customer: Json) -> str:
    name = text(part(customer.get("metadata")).get("timezone"))
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError):
        return ""


def _label(customer: Json, name: str) -> str:
    """Return a label that the tenant keeps in the customer's metadata; one too long for a policy's selector is none."""
    found = text(part(customer.get("metadata")).get(name))
    return found if len(found) <= LABEL_MAX and "\x00" not in found else ""


def past_attempt(charge: Json) -> tuple[str, PastAttempt] | None:
    """Read one past attempt from Stripe's charge object: (charge id, attempt); None when it is not one.

    Source: docs.stripe.com/api/charges/object, fields status, outcome, failure_code, payment_method_details.
    """
    outcome, approved = part(charge.get("outcome")), charge.get("status") == "succeeded"
    card = part(part(charge.get("payment_method_details")).get("card"))
    try:
        money = from_gateway("stripe", text(charge.get("currency")), integer(charge.get("amount"), "amount"))
        at = instant(charge.get("created"), "created")
    except Invalid:
        return None
    if not reference(charge) or not 0 < money.minor <= AMOUNT_MINOR_MAX:
        return None
    return reference(charge), PastAttempt(
        at=at,
        invoice_id=reference(charge.get("invoice")),
        amount_minor=money.minor,
        currency=money.currency,
        initiator=Initiator.MERCHANT,
        instrument_id=reference(charge.get("payment_method")),
        approved=approved,
        account_reference=text(card.get("fingerprint")) or None,
        token=reference(charge.get("payment_method")) or None,
        origin=Origin.GATEWAY,
        network_code=None if approved else text(outcome.get("network_decline_code")) or None,
        advice_code=None if approved else text(outcome.get("network_advice_code")) or None,
        gateway_code=None if approved else text(outcome.get("reason")) or text(charge.get("failure_code")) or None,
    )


async def remember(tx: Tx, case_id: str, told: PayerTold) -> None:
    """Write past attempts that nobody told us of."""
    case = await store.case_for_update(tx, case_id)
    if case is None:
        return
    await store.log_attempts(tx, case.place, told.past, store.FETCHED)
