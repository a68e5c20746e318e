"""Visa: response categories, stop payments, deactivated tokens, and 20 reattempts in 30 days.

Owns: Visa's rules. Refuses: other schemes'.
"""

from __future__ import annotations

from dunwell_retry.rules.findings import Asked, fee_of
from dunwell_retry.rules.model import Fee, Initiator, PastAttempt
from dunwell_retry.rules.past import Refusal, window
from dunwell_retry.rules.rulebook import Rule

_COUNTERS = {each: f"visa.reattempts_30d.{each.value}" for each in Initiator}


def visa(asked: Asked) -> None:
    """Apply Visa's rules to a card."""
    account = asked.account
    if account.visa_seen < len(account.refusals):
        _look_for_never(asked)
    if account.visa_never:
        _refused_for_good(asked)
    _cap(asked)


def _refused_for_good(asked: Asked) -> None:
    """Category 1: a token that is dead, a payment that the payer stopped, a card that never passes."""
    deactivated: list[tuple[PastAttempt, Rule]] = []
    for refusal, row in asked.account.visa_never:
        if row.text("scope") == "token":
            deactivated.append((refusal.past, row))
        elif row.values.get("stop"):
            _stop(asked, refusal, row)
        else:
            text = f"The issuer will never approve this card (code {refusal.past.network_code}, category 1)."
            asked.deny("visa.cat1", text, None, row.sources, _excess_fee(asked))
    if deactivated:
        _token(asked, deactivated)


def _look_for_never(asked: Asked) -> None:
    """Keep the category 1 refusals among those that were not looked at yet."""
    account = asked.account
    for refusal in account.refusals[account.visa_seen :]:
        row = asked.data.visa_final(refusal.past.network_code, refusal.past.at)
        if row is not None:
            account.visa_never.append((refusal, row))
    account.visa_seen = len(account.refusals)


def _stop(asked: Asked, refusal: Refusal, row: Rule) -> None:
    """R0 stops one payment, R1 the merchant, R3 all merchants; a fresh authorisation lifts them."""
    past = refusal.past
    if asked.attempt.authorization:
        return
    if row.text("scope") == "invoice" and past.invoice_id != asked.attempt.invoice_id:
        return
    rule = asked.find("visa.fee.stop")
    stopped = sum(each.past.network_code in ("R0", "R1", "R3") for each in asked.account.refusals)
    asked.counters["visa.stop_declines"] = stopped
    fee = fee_of(rule, "stop payment ignored") if rule and stopped >= rule.number("free_declines") else None
    text = f"The payer stopped this payment or all of them (code {past.network_code})."
    asked.deny("visa.stop_payment", text, None, row.sources, fee or _excess_fee(asked))


def _token(asked: Asked, deactivated: list[tuple[PastAttempt, Rule]]) -> None:
    """46 says that a deactivated token was used: another token of the card may be tried once."""
    first, row = deactivated[0]
    dead = {_credential(past.token, past.instrument_id) for past, _ in deactivated}
    mine = _credential(asked.attempt.instrument.token, asked.attempt.instrument.instrument_id)
    tried = sum(
        each.past.at >= first.at and _credential(each.past.token, each.past.instrument_id) not in dead
        for each in asked.account.refusals
    )
    if mine in dead or (first.token and not asked.attempt.instrument.token):
        text = "This token was deactivated (code 46)."
        asked.deny("visa.token_deactivated", text, None, row.sources, _excess_fee(asked))
    elif tried or len(dead) > 1:
        text = "Another token was tried after code 46 already."
        asked.deny("visa.token_deactivated", text, None, row.sources, _excess_fee(asked))
    else:
        asked.permits("visa.new_token_once", "A new token after code 46 may be tried once.", row.sources)


def _credential(token: str | None, instrument_id: str) -> str:
    return token or instrument_id


def _cap(asked: Asked) -> None:
    rule = asked.find("visa.cap")
    if rule is None:
        return
    attempt, limit = asked.attempt, rule.limit
    times = asked.account.reattempts(attempt.amount_minor, attempt.currency, attempt.initiator)
    count, free_at = window(times, asked.at, rule.window, limit)
    asked.counters[_COUNTERS[attempt.initiator]] = count
    if free_at:
        text = f"{count} reattempts of this amount in 30 days; Visa allows {limit}."
        asked.deny("visa.cap", text, free_at, rule.sources, _excess_fee(asked))
    elif asked.passed[0] == "general.permitted":
        text = f"{count} of {limit} reattempts of this amount in 30 days."
        asked.permits("visa.cap", text, rule.sources)


def _excess_fee(asked: Asked) -> Fee | None:
    issuer, merchant = asked.attempt.instrument.country, asked.attempt.merchant_country
    abroad = bool(issuer and merchant and issuer != merchant)
    rule = asked.find("visa.fee.cross_border" if abroad else "visa.fee.domestic", merchant)
    return fee_of(rule, "excessive reattempt")
