"""One shape: load, decide, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC

from dunwell.common.v1 import common_pb2
from dunwell.journal.v1 import journal_pb2
from dunwell_kit import metrics
from dunwell_kit.database import Tx
from dunwell_kit.failpoints import failpoint
from dunwell_kit.messages import Handler, Received
from dunwell_kit.money import Money
from dunwell_ledger import store, translate
from dunwell_ledger.decide import currency_of, dated, decide, due, owed
from dunwell_ledger.model import Fact, Journal, Kind, Subject
from dunwell_ledger.policy import LedgerPolicy


class Books:
    """The ledger's handlers for one policy."""

    def __init__(self, policy: LedgerPolicy) -> None:
        self._policy = policy

    async def on_fact(self, tx: Tx, received: Received) -> None:
        """Book what an event tells."""
        for fact in translate.facts_of(received.message, received.envelope.id, received.envelope.time):
            await self._book(tx, fact, received)

    async def _book(self, tx: Tx, told: Fact, received: Received) -> None:
        fact = dated(told, self._policy)
        known = await store.note(tx, fact)
        missing = decide(known.facts, known.journals, self._policy, because=fact.evidence)
        posted = await store.post(tx, known.thread, missing, known.subject.case_id) if missing else []
        for journal in posted:
            _announce(tx, journal, received.envelope.key, known.subject.case_id)
        if known.item is not None:
            after = [*known.journals, *posted]
            currency = currency_of(after) or known.item.currency
            await store.settle_item(
                tx, known, replace(known.item, currency=currency, due=due(known.facts, self._policy))
            )
            if posted:
                _announce_balance(tx, known.subject, Money(currency, owed(after)), received.envelope.key)
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


def _announce_balance(tx: Tx, subject: Subject, balance: Money, key: str) -> None:
    tx.emit(
        journal_pb2.BalanceChanged(
            tenant_id=subject.tenant_id,
            payer_id=subject.payer_id,
            invoice_id=subject.invoice_id,
            case_id=subject.case_id,
            balance=common_pb2.Money(currency_code=balance.currency, minor_units=balance.minor),
        ),
        key=key,
        correlation_id=subject.case_id,
    )


def consumed(books: Books) -> Mapping[str, Handler]:
    """Return the table of what the ledger listens to."""
    return {
        "dunwell.payment.failed.v1": books.on_fact,
        "dunwell.payment.succeeded.v1": books.on_fact,
        "dunwell.payment.refunded.v1": books.on_fact,
        "dunwell.dispute.opened.v1": books.on_fact,
        "dunwell.dispute.updated.v1": books.on_fact,
        "dunwell.dispute.closed.v1": books.on_fact,
        "dunwell.invoice.opened.v1": books.on_fact,
        "dunwell.invoice.changed.v1": books.on_fact,
        "dunwell.invoice.paid.v1": books.on_fact,
        "dunwell.invoice.voided.v1": books.on_fact,
        "dunwell.invoice.marked_uncollectible.v1": books.on_fact,
        "dunwell.recovery.opened.v1": books.on_fact,
        "dunwell.charge.succeeded.v1": books.on_fact,
        "dunwell.recovery.exhausted.v1": books.on_fact,
    }
