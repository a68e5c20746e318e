"""One shape: load, decide, apply."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

from dunwell.common.v1 import common_pb2
from dunwell.journal.v1 import journal_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell_kit import metrics
from dunwell_kit.database import Tx
from dunwell_kit.failpoints import failpoint
from dunwell_kit.messages import Handler, Received
from dunwell_ledger import store, translate
from dunwell_ledger.decide import decide, due_on
from dunwell_ledger.model import Fact, Journal, Kind
from dunwell_ledger.policy import LedgerPolicy


class Books:
    """The ledger's handlers for one policy."""

    def __init__(self, policy: LedgerPolicy) -> None:
        self._policy = policy

    async def on_fact(self, tx: Tx, received: Received) -> None:
        """Book what an event tells."""
        for fact in translate.facts_of(received.message, received.envelope.id, received.envelope.time):
            await self._book(tx, fact, received)

    async def on_dispute(self, tx: Tx, received: Received) -> None:
        """Note that an invoice is, or is no longer, in dispute, and book what that moves."""
        message = received.message
        if isinstance(message, payment_pb2.DisputeOpened | payment_pb2.DisputeClosed):
            opened = isinstance(message, payment_pb2.DisputeOpened) and not message.inquiry
            await store.mark_disputed(tx, translate.subject_of(message.origin), opened)
        await self.on_fact(tx, received)

    async def _book(self, tx: Tx, fact: Fact, received: Received) -> None:
        item = await store.open_item(tx, fact.subject)
        if fact.what == "dispute_closed":
            item = await store.with_dispute(tx, item, fact)
        journals = decide(item, fact, self._policy)
        if journals or fact.what == "opened":
            await store.ensure_item(tx, fact, due_on(fact, self._policy))
        case_id = fact.subject.case_id or (item.subject.case_id if item else "")
        posted = await store.post(tx, journals, case_id) if journals else []
        for journal in posted:
            _announce(tx, journal, received.envelope.key, case_id)
        if posted and fact.subject.item:
            await _announce_balance(tx, fact, received.envelope.key, case_id)
        failpoint("ledger.before_commit")


def _announce(tx: Tx, journal: Journal, key: str, case_id: str) -> None:
    metrics.JOURNALS.labels(journal.kind.value).inc()
    event = translate.posted(journal, tx.now.astimezone(UTC), case_id)
    tx.emit(event, key=key, correlation_id=case_id, subject=str(journal.id))
    if journal.kind is Kind.WRITE_OFF:
        subject = journal.subject
        tx.emit(
            journal_pb2.InvoiceWrittenOff(
                tenant_id=subject.tenant_id,
                payer_id=subject.payer_id,
                invoice_id=subject.invoice_id,
                case_id=case_id,
                amount=common_pb2.Money(currency_code=journal.currency, minor_units=journal.legs[0].amount),
                reason=event.reason,
            ),
            key=key,
            correlation_id=case_id,
        )


async def _announce_balance(tx: Tx, fact: Fact, key: str, case_id: str) -> None:
    subject = fact.subject
    owed = await store.balance(tx, subject)
    tx.emit(
        journal_pb2.BalanceChanged(
            tenant_id=subject.tenant_id,
            payer_id=subject.payer_id,
            invoice_id=subject.invoice_id,
            case_id=case_id,
            balance=common_pb2.Money(currency_code=fact.money.currency, minor_units=owed),
        ),
        key=key,
        correlation_id=case_id,
    )


def consumed(books: Books) -> Mapping[str, Handler]:
    """Return the table of what the ledger listens to."""
    return {
        "dunwell.payment.failed.v1": books.on_fact,
        "dunwell.payment.succeeded.v1": books.on_fact,
        "dunwell.payment.refunded.v1": books.on_fact,
        "dunwell.dispute.opened.v1": books.on_dispute,
        "dunwell.dispute.updated.v1": books.on_dispute,
        "dunwell.dispute.closed.v1": books.on_dispute,
        "dunwell.invoice.opened.v1": books.on_fact,
        "dunwell.invoice.changed.v1": books.on_fact,
        "dunwell.invoice.paid.v1": books.on_fact,
        "dunwell.invoice.voided.v1": books.on_fact,
        "dunwell.invoice.marked_uncollectible.v1": books.on_fact,
        "dunwell.recovery.opened.v1": books.on_fact,
        "dunwell.charge.succeeded.v1": books.on_fact,
        "dunwell.recovery.exhausted.v1": books.on_fact,
    }
