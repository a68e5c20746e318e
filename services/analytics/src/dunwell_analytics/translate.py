"""Events to what they are about, and to a line a person can read. Total over the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from dunwell_contracts.envelope import Envelope
from dunwell_kit.money import Money


def subject_of(envelope: Envelope, message: Message) -> tuple[str, str, Sequence[str]]:
    """Return (tenant, invoice, cases) an event is about; what it does not tell is empty."""
    source: Any = message
    fields = source.DESCRIPTOR.fields_by_name
    tenant = envelope.key.partition(":")[0]
    if "case" in fields:
        return tenant, source.case.invoice_id, (source.case.case_id,)
    if "notice" in fields:
        notice = source.notice
        return tenant, notice.invoice_ids[0] if notice.invoice_ids else "", tuple(notice.case_ids)
    if "origin" in fields:
        return tenant, source.origin.invoice_id, ()
    return tenant, source.invoice_id, (source.case_id,) if source.case_id else ()


def line(message: Message) -> str:
    """Return one sentence about an event."""
    parts = [type(message).__name__]
    source: Any = message
    fields = source.DESCRIPTOR.fields_by_name
    if "amount" in fields and source.amount.currency_code:
        parts.append(str(Money(source.amount.currency_code, source.amount.minor_units)))
    if "decline" in fields and source.decline.reason:
        raw = source.decline.gateway_code or source.decline.network_code
        parts.append(f"declined: {source.decline.reason} ({raw})" if raw else f"declined: {source.decline.reason}")
    if "attempts_at" in fields:
        parts.append(f"{len(source.attempts_at)} attempts ahead")
    if "notice" in fields:
        parts.append(f"{source.notice.step} by {source.notice.channel}")
    if "legs" in fields:
        parts.append(", ".join(f"{leg.account} {leg.minor_units:+d}" for leg in source.legs))
    if "reason" in fields and not isinstance(source.reason, str) and source.reason.text:
        parts.append(source.reason.text)
    return " · ".join(parts)


def reason(message: Message) -> dict[str, Any]:
    """Return an event's reason as a document; empty when it has none."""
    source: Any = message
    if "reason" not in source.DESCRIPTOR.fields_by_name:
        return {}
    found = source.reason
    if isinstance(found, str):
        return {"text": found}
    return {"rule": found.rule, "text": found.text, "evidence": list(found.evidence), "source": found.source}
