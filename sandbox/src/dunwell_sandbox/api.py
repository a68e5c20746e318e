"""The calls of Stripe's API that a recovery needs.

Owns: paths and parameters. Refuses: everything else, with Stripe's 404.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dunwell_kit.clock import Clock
from dunwell_sandbox.gateway import Answer, Gateway, Refused, error
from dunwell_sandbox.model import Invoice
from dunwell_sandbox.opening import Opening
from dunwell_sandbox.shapes import Json, listed
from dunwell_sandbox.wire import Fields, Wire

# Source: Stripe's pagination reference: 10 by default, at most 100.
_PAGE, _PAGE_MAX = 10, 100


class Api:
    """Stripe's calls over a gateway."""

    def __init__(self, gateway: Gateway, opening: Opening, wire: Wire, clock: Clock, account: str) -> None:
        self._gateway = gateway
        self._opening = opening
        self._wire = wire
        self._clock = clock
        self._account = account

    def routes(self) -> list[Route]:
        """Return the routes; a change is a POST, a look a GET."""
        changes = {
            "/v1/invoices/{id}/pay": self._pay,
            "/v1/invoices/{id}/void": self._void,
            "/v1/payment_intents/{id}/confirm": self._confirm,
            "/v1/refunds": self._refund,
        }
        looks = {
            "/v1/account": self._account_shape,
            "/v1/invoices": self._invoices,
            "/v1/invoices/{id}": self._invoice,
            "/v1/invoice_payments": self._invoice_payments,
            "/v1/payment_intents": self._intents,
            "/v1/payment_intents/{id}": self._intent,
            "/v1/customers/{id}": self._customer,
            "/v1/customers/{id}/payment_methods": self._customer_methods,
            "/v1/payment_methods/{id}": self._method,
            "/v1/charges": self._charges,
            "/v1/events": self._events,
        }
        routes = [Route(path, self._changing(call), methods=["POST"]) for path, call in changes.items()]
        routes += [Route(path, self._looking(call), methods=["GET"]) for path, call in looks.items()]
        return [*routes, Route("/v1/{rest:path}", self._unknown, methods=["GET", "POST", "DELETE"])]

    def _changing(self, call: Callable[[str, Fields, str | None], Answer]) -> Callable[..., object]:
        async def endpoint(request: Request) -> Response:
            subject = request.path_params.get("id", "")
            return await self._wire.changing(request, lambda fields, key: call(subject, fields, key))

        return endpoint

    def _looking(self, call: Callable[[str, Fields], Json]) -> Callable[..., object]:
        async def endpoint(request: Request) -> Response:
            subject = request.path_params.get("id", "")
            return self._wire.looking(request, lambda fields: (200, call(subject, fields)))

        return endpoint

    async def _unknown(self, request: Request) -> Response:
        told = f"Unrecognized request URL ({request.method}: {request.url.path})."
        return self._wire.looking(request, lambda _: (404, error("invalid_request_error", told)))

    def _current(self, invoice: Invoice) -> Invoice:
        self._opening.advance(invoice, self._clock.now())
        return invoice

    def _pay(self, subject: str, fields: Fields, key: str | None) -> Answer:
        invoice = self._current(self._gateway.invoice(subject))
        off_session = fields.get("off_session", "true") != "false"
        return self._gateway.pay(invoice, fields.get("payment_method"), off_session=off_session, key=key)

    def _confirm(self, subject: str, fields: Fields, key: str | None) -> Answer:
        invoice = self._current(self._gateway.by_intent(subject))
        if invoice.status != "open":
            told = f"You cannot confirm this PaymentIntent because it is {invoice.status}."
            return 400, error("invalid_request_error", told, code="payment_intent_unexpected_state")
        off_session = fields.get("off_session", "false") != "false"
        answer = self._gateway.pay(invoice, fields.get("payment_method"), off_session=off_session, key=key)
        return (200, self._intent_shape(invoice)) if answer[0] == 200 else answer

    def _void(self, subject: str, fields: Fields, key: str | None) -> Answer:
        invoice = self._current(self._gateway.invoice(subject))
        return self._gateway.void(invoice, self._clock.now(), key=key)

    def _refund(self, subject: str, fields: Fields, key: str | None) -> Answer:
        charge = fields.get("charge")
        if charge is None:
            invoice = self._gateway.by_intent(fields.get("payment_intent", ""))
            approved = [each for each in invoice.attempts if each.approved]
            if not approved:
                raise Refused(400, "This PaymentIntent does not have a successful charge to refund.")
            charge = invoice.charge(approved[-1])
        return self._gateway.refund(charge, _number(fields, "amount"), key=key)

    def _account_shape(self, subject: str, fields: Fields) -> Json:
        return {"id": self._account, "object": "account", "country": "US", "default_currency": "usd"}

    def _invoice_shape(self, invoice: Invoice) -> Json:
        return self._gateway.shapes.invoice(invoice, self._gateway.customers[invoice.customer])

    def _intent_shape(self, invoice: Invoice) -> Json:
        gateway = self._gateway
        return gateway.shapes.intent(invoice, gateway.customers[invoice.customer], gateway.methods)

    def _invoice(self, subject: str, fields: Fields) -> Json:
        return self._invoice_shape(self._current(self._gateway.invoice(subject)))

    def _invoices(self, subject: str, fields: Fields) -> Json:
        found = [each for each in self._of_customer(fields) if fields.get("status") in (None, each.status)]
        return _page([self._invoice_shape(each) for each in found], fields, "/v1/invoices")

    def _invoice_payments(self, subject: str, fields: Fields) -> Json:
        if intent := fields.get("payment[payment_intent]"):
            found = [self._gateway.by_intent(intent)]
        else:
            found = [self._gateway.invoice(fields.get("invoice", ""))]
        shapes = [self._gateway.shapes.invoice_payment(self._current(each)) for each in found]
        return _page(shapes, fields, "/v1/invoice_payments")

    def _intent(self, subject: str, fields: Fields) -> Json:
        return self._intent_shape(self._current(self._gateway.by_intent(subject)))

    def _intents(self, subject: str, fields: Fields) -> Json:
        shapes = [self._intent_shape(each) for each in self._of_customer(fields)]
        return _page(shapes, fields, "/v1/payment_intents")

    def _of_customer(self, fields: Fields) -> list[Invoice]:
        wanted = fields.get("customer")
        found = [each for each in self._gateway.invoices.values() if wanted in (None, each.customer)]
        newest_first = sorted(found, key=lambda each: (each.created, each.id), reverse=True)
        return [self._current(each) for each in newest_first]

    def _customer(self, subject: str, fields: Fields) -> Json:
        return self._gateway.shapes.customer(self._gateway.customer(subject))

    def _customer_methods(self, subject: str, fields: Fields) -> Json:
        customer = self._gateway.customer(subject)
        for invoice in self._of_customer({"customer": subject}):
            self._current(invoice)
        owned = [each for each in self._gateway.methods.values() if each.customer == subject]
        newest_first = sorted(owned, key=lambda each: (each.created, each.id), reverse=True)
        shapes = [self._gateway.shapes.method(each, customer) for each in newest_first]
        kind = fields.get("type")
        url = f"/v1/customers/{subject}/payment_methods"
        return _page([each for each in shapes if kind in (None, each["type"])], fields, url)

    def _method(self, subject: str, fields: Fields) -> Json:
        method = self._gateway.methods.get(subject)
        if method is None:
            raise Refused(404, f"No such PaymentMethod: '{subject}'", code="resource_missing", param="id")
        return self._gateway.shapes.method(method, self._gateway.customers[method.customer])

    def _charges(self, subject: str, fields: Fields) -> Json:
        for invoice in self._of_customer(fields) if "customer" in fields else ():
            self._current(invoice)
        found = self._gateway.charges(fields.get("payment_intent"), fields.get("customer"))
        return _page(found, fields, "/v1/charges")

    def _events(self, subject: str, fields: Fields) -> Json:
        since = _number(fields, "created[gte]") or 0
        limit = _limit(fields)
        found, more = self._gateway.store.events(fields.get("type"), fields.get("starting_after"), since, limit)
        return listed(found, "/v1/events", has_more=more)


def _page(shapes: list[Json], fields: Fields, url: str) -> Json:
    ids = [each["id"] for each in shapes]
    after = fields.get("starting_after")
    start = ids.index(after) + 1 if after in ids else 0
    limit = _limit(fields)
    return listed(shapes[start : start + limit], url, has_more=len(shapes) > start + limit)


def _limit(fields: Fields) -> int:
    limit = _number(fields, "limit")
    return _PAGE if limit is None else max(1, min(limit, _PAGE_MAX))


def _number(fields: Fields, name: str) -> int | None:
    raw = fields.get(name)
    if raw is None:
        return None
    if not raw.isdecimal():
        raise Refused(400, f"Invalid integer: {raw}", code="parameter_invalid_integer", param=name)
    return int(raw)


def instant(raw: object) -> datetime:
    """Return an aware instant from ISO 8601; Refused when it is none."""
    try:
        at = datetime.fromisoformat(str(raw))
    except ValueError as wrong:
        raise Refused(400, f"{raw!r} is no ISO 8601 instant", param="until") from wrong
    if at.tzinfo is None:
        raise Refused(400, f"{raw!r} names no time zone", param="until")
    return at
