"""Folding: facts of one case, in any order of arrival, to its row. Pure.

A fold over all facts gives the same row whenever it is run, so a read model can be thrown away and rebuilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from dunwell.notice.v1 import notice_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_analytics.model import CaseRow, Fact
from dunwell_contracts.values import instant

BY_NAMES = {
    recovery_pb2.RECOVERED_BY_RETRY: "retry",
    recovery_pb2.RECOVERED_BY_PAYER: "payer",
    recovery_pb2.RECOVERED_BY_GATEWAY: "gateway",
    recovery_pb2.RECOVERED_BY_SELF_CURED: "self_cured",
}


def fold(facts: Sequence[Fact]) -> CaseRow | None:
    """Return a case's row; None while its opening is not in the log yet."""
    opening = next((f for f in facts if isinstance(f.message, recovery_pb2.RecoveryOpened)), None)
    if opening is None:
        return None
    row = _opened(opening)
    # Topics overtake each other, so the log's order is not the order of things; what happened at one instant keeps it.
    for fact in sorted(facts, key=lambda f: f.occurred_at):
        row = _evolve(row, fact)
    return row


def _opened(fact: Fact) -> CaseRow:
    message = fact.message
    assert isinstance(message, recovery_pb2.RecoveryOpened)
    case = message.case
    return CaseRow(
        case_id=case.case_id,
        tenant_id=case.tenant_id,
        gateway=case.gateway,
        payer_id=case.payer_id,
        invoice_id=case.invoice_id,
        opened_at=instant(message, "failed_at") or fact.occurred_at,
        currency=message.amount.currency_code,
        amount_minor=message.amount.minor_units,
        decline_reason=message.decline.reason or "unknown",
        network=message.instrument.network,
        funding=message.instrument.funding,
        experiment=message.assignment.experiment,
        arm=message.assignment.arm,
    )


def _evolve(row: CaseRow, fact: Fact) -> CaseRow:
    message = fact.message
    if isinstance(message, recovery_pb2.ChargeRequested):
        return replace(row, attempts=row.attempts + 1)
    if isinstance(message, notice_pb2.NoticeSent):
        return replace(row, notices_sent=row.notices_sent + 1)
    if isinstance(message, notice_pb2.NoticeSuppressed):
        return replace(row, notices_suppressed=row.notices_suppressed + 1)
    if isinstance(message, recovery_pb2.RecoverySucceeded):
        at: datetime = instant(message, "recovered_at") or fact.occurred_at
        by = BY_NAMES.get(message.by, "unknown")
        return replace(row, state="recovered", recovered_by=by, recovered_at=at, ended_at=at)
    if isinstance(message, recovery_pb2.RecoveryExhausted):
        return replace(row, state="exhausted", ended_at=fact.occurred_at)
    if isinstance(message, recovery_pb2.RecoveryCanceled):
        return replace(row, state="canceled", ended_at=fact.occurred_at)
    if isinstance(message, recovery_pb2.RecoveryPaused | recovery_pb2.RecoveryResumed):
        held = "paused" if isinstance(message, recovery_pb2.RecoveryPaused) else "open"
        # An end is for good, whatever is heard after it.
        return row if row.ended_at else replace(row, state=held)
    return row
