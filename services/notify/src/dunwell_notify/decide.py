"""Whether a step that is due may go out. Pure.

Nobody is dunned who paid: settlement is asked first, when a step fires and again when it is handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dunwell_notify.model import CaseView, Contact, Later, Send, Step, Suppress, Verdict
from dunwell_notify.policy import NotifyPolicy, allowed_at, below_cap_at


def may_send(
    case: CaseView,
    step: Step,
    contact: Contact | None,
    sent: Sequence[datetime],
    settled_by: str,
    policy: NotifyPolicy,
    now: datetime,
) -> Verdict:
    """Decide about one step of one case at one instant.

    Args:
        contact: None when nobody knows how to reach the payer.
        sent: When this payer was written to before.
        settled_by: Id of the event that says the invoice is settled, if any.
    """
    if step is not Step.RECEIPT:
        stopped = _stopped(case, settled_by)
        if stopped is not None:
            return stopped
    silent = unreachable(contact, step)
    if silent is not None:
        return silent
    assert contact is not None, "nobody is unreachable"
    at = allowed_at(now, contact.timezone, policy)
    if at > now:
        return Later(at, "notify.quiet_hours")
    if step is Step.RECEIPT:
        return Send()
    free = below_cap_at(sent, now, policy)
    if free > now:
        if case.deadline_at is not None and free >= case.deadline_at:
            return Suppress(
                "notify.cap", f"{policy.cap} messages in {policy.cap_window.days} days leave no room before the end."
            )
        return Later(allowed_at(free, contact.timezone, policy), "notify.cap")
    return Send()


def unreachable(contact: Contact | None, step: Step) -> Suppress | None:
    """Return why a payer cannot or must not be written to, whatever there is to say; None when he can."""
    if contact is None or not contact.email:
        return Suppress("notify.no_address", "No address of the payer is known here or at the gateway.")
    if contact.opted_out and step is not Step.FINAL:
        return Suppress("notify.opted_out", "The payer asked not to be written to.")
    return None


def _stopped(case: CaseView, settled_by: str) -> Suppress | None:
    if settled_by:
        return Suppress("notify.settled", "The gateway says the invoice is settled.", settled_by)
    if case.state == "closed":
        return Suppress(f"notify.case_{case.closed_by or 'closed'}", "The recovery case has ended.", case.evidence)
    if case.state == "paused":
        return Suppress("notify.case_paused", "The recovery case is paused.", case.evidence)
    return None
