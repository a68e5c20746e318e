"""Rules of no network: blocks, the invoice itself, hard declines, unknown codes, products, tenants' own caps.

Owns: those. Refuses: counting that a scheme does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dunwell_gateways.declines import Reason, Row
from dunwell_retry.rules.findings import Asked
from dunwell_retry.rules.model import Initiator
from dunwell_retry.rules.past import window

_MONTH = timedelta(days=30)
# After these the payer, present, may try again: he can type a new number or prove who he is.
_PAYER_MAY = frozenset((Reason.BAD_CREDENTIAL, Reason.AUTH_REQUIRED, Reason.EXPIRED))
# A fresh authorisation undoes these.
_LIFTED = frozenset((Reason.REVOKED, Reason.MANDATE_INVALID))
# These are about one payment, not about the credential.
_ONE_PAYMENT = frozenset(
    (Reason.CONFIG_ERROR, Reason.AUTH_REQUIRED, Reason.GENERIC_REFUSAL, Reason.ISSUER_RISK, Reason.OUTAGE)
)
# "Stop this payment": Stripe's name of it, and Braintree's.
_ONE_PAYMENT_CODES = frozenset(("stop_payment_order", "2017"))
_DEBIT_FILES = frozenset(
    f"networks/{scheme}" for scheme in ("ach", "sepa", "bacs", "pad", "becs", "becs_nz", "autogiro")
)


def blocks(asked: Asked) -> None:
    """Refuse while a block outside the networks is in force; `since` inclusive, `until` exclusive."""
    for block in asked.attempt.blocks:
        if block.since > asked.at or (block.until is not None and asked.at >= block.until):
            continue
        rule = asked.data.blocks.get(block.kind)
        if rule and rule.values["payer"] and asked.attempt.initiator is Initiator.PAYER:
            continue
        words = block.kind.replace("_", " ")
        asked.deny(f"block.{block.kind}", f"Blocked: {words}.", block.until, rule.sources if rule else ())


def invoice(asked: Asked) -> None:
    """Refuse what the history shows to be paid already.

    The largest refused amount is what the invoice asked for; what was approved is taken off. Where nothing was
    refused, an amount that was approved once is not charged again.
    """
    attempt = asked.attempt
    name, currency = attempt.invoice_id, attempt.currency
    approved = [each.amount_minor for each in asked.approved if each.invoice_id == name and each.currency == currency]
    if not approved:
        return
    same = (each for each in asked.entries if each.invoice_id == name and each.currency == currency)
    total, paid = max((each.amount_minor for each in same if not each.approved), default=0), sum(approved)
    over = attempt.amount_minor > total - paid if total else attempt.amount_minor in approved
    asked.counters["invoice.paid_minor"] = paid
    if over:
        asked.deny("invoice.already_paid", f"{paid} minor units of this invoice were approved already.", None)


def hard_declines(asked: Asked) -> None:
    """Refuse a credential that a trusted code forbade since its last approval."""
    attempt = asked.attempt
    for refusal, row in asked.account.hard:
        reason = row.reason
        if reason is None or row.section == "messages" or _has_its_own_rule(row):
            continue
        one = reason in _ONE_PAYMENT or row.code in _ONE_PAYMENT_CODES
        if one and refusal.past.invoice_id != attempt.invoice_id:
            continue
        if attempt.initiator is Initiator.PAYER and reason in _PAYER_MAY:
            continue
        if attempt.authorization and reason in _LIFTED:
            continue
        text = f"The issuer said never: {reason.value.replace('_', ' ')} ({row.file} {row.code})."
        source = f"{row.source} ({row.file} {row.edition})"
        asked.deny(f"general.never_retry.{reason.value}", text, None, (source,))


def _has_its_own_rule(row: Row) -> bool:
    """Return whether a network's own rules judge the row: they know its scope better."""
    if not row.file.startswith("networks/"):
        return False
    return row.category == 1 or row.section == "advice" or row.file in _DEBIT_FILES


def unknown_codes(asked: Asked) -> None:
    """Permit one delayed attempt after a code nobody knows; then a person must look."""
    unknown = [each.at for each in asked.account.unknown if each.invoice_id == asked.attempt.invoice_id]
    if not unknown:
        return
    rule = asked.find("general.unknown_code")
    if rule is None:
        return
    asked.counters["general.unknown_codes"] = len(unknown)
    if len(unknown) > rule.number("attempts"):
        asked.deny("general.unknown_code", "Unknown codes only: a person has to look.", None, rule.sources)
        return
    ready = unknown[-1] + timedelta(hours=rule.number("wait_hours"))
    if asked.at < ready:
        asked.deny("general.unknown_code", "An unknown code: one attempt, delayed.", ready, rule.sources)
    else:
        asked.permits("general.unknown_code", "An unknown code: this one cautious attempt.", rule.sources)


def high_cost_loans(asked: Asked) -> None:
    """Refuse a lender's debit after consecutive failed ones without a new authorisation."""
    attempt = asked.attempt
    if not attempt.high_cost_loan or attempt.initiator is Initiator.PAYER or attempt.authorization:
        return
    for name in ("us.two_failed_debits", "uk.two_failed_debits"):
        rule = asked.find(name, attempt.merchant_country)
        if rule is None:
            continue
        failed = 0
        for past in reversed(asked.entries):
            if past.approved:
                break
            failed += past.initiator is Initiator.MERCHANT
        asked.counters[name] = failed
        if failed >= rule.number("limit"):
            asked.deny(name, f"{failed} debits in a row failed: a new authorisation is needed.", None, rule.sources)


def tenant_caps(asked: Asked) -> None:
    """Refuse beyond the tenant's own limits: per invoice and 30 days reattempts count, the first charge does not."""
    caps, attempt = asked.attempt.caps, asked.attempt
    if caps.per_invoice is None and caps.per_30_days is None and caps.min_gap_hours is None:
        return
    mine = [each.at for each in asked.entries if each.invoice_id == attempt.invoice_id]
    source = ("the tenant's own policy",)
    if caps.per_invoice is not None:
        done = max(0, len(mine) - 1)
        asked.counters["tenant.per_invoice"] = done
        if done >= caps.per_invoice:
            asked.deny("tenant.per_invoice", f"{done} attempts of this invoice were made already.", None, source)
    if caps.per_30_days is not None:
        _per_30_days(asked, caps.per_30_days, source)
    if caps.min_gap_hours is not None and mine:
        before = [at for at in mine if at <= asked.at]
        ready = before[-1] + timedelta(hours=caps.min_gap_hours) if before else asked.at
        if asked.at < ready:
            asked.deny("tenant.min_gap", f"Less than {caps.min_gap_hours} h since the last attempt.", ready, source)


def _per_30_days(asked: Asked, limit: int, source: tuple[str, ...]) -> None:
    firsts: dict[str, datetime] = {}
    for each in asked.account.entries:
        firsts.setdefault(each.invoice_id, each.at)
    again = [each.at for each in asked.account.entries if each.at != firsts[each.invoice_id]]
    count, free_at = window(again, asked.at, _MONTH, max(1, limit))
    asked.counters["tenant.per_30_days"] = count
    if limit == 0:
        asked.deny("tenant.per_30_days", "The tenant allows no reattempts.", None, source)
    elif free_at:
        text = f"{count} attempts in 30 days."
        asked.deny("tenant.per_30_days", text, free_at, source)
