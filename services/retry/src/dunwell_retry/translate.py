"""Events to retry's values, and decisions back to events. Total both ways."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import instant, stamp
from dunwell_retry.decide.outputs import (
    Canceled,
    Exhausted,
    Opened,
    Output,
    Paused,
    Planned,
    Resumed,
    Scheduled,
    Skipped,
    Succeeded,
    Why,
)
from dunwell_retry.model import Case, Decline, Method, Place
from dunwell_retry.rules.model import Initiator, Origin, PastAttempt

BY = {
    "retry": recovery_pb2.RECOVERED_BY_RETRY,
    "payer": recovery_pb2.RECOVERED_BY_PAYER,
    "gateway": recovery_pb2.RECOVERED_BY_GATEWAY,
    "self_cured": recovery_pb2.RECOVERED_BY_SELF_CURED,
}
ACTIONS = {
    "none": recovery_pb2.PAYER_ACTION_NONE,
    "wait": recovery_pb2.PAYER_ACTION_WAIT,
    "update_method": recovery_pb2.PAYER_ACTION_UPDATE_METHOD,
    "authenticate": recovery_pb2.PAYER_ACTION_AUTHENTICATE,
    "contact_bank": recovery_pb2.PAYER_ACTION_CONTACT_BANK,
    "pay_link": recovery_pb2.PAYER_ACTION_PAY_LINK,
}
_ORIGINS = {
    payment_pb2.TRIGGER_PAYER: Origin.PAYER,
    payment_pb2.TRIGGER_OPERATOR: Origin.OPERATOR,
    payment_pb2.TRIGGER_US: Origin.US,
}


def place_of(origin: payment_pb2.Origin) -> Place:
    """Read which invoice of whom an event is about."""
    return Place(
        origin.tenant_id, origin.gateway, origin.account, origin.payer_id, origin.invoice_id, origin.subscription_id
    )


def decline_of(message: payment_pb2.Decline) -> Decline:
    """Read a refusal."""
    return Decline(
        message.gateway_code,
        message.network_code,
        message.advice_code,
        message.message,
        message.reason or "unknown",
        message.data_edition,
    )


def method_of(facts: payment_pb2.InstrumentFacts, instrument_id: str) -> Method:
    """Read an instrument."""
    return Method(
        instrument_id=instrument_id,
        kind=facts.kind or "card",
        network=facts.network,
        funding=facts.funding or "none",
        country=facts.country,
        account_reference=facts.account_reference,
        expiry_month=facts.expiry_month,
        expiry_year=facts.expiry_year,
    )


def attempt_told(
    message: payment_pb2.PaymentFailed | payment_pb2.PaymentSucceeded, made_at: datetime
) -> tuple[str, PastAttempt]:
    """Read an attempt of anybody from what the gateway told of it; the first part is its natural key."""
    origin, approved = message.origin, isinstance(message, payment_pb2.PaymentSucceeded)
    at = instant(origin, "occurred_at") or made_at
    decline = None if isinstance(message, payment_pb2.PaymentSucceeded) else message.decline
    number = getattr(message, "attempt_number", 0)
    natural = origin.charge_id or f"{origin.payment_id or origin.invoice_id}:{number or int(at.timestamp())}"
    return f"{origin.gateway}:{origin.account}:{natural}", PastAttempt(
        at=at,
        invoice_id=origin.invoice_id,
        amount_minor=message.amount.minor_units,
        currency=message.amount.currency_code,
        initiator=Initiator.PAYER if message.trigger == payment_pb2.TRIGGER_PAYER else Initiator.MERCHANT,
        instrument_id=origin.instrument_id,
        approved=approved,
        account_reference=message.instrument.account_reference or None,
        token=origin.instrument_id or None,
        origin=_ORIGINS.get(message.trigger, Origin.GATEWAY),
        network_code=(decline.network_code or None) if decline else None,
        advice_code=(decline.advice_code or None) if decline else None,
        gateway_code=(decline.gateway_code or None) if decline else None,
        message=(decline.message or None) if decline else None,
    )


def case_ref(case: Case) -> recovery_pb2.CaseRef:
    """Return which case an event is about."""
    place = case.place
    return recovery_pb2.CaseRef(
        case_id=case.case_id,
        tenant_id=place.tenant_id,
        gateway=place.gateway,
        account=place.account,
        payer_id=place.payer_id,
        invoice_id=place.invoice_id,
        subscription_id=place.subscription_id,
    )


def reason_of(why: Why) -> common_pb2.Reason:
    """Return a reason for the wire."""
    return common_pb2.Reason(rule=why.rule, text=why.text, evidence=why.evidence, source=why.source)


def money_of(case: Case) -> common_pb2.Money:
    """Return what the case is about."""
    return common_pb2.Money(currency_code=case.currency, minor_units=case.amount_minor)


def decline_message(decline: Decline) -> payment_pb2.Decline:
    """Return a refusal for the wire."""
    return payment_pb2.Decline(
        gateway_code=decline.gateway_code,
        network_code=decline.network_code,
        advice_code=decline.advice_code,
        message=decline.message,
        reason=decline.reason,
        data_edition=decline.data_edition,
    )


def _opened(case: Case, output: Opened) -> Message:
    assignment, method = case.assignment, case.method
    return recovery_pb2.RecoveryOpened(
        case=case_ref(case),
        amount=money_of(case),
        decline=decline_message(case.decline),
        instrument=payment_pb2.InstrumentFacts(
            kind=method.kind,
            network=method.network,
            funding=method.funding,
            country=method.country,
            expiry_month=method.expiry_month,
            expiry_year=method.expiry_year,
            account_reference=method.account_reference,
        ),
        assignment=recovery_pb2.Assignment(
            experiment=assignment.experiment,
            version=assignment.version,
            arm=assignment.arm,
            propensity=assignment.propensity,
            policy_version=assignment.policy,
        ),
        failed_at=stamp(case.failed_at),
        reason=reason_of(output.why),
    )


def _planned(case: Case, output: Planned) -> Message:
    plan = case.plan
    assert plan is not None
    return recovery_pb2.RecoveryPlanned(
        case=case_ref(case),
        attempts_at=[stamp(a.at) for a in plan.attempts],
        silent_until=stamp(plan.silent_until),
        payer_action=ACTIONS[plan.payer_action],
        deadline_at=stamp(case.deadline_at),
        reason=reason_of(output.why),
        amount=money_of(case),
        plan_number=case.plan_number,
        decline_reason=case.decline.reason,
    )


def event_of(case: Case, output: Output) -> Message | None:
    """Return the event that tells of an output; None for outputs that only the shell acts on."""
    match output:
        case Opened():
            return _opened(case, output)
        case Planned():
            return _planned(case, output)
        case Scheduled(at=at, why=why):
            number = case.attempt_numbers + 1
            return recovery_pb2.RetryScheduled(
                case=case_ref(case), attempt_number=number, due_at=stamp(at), reason=reason_of(why)
            )
        case Skipped(due_at=due, why=why):
            return recovery_pb2.RetrySkipped(case=case_ref(case), due_at=stamp(due), reason=reason_of(why))
        case Succeeded():
            return recovery_pb2.RecoverySucceeded(
                case=case_ref(case),
                amount=money_of(case),
                by=BY[output.by],
                payment_id=output.payment_id,
                attempts=case.attempts,
                recovered_at=stamp(output.at),
                reason=reason_of(output.why),
            )
        case Exhausted(why=why):
            return recovery_pb2.RecoveryExhausted(
                case=case_ref(case), remaining=money_of(case), attempts=case.attempts, reason=reason_of(why)
            )
        case Canceled(why=why):
            return recovery_pb2.RecoveryCanceled(case=case_ref(case), reason=reason_of(why))
        case Paused(why=why):
            return recovery_pb2.RecoveryPaused(case=case_ref(case), reason=reason_of(why))
        case Resumed(why=why):
            return recovery_pb2.RecoveryResumed(case=case_ref(case), reason=reason_of(why))
    return None
