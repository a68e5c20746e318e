"""Events to notify's values, and decisions back to events. Total both ways."""

from __future__ import annotations

from datetime import datetime

from dunwell.common.v1 import common_pb2
from dunwell.notice.v1 import notice_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.values import instant, stamp
from dunwell_notify.model import CaseView, Payer, PayerAction

_ACTIONS = {
    recovery_pb2.PAYER_ACTION_NONE: PayerAction.NONE,
    recovery_pb2.PAYER_ACTION_WAIT: PayerAction.WAIT,
    recovery_pb2.PAYER_ACTION_UPDATE_METHOD: PayerAction.UPDATE_METHOD,
    recovery_pb2.PAYER_ACTION_AUTHENTICATE: PayerAction.AUTHENTICATE,
    recovery_pb2.PAYER_ACTION_CONTACT_BANK: PayerAction.CONTACT_BANK,
    recovery_pb2.PAYER_ACTION_PAY_LINK: PayerAction.PAY_LINK,
}


def payer_of_case(case: recovery_pb2.CaseRef) -> Payer:
    """Read who owes."""
    return Payer(case.tenant_id, case.gateway, case.account, case.payer_id)


def payer_of(origin: payment_pb2.Origin) -> Payer:
    """Read whose object an event is about."""
    return Payer(origin.tenant_id, origin.gateway, origin.account, origin.payer_id)


def case_of(message: recovery_pb2.RecoveryOpened, made_at: datetime, key: str) -> CaseView:
    """Read a new case."""
    return CaseView(
        case_id=message.case.case_id,
        payer=payer_of_case(message.case),
        invoice_id=message.case.invoice_id,
        currency=message.amount.currency_code,
        amount_minor=message.amount.minor_units,
        failed_at=instant(message, "failed_at") or made_at,
        payer_key=key,
        decline_reason=message.decline.reason,
    )


def action_of(message: recovery_pb2.RecoveryPlanned) -> PayerAction:
    """Read what the payer can do; an unknown value reads as waiting, the quietest."""
    return _ACTIONS.get(message.payer_action, PayerAction.WAIT)


def reason(rule: str, text: str, *evidence: str, source: str = "notify policy") -> common_pb2.Reason:
    """Return a reason for an event."""
    return common_pb2.Reason(rule=rule, text=text, evidence=[e for e in evidence if e], source=source)


def notice_ref(
    notice_id: str, payer: Payer, cases: list[CaseView], step: str, tone: str, channel: str = "email"
) -> notice_pb2.NoticeRef:
    """Return which notice an event is about."""
    return notice_pb2.NoticeRef(
        notice_id=notice_id,
        tenant_id=payer.tenant_id,
        payer_id=payer.payer_id,
        case_ids=[case.case_id for case in cases],
        invoice_ids=[case.invoice_id for case in cases],
        channel=channel,
        step=step,
        tone=tone,
    )


def planned(ref: notice_pb2.NoticeRef, due_at: datetime, why: common_pb2.Reason) -> notice_pb2.NoticePlanned:
    """Return the event of a planned notice."""
    return notice_pb2.NoticePlanned(notice=ref, due_at=stamp(due_at), reason=why)
