"""What the world does by itself: invoices fail, payers act, messages arrive.

Owns: turning a world's answers into the gateway's state. Refuses: what the API asks for; see gateway.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dunwell_kit.clock import Clock
from dunwell_sandbox.declines import spoken
from dunwell_sandbox.gateway import Gateway
from dunwell_sandbox.model import Customer, Invoice, Method
from dunwell_sandbox.people import person
from dunwell_sandbox.shapes import Json
from dunwell_worlds.protocol import ActionKind, FailedInvoice, Instrument, PayerAction


class Opening:
    """Lets the world go on, up to an instant."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        failures = gateway.stage.failures.values()
        self._failures = sorted(failures, key=lambda each: (each.failed_at, each.invoice_id))
        payers = dict.fromkeys(each.payer_id for each in failures)
        self._payer_numbers = {payer: number for number, payer in enumerate(payers, 1)}
        # Failures come in order, so the invoices known are the first so many.
        self._opened = len(gateway.invoices)
        kept = gateway.store.one("opened", "until")
        if kept is not None:
            # Looks that found nothing are not written one by one.
            for invoice in gateway.invoices.values():
                invoice.looked_until = max(invoice.looked_until, kept["until"])

    def open(self, until: datetime) -> dict[str, int]:
        """Produce everything that happens up to an instant, inclusive; safe to call again."""
        gateway, failed, acted = self._gateway, 0, 0
        with gateway.store.transaction():
            while self._opened < len(self._failures) and self._failures[self._opened].failed_at <= until:
                self._fail(self._failures[self._opened])
                self._opened += 1
                failed += 1
            for invoice in gateway.invoices.values():
                acted += self.advance(invoice, until)
            gateway.store.put("opened", "until", {"until": until.astimezone(UTC).isoformat()})
        return {"failed": failed, "acted": acted}

    def advance(self, invoice: Invoice, until: datetime) -> int:
        """Let one payer act up to an instant; returns the number of acts. Call inside a transaction.

        The API calls it before it looks at an invoice, so that answers do not depend on who was asked first.
        """
        after = datetime.fromisoformat(invoice.looked_until)
        if invoice.status != "open" or until <= after:
            return 0
        stage, acted = self._gateway.stage, 0
        if stage.can_act(invoice.world_id, after, until):
            for action in stage.actions(invoice.world_id, after, until):
                if invoice.status == "open":
                    self._act(invoice, action)
                    acted += 1
        invoice.looked_until = until.astimezone(UTC).isoformat()
        if acted:
            self._gateway.keep(invoice)
        return acted

    def next_at(self) -> datetime | None:
        """Return when the world has something to do next, None when it never has again."""
        coming = [self._failures[self._opened].failed_at] if self._opened < len(self._failures) else []
        for invoice in self._gateway.invoices.values():
            if invoice.status == "open":
                after = datetime.fromisoformat(invoice.looked_until)
                at = self._gateway.stage.next_action_at(invoice.world_id, after)
                coming += [at] if at is not None else []
        return min(coming, default=None)

    def message(self, message_id: str, message: Json) -> list[str]:
        """Keep a message and let it reach the payers of the invoices it names; returns those reached."""
        gateway, now, reached = self._gateway, self._clock.now(), []
        known = [gateway.invoices[each] for each in message["invoices"] if each in gateway.invoices]
        with gateway.store.transaction():
            for invoice in known:
                self.advance(invoice, now)
                if invoice.status == "open":
                    reached.append(invoice)
            stamped = {**message, "at": now.isoformat(), "reached": [each.id for each in reached]}
            if not gateway.store.add_message(message_id, stamped):
                return []
            for invoice in reached:
                # From here on the payer's future is another one.
                invoice.looked_until = max(invoice.looked_until, now.isoformat())
                gateway.keep(invoice)
                gateway.stage.deliver(invoice.world_id, now, message["channel"], message["tone"], message["kind"])
        return [each.id for each in reached]

    def _fail(self, failure: FailedInvoice) -> None:
        gateway = self._gateway
        customer = self._customer(failure)
        invoice = Invoice(
            id=f"in_{_plain(failure.invoice_id)}",
            world_id=failure.invoice_id,
            customer=customer.id,
            number=f"INV-{self._opened + 1:05d}",
            amount_minor=failure.amount_minor,
            currency=failure.currency,
            created=int(failure.due_at.timestamp()),
            looked_until=failure.failed_at.astimezone(UTC).isoformat(),
        )
        gateway.invoices[invoice.id] = invoice
        method = gateway.methods[f"pm_{_plain(failure.instruments[0].instrument_id)}"]
        gateway.add_attempt(invoice, method, failure.failed_at, spoken(failure.decline), origin="biller")

    def _customer(self, failure: FailedInvoice) -> Customer:
        gateway, suffix = self._gateway, _plain(failure.payer_id)
        known = gateway.customers.get(f"cus_{suffix}")
        first = failure.history[0].at if failure.history else failure.due_at
        created = int(first.timestamp())
        methods = [self._method(each, f"cus_{suffix}", created) for each in failure.instruments]
        if known is None:
            country = failure.instruments[0].country
            number = self._payer_numbers[failure.payer_id]
            who = person(failure.payer_id, number, country)
            known = Customer(
                id=f"cus_{suffix}",
                name=who.name,
                email=who.email,
                locale=who.locale,
                country=country,
                timezone=failure.timezone,
                created=created,
                subscription=f"sub_{suffix}",
                default_method=methods[0].id,
                history=[
                    {
                        "at": int(past.at.timestamp()),
                        "amount_minor": past.amount_minor,
                        "currency": failure.currency,
                        "approved": past.approved,
                        "decline": spoken(past.decline) if past.decline else None,
                    }
                    for past in failure.history
                ],
            )
            gateway.customers[known.id] = known
            gateway.keep(known)
        return known

    def _method(self, instrument: Instrument, customer: str, created: int, edition: int = 0) -> Method:
        ending = f"u{edition}" if edition else ""
        method = Method(
            id=f"pm_{_plain(instrument.instrument_id)}{ending}",
            customer=customer,
            instrument_id=instrument.instrument_id,
            kind=instrument.kind,
            network=instrument.network,
            funding=instrument.funding,
            country=instrument.country,
            expires=instrument.expires,
            last4=f"{int.from_bytes(instrument.instrument_id.encode()) * 7919 % 10000 + edition:04d}"[-4:],
            created=created,
        )
        if method.id not in self._gateway.methods:
            self._gateway.methods[method.id] = method
            self._gateway.keep(method)
        return self._gateway.methods[method.id]

    def _act(self, invoice: Invoice, action: PayerAction) -> None:
        gateway, at = self._gateway, int(action.at.timestamp())
        customer = gateway.customers[invoice.customer]
        told = {"invoice_id": invoice.id, "kind": str(action.kind), "at": action.at.isoformat()}
        gateway.store.append("actions", told)
        if action.kind == ActionKind.FIXED_METHOD:
            self._replace_method(invoice, customer, at)
        elif action.kind == ActionKind.PAID:
            method = gateway.methods[customer.default_method]
            gateway.add_attempt(invoice, method, action.at, None, origin="payer")
        elif action.kind == ActionKind.CANCELED:
            customer.canceled_at = at
            gateway.keep(customer)
            subscription = gateway.shapes.subscription(customer)
            gateway.emit("customer.subscription.deleted", subscription, at, occurrence=invoice.id)
            gateway.void(invoice, action.at)

    def _replace_method(self, invoice: Invoice, customer: Customer, at: int) -> None:
        """Attach a new method that stands for the same instrument, which the world holds to be good now."""
        gateway = self._gateway
        old = gateway.methods[customer.default_method]
        failure = gateway.stage.failures[invoice.world_id]
        instrument = next(each for each in failure.instruments if each.instrument_id == old.instrument_id)
        edition = sum(each.instrument_id == old.instrument_id for each in gateway.methods.values())
        expires = (instrument.expires[0] + 4, instrument.expires[1]) if instrument.expires else None
        renewed = Instrument(**{**vars(instrument), "expires": expires})
        method = self._method(renewed, customer.id, at, edition)
        customer.default_method = method.id
        gateway.keep(customer)
        gateway.emit("payment_method.attached", gateway.shapes.method(method, customer), at, occurrence=method.id)
        gateway.emit("customer.updated", gateway.shapes.customer(customer), at, occurrence=method.id)


def _plain(name: str) -> str:
    """Return what follows an id's prefix, in letters and digits as in Stripe's ids."""
    return re.sub(r"[^0-9A-Za-z]", "x", re.sub(r"^[a-z]+_", "", name))
