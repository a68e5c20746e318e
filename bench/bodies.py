"""Signed webhooks and events that look like real ones: an `invoice.paid` of about 5 kB, as Stripe sends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

from google.protobuf.message import Message

from dunwell_gateways import registry
from dunwell_gateways.stripe.signing import HEADER, sign
from dunwell_gateways.stripe.specimens import event, invoice
from dunwell_ingest.translate import Source, event_of
from dunwell_kit.clock import SystemClock
from dunwell_kit.ids import new_secret

SECRET = "whsec_bench"
ACCOUNT = "acct_bench"
# As many payers as a small tenant has in one bad night: keys spread over all shards and partitions.
PAYERS = 500
_EVENT, _INVOICE, _PAYER = "evt_000000000000", "in_000000000000", "cus_00000000"


class Bodies:
    """Makes bodies that differ in event, invoice and payer."""

    def __init__(self) -> None:
        self._run = new_secret(4)
        self._numbers = count()
        template = event(
            "invoice.paid", invoice(id=_INVOICE, customer=_PAYER, status="paid", amount_paid=2000, lines=_lines()),
            id=_EVENT,
        ).decode()  # fmt: skip
        self._template = template

    def __next__(self) -> tuple[str, bytes]:
        """Return (event id, body)."""
        number = next(self._numbers)
        event_id = f"evt_{self._run}_{number}"
        body = self._template.replace(_EVENT, event_id).replace(_INVOICE, f"in_{self._run}_{number}")
        return event_id, body.replace(_PAYER, f"cus_{number % PAYERS}").encode()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return self


def _lines() -> dict[str, object]:
    """Return what makes most of a real invoice's bytes: its lines."""
    lines = [
        {
            "id": f"il_{n:020}",
            "object": "line_item",
            "amount": 500,
            "currency": "usd",
            "description": f"1 x Seat of the professional plan (at $5.00 / month), part {n}",
            "discountable": True,
            "discounts": [],
            "invoice": _INVOICE,
            "livemode": True,
            "metadata": {"seat": f"seat-{n}", "team": "billing", "order": f"ord-{n:08}"},
            "parent": {
                "type": "subscription_item_details",
                "subscription_item_details": {
                    "proration": False, "subscription": "sub_1", "subscription_item": f"si_{n:014}",
                },
            },
            "period": {"start": 1793268000, "end": 1795946400},
            "pricing": {
                "type": "price_details", "unit_amount_decimal": "500",
                "price_details": {"price": "price_000000000001", "product": "prod_000000000001"},
            },
            "quantity": 1,
            "taxes": [],
        }
        for n in range(5)
    ]  # fmt: skip
    return {"object": "list", "data": lines, "has_more": False, "total_count": len(lines), "url": "/v1/invoices/lines"}


class Requests:
    """Makes whole signed HTTP requests for one endpoint."""

    def __init__(self, host: str, path: str) -> None:
        self._bodies = Bodies()
        self._head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        self._clock = SystemClock()

    def __next__(self) -> tuple[str, bytes]:
        """Return (event id, the request's bytes), signed now."""
        event_id, body = next(self._bodies)
        signature = sign(body, SECRET, self._clock.now())
        return event_id, f"{self._head}{HEADER}: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def paid_event() -> Message:
    """Return the event that such a webhook becomes."""
    _, body = next(Bodies())
    (fact,) = registry.adapter("stripe").webhook.translate(body)
    source = Source("default", "stripe", ACCOUNT)
    source.add("evt_1", "dlv_1", datetime(2026, 3, 1, tzinfo=UTC))
    made = event_of(source, fact, ("", ""))
    assert made is not None
    return made
