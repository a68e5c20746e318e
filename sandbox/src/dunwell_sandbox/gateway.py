"""The gateway's rules: invoices are charged at most once, every charge is told by events.

Owns: state changes and the events they cause. Refuses: HTTP; every answer is a status and a JSON body.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dunwell_kit.chance import uniform
from dunwell_kit.clock import Clock
from dunwell_sandbox import model, shapes
from dunwell_sandbox.declines import spoken
from dunwell_sandbox.model import Attempt, Customer, Invoice, Method, Origin
from dunwell_sandbox.settings import SandboxSettings
from dunwell_sandbox.shapes import Json, Shapes
from dunwell_sandbox.stage import Stage
from dunwell_sandbox.store import Store

Answer = tuple[int, Json]
# Held back long enough that the next events of the same failure overtake it, short enough for a time-lapse.
_DISORDER_SECONDS = (0.01, 0.04)
_DUPLICATE_SECONDS = (0.0, 0.03)


class Refused(Exception):
    """A request that Stripe answers with an error and that changes nothing."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", **more: Any) -> None:
        super().__init__(message)
        self.answer: Answer = (status, error(kind, message, **more))


def error(kind: str, message: str, **more: Any) -> Json:
    """Return Stripe's error body."""
    return {"error": {"type": kind, "message": message, **more}}


