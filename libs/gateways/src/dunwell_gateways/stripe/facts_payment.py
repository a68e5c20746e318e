"""What Stripe's payment intent, charge, refund, dispute and fraud-warning events tell.

Owns: those object families. Refuses: invoices and payers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dunwell_gateways.port import InstrumentFacts, Kind, Observation, RawDecline
from dunwell_gateways.stripe.shapes import charge_decline, error_decline, instrument, money
from dunwell_gateways.stripe.told import Told
from dunwell_gateways.wire import integer, part, reference, rows, text


def _intent(told: Told, kind: Kind, amount: str) -> Observation:
    intent = told.subject
    error = part(intent.get("last_payment_error")) if kind is not Kind.PAYMENT_SUCCEEDED else {}
    embedded = rows(intent.get("charges"))
    method = error.get("payment_method") or intent.get("payment_method")
    value = intent.get(amount, intent.get("amount"))
    usage = intent.get("off_session")
    decline = error_decline(error) if error else RawDecline()
    newest = embedded[0] if embedded else {}
    if kind is Kind.PAYMENT_FAILED and not decline.network_code and newest:
        theirs = charge_decline(newest)
        decline = RawDecline(
            decline.gateway_code or theirs.gateway_code,
            theirs.network_code,
            decline.advice_code or theirs.advice_code,
            decline.message or theirs.message,
        )
    facts = instrument(method)
    if facts == InstrumentFacts():
        facts = instrument(newest.get("payment_method_details"))
    return Observation(
        kind=kind,
        occurred_at=told.occurred_at,
        payer_id=reference(intent.get("customer")),
        invoice_id=reference(intent.get("invoice")),
        payment_id=told.id(),
        charge_id=reference(error.get("charge")) or reference(intent.get("latest_charge")) or reference(newest),
        instrument_id=reference(method),
        money=money(value, intent.get("currency"), amount),
        decline=decline,
        instrument=facts,
        off_session=usage if isinstance(usage, bool) else None,
        status=text(intent.get("status")),
    )


def _failed(told: Told) -> Sequence[Observation]:
    return (_intent(told, Kind.PAYMENT_FAILED, "amount"),)


def _succeeded(told: Told) -> Sequence[Observation]:
    return (_intent(told, Kind.PAYMENT_SUCCEEDED, "amount_received"),)


def _processing(told: Told) -> Sequence[Observation]:
    return (_intent(told, Kind.PAYMENT_PENDING, "amount"),)


def _requires_action(told: Told) -> Sequence[Observation]:
    return (_intent(told, Kind.PAYMENT_ACTION_REQUIRED, "amount"),)


def _canceled(told: Told) -> Sequence[Observation]:
    return (_intent(told, Kind.PAYMENT_CANCELED, "amount"),)


def _charge(told: Told, kind: Kind, amount: str = "amount") -> Observation:
    charge = told.subject
    method = charge.get("payment_method") or charge.get("source")
    facts = instrument(charge.get("payment_method_details"))
    return Observation(
        kind=kind,
        occurred_at=told.occurred_at,
        payer_id=reference(charge.get("customer")),
        invoice_id=reference(charge.get("invoice")),
        payment_id=reference(charge.get("payment_intent")),
        charge_id=told.id(),
        instrument_id=reference(method),
        money=money(charge.get(amount), charge.get("currency"), amount),
        decline=charge_decline(charge) if kind is Kind.PAYMENT_FAILED else RawDecline(),
        instrument=facts if facts != InstrumentFacts() else instrument(charge.get("source")),
        status=text(charge.get("status")),
    )


def _charge_failed(told: Told) -> Sequence[Observation]:
    return (_charge(told, Kind.PAYMENT_FAILED),)


def _charge_succeeded(told: Told) -> Sequence[Observation]:
    # Not captured = only authorised: no money moved yet; charge.captured follows.
    if told.subject.get("captured") is False:
        return ()
    return (_charge(told, Kind.PAYMENT_SUCCEEDED),)


def _charge_captured(told: Told) -> Sequence[Observation]:
    amount = "amount_captured" if "amount_captured" in told.subject else "amount"
    return (_charge(told, Kind.PAYMENT_SUCCEEDED, amount),)


def _charge_pending(told: Told) -> Sequence[Observation]:
    return (_charge(told, Kind.PAYMENT_PENDING),)


def _charge_expired(told: Told) -> Sequence[Observation]:
    return (_charge(told, Kind.PAYMENT_CANCELED),)


def _refunded(told: Told) -> Sequence[Observation]:
    """`amount_refunded` is the sum so far: this refund is what it grew by."""
    total = integer(told.subject.get("amount_refunded"), "amount_refunded")
    before = told.previous.get("amount_refunded", 0)
    grown = total - integer(before, "previous_attributes.amount_refunded")
    if grown <= 0:
        return ()
    base = _charge(told, Kind.PAYMENT_REFUNDED)
    listed = rows(told.subject.get("refunds"))
    refund = reference(listed[0]) if listed else f"{base.charge_id}:{total}"
    value = money(grown, told.subject.get("currency"), "amount_refunded")
    return (replace(base, subject_id=refund, money=value, status="refunded"),)


def _refund(told: Told) -> Sequence[Observation]:
    status = text(told.subject.get("status"))
    kind = {"failed": Kind.REFUND_FAILED, "canceled": Kind.REFUND_FAILED, "pending": Kind.REFUND_PENDING}.get(status)
    return (_about(told, kind),) if kind else ()


def _refund_failed(told: Told) -> Sequence[Observation]:
    return (_about(told, Kind.REFUND_FAILED),)


def _about(told: Told, kind: Kind) -> Observation:
    """A fact about a refund or dispute: it names its charge, not its payer."""
    subject = told.subject
    return Observation(
        kind=kind,
        occurred_at=told.occurred_at,
        payment_id=reference(subject.get("payment_intent")),
        charge_id=reference(subject.get("charge")),
        subject_id=told.id(),
        money=money(subject.get("amount"), subject.get("currency"), "amount"),
        status=text(subject.get("status")),
    )


def _dispute(kind: Kind, withdrawn: bool | None = None) -> Callable[[Told], Sequence[Observation]]:
    def read(told: Told) -> Sequence[Observation]:
        status = text(told.subject.get("status"))
        return (
            replace(
                _about(told, kind),
                decline=RawDecline(gateway_code=text(told.subject.get("reason"))),
                inquiry=status.startswith("warning_"),
                funds_withdrawn=withdrawn,
                # A closed inquiry took no money either.
                won=status in ("won", "warning_closed") if kind is Kind.DISPUTE_CLOSED else None,
            ),
        )

    return read


def _fraud_warning(told: Told) -> Sequence[Observation]:
    return (
        Observation(
            kind=Kind.FRAUD_WARNED,
            occurred_at=told.occurred_at,
            payment_id=reference(told.subject.get("payment_intent")),
            charge_id=reference(told.subject.get("charge")),
            subject_id=told.id(),
            status=text(told.subject.get("fraud_type")),
        ),
    )


READERS: dict[str, Callable[[Told], Sequence[Observation]]] = {
    "payment_intent.payment_failed": _failed,
    "payment_intent.succeeded": _succeeded,
    "payment_intent.processing": _processing,
    "payment_intent.requires_action": _requires_action,
    "payment_intent.canceled": _canceled,
    "charge.failed": _charge_failed,
    "charge.succeeded": _charge_succeeded,
    "charge.captured": _charge_captured,
    "charge.pending": _charge_pending,
    "charge.expired": _charge_expired,
    "charge.refunded": _refunded,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund_failed,
    "charge.dispute.created": _dispute(Kind.DISPUTE_OPENED),
    "charge.dispute.updated": _dispute(Kind.DISPUTE_UPDATED),
    "charge.dispute.funds_withdrawn": _dispute(Kind.DISPUTE_UPDATED, withdrawn=True),
    "charge.dispute.funds_reinstated": _dispute(Kind.DISPUTE_UPDATED, withdrawn=False),
    "charge.dispute.closed": _dispute(Kind.DISPUTE_CLOSED),
    "radar.early_fraud_warning.created": _fraud_warning,
}
