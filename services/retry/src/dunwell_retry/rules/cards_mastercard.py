"""Mastercard: advice codes, 10 declines in 24 hours, 35 in 30 days.

Owns: Mastercard's rules. Refuses: other schemes'.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dunwell_gateways.declines import Reason
from dunwell_retry.rules.findings import Asked, fee_of
from dunwell_retry.rules.model import Fee, Initiator, PastAttempt
from dunwell_retry.rules.past import Refusal, concerns, in_month, window
from dunwell_retry.rules.rulebook import Rule


def mastercard(asked: Asked) -> None:
    """Apply Mastercard's rules to a card."""
    account = asked.account
    if account.advised_seen < len(account.refusals):
        _look_for_advice(asked)
    for refusal, rule, ready in account.advised:
        # Most advice is to wait, and most of it has been followed.
        if ready is None or asked.at < ready:
            _advice(asked, refusal, rule, ready)
    if asked.approved:
        _single_use(asked)
    _velocity(asked)
    _brazil(asked)


def _look_for_advice(asked: Asked) -> None:
    """Keep the advice that means something of the refusals that were not looked at yet."""
    account = asked.account
    for refusal in account.refusals[account.advised_seen :]:
        rule = asked.data.mastercard.get(refusal.past.advice_code or "")
        if rule is not None:
            hours = rule.values.get("wait_hours")
            ready = None if hours is None else refusal.past.at.astimezone(UTC) + timedelta(hours=hours)
            account.advised.append((refusal, rule, ready))
    account.advised_seen = len(account.refusals)


def _advice(asked: Asked, refusal: Refusal, rule: Rule, ready: datetime | None) -> None:
    """Waits run from the decline; of several the latest end counts, as an older advice is not taken back."""
    past, attempt = refusal.past, asked.attempt
    words = rule.text("text")
    if attempt.initiator is Initiator.PAYER and refusal.meaning.reason is Reason.AUTH_REQUIRED:
        # 83 with 01: the payer, present, is just what the issuer asks for.
        return
    if ready is not None:
        asked.deny(rule.rule, f"Mastercard advice {past.advice_code}: {words}.", ready, rule.sources)
        return
    stop = rule.text("stop")
    if stop == "mandate" and attempt.authorization:
        return
    if stop == "token" and attempt.instrument.token and attempt.instrument.token != past.token:
        return
    if stop == "config" and (attempt.initiator is Initiator.PAYER or past.invoice_id != attempt.invoice_id):
        return
    fee = _excess_fee(asked) if past.advice_code in ("03", "21") else None
    asked.deny(rule.rule, f"Mastercard advice {past.advice_code}: {words}.", None, rule.sources, fee)


def _single_use(asked: Asked) -> None:
    """41 may come with an approval: the number is used up."""
    for each in asked.approved:
        if each.advice_code == "41" and concerns(asked.attempt.instrument, each):
            rule = asked.data.mastercard["41"]
            asked.deny(rule.rule, f"Mastercard advice 41: {rule.text('text')}.", None, rule.sources)
            return


def _velocity(asked: Asked) -> None:
    attempt, account = asked.attempt, asked.account
    day, month = asked.find("mastercard.velocity_24h"), asked.find("mastercard.velocity_30d")
    if day is None or month is None:
        return
    # Approvals do not reset Mastercard's counts: every decline of the window counts.
    times, same = account.decline_times(), account.declines_of(attempt.amount_minor, attempt.currency)
    limit = day.limit
    count, free_at = window(times, asked.at, day.window, limit)
    asked.counters["mastercard.declines_24h"] = count
    if free_at:
        text = f"{count} declines of this card in 24 hours; Mastercard allows {limit}."
        asked.deny("mastercard.velocity_24h", text, free_at, day.sources, _excess_fee(asked))
    limit, span = month.limit, month.window
    count, free_at = window(same, asked.at, span, limit)
    asked.counters["mastercard.declines_30d_same_amount"] = count
    if free_at:
        text = f"{count} declines of this card and amount in 30 days; Mastercard allows {limit}."
        asked.deny("mastercard.velocity_30d", text, free_at, month.sources, _excess_fee(asked))
        return
    text = f"{count} of {limit} declines of this amount in 30 days."
    if len(times) >= limit and _other_amount_is_full(account.declines, attempt.amount_minor, asked.at, span, limit):
        asked.counters["mastercard.evasion_suspected"] = 1
        text = "Another amount on this card has used up its limit: a changed amount looks like evasion."
    asked.permits("mastercard.velocity", text, month.sources)


def _other_amount_is_full(
    declines: Sequence[PastAttempt], amount_minor: int, at: datetime, span: timedelta, limit: int
) -> bool:
    counts: dict[tuple[int, str], int] = {}
    for each in declines:
        if each.amount_minor != amount_minor and at - span < each.at <= at:
            key = (each.amount_minor, each.currency)
            counts[key] = counts.get(key, 0) + 1
    return max(counts.values(), default=0) >= limit


def _brazil(asked: Asked) -> None:
    country = asked.attempt.merchant_country
    rule = asked.find("mastercard.brazil_month", country) if country is not None else None
    if rule is None or rule.region is None:
        return
    attempt = asked.attempt
    times = asked.account.reattempts(attempt.amount_minor, attempt.currency, attempt.initiator)
    month = in_month(times, asked.at)
    asked.counters["mastercard.brazil_month"] = month
    if month >= rule.number("free_retries"):
        asked.fee = _excess_fee(asked)


def _excess_fee(asked: Asked) -> Fee | None:
    return fee_of(asked.find("mastercard.fee", asked.attempt.merchant_country), "excessive authorization")