class Gateway:
    """Everything that the API and the world do to invoices; each public method is one transaction."""

    def __init__(self, store: Store, stage: Stage, settings: SandboxSettings, clock: Clock) -> None:
        self.store = store
        self.stage = stage
        self.shapes = Shapes(basil=settings.basil)
        self.invoices = {each.id: each for each in map(model.invoice_from, store.all("invoice"))}
        self.customers = {each.id: each for each in map(model.customer_from, store.all("customer"))}
        self.methods = {each.id: each for each in map(model.method_from, store.all("method"))}
        self._settings = settings
        self._clock = clock

    def invoice(self, invoice_id: str) -> Invoice:
        """Return an invoice as it stands now, its payer's doings included; Refused when unknown."""
        found = self.invoices.get(invoice_id)
        if found is None:
            raise Refused(404, f"No such invoice: '{invoice_id}'", code="resource_missing", param="id")
        return found

    def by_intent(self, intent: str) -> Invoice:
        """Return the invoice of a payment intent; Refused when unknown."""
        found = self.invoices.get("in_" + intent.removeprefix("pi_"))
        if found is None:
            raise Refused(404, f"No such payment_intent: '{intent}'", code="resource_missing", param="intent")
        return found

    def customer(self, customer_id: str) -> Customer:
        """Return a customer; Refused when unknown."""
        found = self.customers.get(customer_id)
        if found is None:
            raise Refused(404, f"No such customer: '{customer_id}'", code="resource_missing", param="id")
        return found

    def pay(self, invoice: Invoice, method_id: str | None, *, off_session: bool, key: str | None) -> Answer:
        """Charge an open invoice; 402 when declined, 400 when it is not open. Call inside a transaction."""
        if invoice.status == "paid":
            return 400, error("invalid_request_error", "Invoice is already paid", code="invoice_already_paid")
        if invoice.status == "void":
            return 400, error(
                "invalid_request_error", "Invoice is voided and can't be paid", code="invoice_not_editable"
            )
        customer = self.customers[invoice.customer]
        method = self.methods.get(method_id or customer.default_method)
        if method is None or method.customer != customer.id:
            raise Refused(400, f"No such PaymentMethod: '{method_id}'", code="resource_missing", param="payment_method")
        now = self._clock.now()
        failure = self.stage.failures[invoice.world_id]
        result = self.stage.attempt(
            invoice.world_id, now, method.instrument_id, failure.routes[0], "merchant" if off_session else "payer"
        )
        declined = None if result.approved or result.decline is None else spoken(result.decline)
        attempt = self.add_attempt(invoice, method, now, declined, origin="api", key=key)
        if attempt.approved:
            return 200, self.shapes.invoice(invoice, customer)
        return 402, {
            "error": {
                **self.shapes.payment_error(invoice, attempt, customer, self.methods),
                "payment_intent": self.shapes.intent(invoice, customer, self.methods),
            }
        }

    def add_attempt(
        self,
        invoice: Invoice,
        method: Method,
        at: datetime,
        declined: dict[str, str | None] | None,
        *,
        origin: Origin,
        key: str | None = None,
    ) -> Attempt:
        """Write one attempt, its truth and its events. Call inside a transaction."""
        number, second = len(invoice.attempts) + 1, int(at.timestamp())
        attempt = Attempt(number, second, method.id, declined is None, origin, declined, key)
        invoice.attempts.append(attempt)
        if attempt.approved:
            invoice.status, invoice.closed_at = "paid", second
        self._keep_truth(invoice, attempt, method, at)
        self.keep(invoice)
        customer = self.customers[invoice.customer]
        charge = self.shapes.charge(invoice, attempt, customer, self.methods)
        intent = self.shapes.intent(invoice, customer, self.methods)
        bill = self.shapes.invoice(invoice, customer)
        told = (
            [
                ("charge.succeeded", charge),
                ("payment_intent.succeeded", intent),
                ("invoice.paid", bill),
                ("invoice.payment_succeeded", bill),
            ]
            if attempt.approved
            else [
                ("charge.failed", charge),
                ("payment_intent.payment_failed", intent),
                ("invoice.payment_failed", bill),
            ]
        )
        for kind, subject in told:
            # A payer at the hosted page makes a request of his own, which has an id and no key.
            self.emit(kind, subject, second, occurrence=str(number), key=key, requested=origin != "biller")
        return attempt

    def void(self, invoice: Invoice, at: datetime, *, key: str | None = None) -> Answer:
        """Void an open invoice; 400 otherwise. Call inside a transaction."""
        if invoice.status != "open":
            return 400, error("invalid_request_error", f"You can't void an invoice that is {invoice.status}.")
        invoice.status, invoice.closed_at = "void", int(at.timestamp())
        self.keep(invoice)
        bill = self.shapes.invoice(invoice, self.customers[invoice.customer])
        self.emit("invoice.voided", bill, invoice.closed_at, occurrence="void", key=key)
        return 200, bill

    def refund(self, charge_id: str, amount_minor: int | None, *, key: str | None) -> Answer:
        """Refund an approved charge, wholly when no amount is given. Call inside a transaction."""
        invoice, attempt = self._charged(charge_id)
        left = invoice.amount_minor - attempt.refunded_minor
        amount = left if amount_minor is None else amount_minor
        if not attempt.approved or not 0 < amount <= left:
            code = "charge_already_refunded" if attempt.approved and left == 0 else "parameter_invalid_integer"
            return 400, error("invalid_request_error", f"Charge {charge_id} has {left} left to refund.", code=code)
        attempt.refunded_minor += amount
        self.keep(invoice)
        at = int(self._clock.now().timestamp())
        charge = self.shapes.charge(invoice, attempt, self.customers[invoice.customer], self.methods)
        self.emit("charge.refunded", charge, at, occurrence=f"r{attempt.refunded_minor}", key=key)
        return 200, shapes.refund(invoice, attempt, amount, at, attempt.refunded_minor)

    def charges(self, intent: str | None, customer_id: str | None) -> list[Json]:
        """Return charges of an intent or a customer, newest first; a customer's old payments are among them."""
        found: list[Json] = []
        for invoice in self.invoices.values():
            if intent in (None, invoice.intent) and customer_id in (None, invoice.customer):
                owner = self.customers[invoice.customer]
                found += [self.shapes.charge(invoice, each, owner, self.methods) for each in invoice.attempts]
        if customer_id is not None and intent is None:
            owner = self.customer(customer_id)
            found += [self.shapes.past_charge(owner, number) for number in range(len(owner.history))]
        return sorted(found, key=lambda charge: (charge["created"], charge["id"]), reverse=True)

    def emit(
        self, kind: str, subject: Json, at: int, *, occurrence: str, key: str | None = None, requested: bool = False
    ) -> None:
        """Keep an event for delivery. Call inside a transaction."""
        version, seed = self._settings.api_version, self._settings.seed
        asked = requested or key is not None
        event = shapes.event(kind, subject, at=at, occurrence=occurrence, api_version=version, key=key, requested=asked)
        holds = [(_between(_DISORDER_SECONDS, seed, "hold", event["id"]), False)]
        if uniform(seed, "disorder", event["id"]) >= self._settings.disorder_rate:
            holds = [(0.0, False)]
        if uniform(seed, "duplicate", event["id"]) < self._settings.duplicate_rate:
            holds.append((_between(_DUPLICATE_SECONDS, seed, "again", event["id"]), True))
        self.store.add_event(event, holds=holds)

    def keep(self, value: Invoice | Customer | Method) -> None:
        """Write a record through to the store. Call inside a transaction."""
        kind = type(value).__name__.lower()
        self.store.put(kind, value.id, model.to_record(value))

    def _charged(self, charge_id: str) -> tuple[Invoice, Attempt]:
        invoice = self.invoices.get("in_" + charge_id.removeprefix("ch_").rpartition("n")[0])
        for attempt in invoice.attempts if invoice else ():
            if invoice and invoice.charge(attempt) == charge_id:
                return invoice, attempt
        raise Refused(404, f"No such charge: '{charge_id}'", code="resource_missing", param="charge")

    def _keep_truth(self, invoice: Invoice, attempt: Attempt, method: Method, at: datetime) -> None:
        if attempt.origin == "biller":
            return
        self.store.append(
            "truth",
            {
                "invoice_id": invoice.id,
                "payment_intent": invoice.intent,
                "charge": invoice.charge(attempt),
                "amount_minor": invoice.amount_minor,
                "currency": invoice.currency,
                "at": at.astimezone(UTC).isoformat(),
                "idempotency_key": attempt.key,
                "instrument_id": method.instrument_id,
                "payment_method": method.id,
                "origin": attempt.origin,
                "approved": attempt.approved,
            },
        )


def _between(bounds: tuple[float, float], *parts: object) -> float:
    low, high = bounds
    return low + (high - low) * uniform(*parts)
