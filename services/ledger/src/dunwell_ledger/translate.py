"""Events to the books' facts, and journals back to events. Total both ways."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.journal.v1 import journal_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import instant, stamp
from dunwell_kit.money import Money
from dunwell_ledger.model import Fact, Journal, Subject

# Wire classes whose meaning is one fact with the invoice as its source object.
_INVOICE_FACTS: dict[type[Message], str] = {
    payment_pb2.PaymentFailed: "opened",
    payment_pb2.InvoiceOpened: "opened",
    payment_pb2.InvoiceChanged: "changed",
    payment_pb2.InvoiceVoided: "voided",
    payment_pb2.InvoiceMarkedUncollectible: "uncollectible",
}


def money_of(message: common_pb2.Money) -> Money:
    """Read an amount; UnknownCurrency if its code is none."""
    return Money(message.currency_code, message.minor_units)


def subject_of(origin: payment_pb2.Origin, case_id: str = "") -> Subject:
    """Read whose invoice an origin names."""
    return Subject(origin.tenant_id, origin.gateway, origin.account, origin.payer_id, origin.invoice_id, case_id)


def subject_of_case(case: recovery_pb2.CaseRef) -> Subject:
    """Read whose invoice a case is about."""
    return Subject(case.tenant_id, case.gateway, case.account, case.payer_id, case.invoice_id, case.case_id)


def facts_of(message: Message, event_id: str, made_at: datetime) -> list[Fact]:
    """Return what an event tells the books; empty when it tells them nothing."""
    if isinstance(message, recovery_pb2.ChargeSucceeded):
        return [_charge_succeeded(message, event_id, made_at)]
    if isinstance(message, recovery_pb2.RecoveryExhausted):
        subject = subject_of_case(message.case)
        money = money_of(message.remaining)
        return [Fact("exhausted", subject, money, f"{subject.item}:exhausted", made_at, (event_id,))]
    if isinstance(message, recovery_pb2.RecoveryOpened):
        subject = subject_of_case(message.case)
        at = instant(message, "failed_at") or made_at
        return [Fact("opened", subject, money_of(message.amount), f"{subject.item}:opened", at, (event_id,))]
    return _gateway_facts(message, event_id, made_at)


def _charge_succeeded(message: recovery_pb2.ChargeSucceeded, event_id: str, made_at: datetime) -> Fact:
    subject = subject_of_case(message.case)
    source = f"{subject.gateway}:{subject.account}:{message.payment_id or message.attempt_id}"
    at = instant(message, "occurred_at") or made_at
    return Fact("payment", subject, money_of(message.amount), source, at, (event_id, message.attempt_id))


def _gateway_facts(message: Message, event_id: str, made_at: datetime) -> list[Fact]:
    origin: payment_pb2.Origin = message.origin  # type: ignore[attr-defined]
    subject = subject_of(origin)
    at = instant(origin, "occurred_at") or made_at
    evidence = (event_id, *origin.gateway_event_ids)
    gateway = f"{origin.gateway}:{origin.account}"
    told = bool(message.amount.currency_code)  # type: ignore[attr-defined]
    money = money_of(message.amount) if told else None  # type: ignore[attr-defined]
    if isinstance(message, _DISPUTES):
        return _dispute_facts(message, subject, money, gateway, at, evidence)
    if money is None:
        # Nothing can be booked without an amount.
        return []
    what = _INVOICE_FACTS.get(type(message))
    if what is not None:
        if not subject.invoice_id:
            return []
        source = f"{subject.item}:{event_id}" if what == "changed" else f"{subject.item}:{what}"
        due_at = instant(message, "due_at") if isinstance(message, payment_pb2.InvoiceOpened) else None
        return [Fact(what, subject, money, source, at, evidence, due_at=due_at)]
    if isinstance(message, payment_pb2.PaymentSucceeded | payment_pb2.InvoicePaid):
        payment = origin.payment_id or origin.charge_id
        if payment and isinstance(message, payment_pb2.InvoicePaid) and subject.invoice_id:
            source = f"{subject.item}:paid"
            return [Fact("paid", subject, money, source, at, evidence, paid_by=f"{gateway}:{payment}")]
        if payment:
            return [Fact("payment", subject, money, f"{gateway}:{payment}", at, evidence)]
        return [Fact("paid", subject, money, f"{subject.item}:paid", at, evidence)] if subject.invoice_id else []
    if isinstance(message, payment_pb2.PaymentRefunded):
        return [Fact("refund", subject, money, f"{gateway}:{message.refund_id}", at, evidence)]
    return []


_DISPUTES = payment_pb2.DisputeOpened | payment_pb2.DisputeUpdated | payment_pb2.DisputeClosed


def _dispute_facts(
    message: payment_pb2.DisputeOpened | payment_pb2.DisputeUpdated | payment_pb2.DisputeClosed,
    subject: Subject,
    money: Money | None,
    gateway: str,
    at: datetime,
    evidence: tuple[str, ...],
) -> list[Fact]:
    dispute = f"{gateway}:{message.dispute_id}"
    if isinstance(message, payment_pb2.DisputeClosed):
        return [Fact("dispute_closed", subject, money, f"{dispute}:closed", at, evidence, won=message.won)]
    if isinstance(message, payment_pb2.DisputeOpened):
        # An inquiry is no dispute until money is withdrawn.
        return [] if message.inquiry else [Fact("disputed", subject, money, f"{dispute}:opened", at, evidence)]
    if message.funds_withdrawn:
        return [Fact("withdrawn", subject, money, f"{dispute}:withdrawn", at, evidence)]
    return []


def posted(journal: Journal, booked_at: datetime, case_id: str) -> journal_pb2.EntryPosted:
    """Return the event that tells of a posted journal."""
    subject = journal.subject
    return journal_pb2.EntryPosted(
        journal_id=str(journal.id),
        tenant_id=subject.tenant_id,
        case_id=case_id,
        payer_id=subject.payer_id,
        invoice_id=subject.invoice_id,
        kind=journal.kind.value,
        source_id=journal.source_id,
        currency_code=journal.currency,
        legs=[journal_pb2.Leg(account=leg.account, minor_units=leg.amount) for leg in journal.legs],
        effective_on=journal.effective_on.isoformat(),
        booked_at=stamp(booked_at),
        reason=common_pb2.Reason(rule=journal.rule, text=_SENTENCES[journal.kind.value], evidence=journal.evidence),
    )


_SENTENCES = {
    "invoice_opened": "The invoice became a receivable.",
    "invoice_changed": "The gateway changed what is due.",
    "invoice_voided": "The invoice was voided, so its opening is reversed as far as it was open.",
    "payment": "Money arrived and settles what is owed first.",
    "refund": "Money went back to the payer.",
    "dispute_withdrawn": "The gateway took disputed money back.",
    "dispute_closed": "The dispute ended.",
    "write_off": "What is still open is not expected to come.",
    "reversal": "An event that came late shows that an entry was wrong, so the entry is taken back.",
}
