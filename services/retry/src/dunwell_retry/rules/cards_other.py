"""Amex, Discover and every other card network, Brazil's own networks, and cards issued in India.

Owns: careful defaults where a network publishes no cap. Refuses: Visa and Mastercard.
"""

from __future__ import annotations

from datetime import timedelta

from dunwell_retry.rules.findings import Asked, fee_of
from dunwell_retry.rules.model import Fee, Initiator
from dunwell_retry.rules.past import in_month, window

_BRAZILIAN = frozenset(("elo", "hipercard"))


def other_cards(asked: Asked) -> None:
    """Apply the defaults of networks without a published cap."""
    day, month = asked.find("cards.default_24h"), asked.find("cards.default_30d")
    if day is None or month is None:
        return
    times = asked.account.times
    name = asked.attempt.instrument.network
    count, free_at = window(times, asked.at, day.window, day.limit)
    asked.counters[f"{name}.declines_24h"] = count
    if free_at:
        text = f"{count} declines of this card in 24 hours."
        asked.deny("cards.default_24h", text, free_at, day.sources)
    count, free_at = window(times, asked.at, month.window, month.limit)
    asked.counters[f"{name}.declines_30d"] = count
    if free_at:
        text = f"{count} declines of this card in 30 days; {month.limit} is the careful default."
        asked.deny("cards.default_30d", text, free_at, month.sources)
    elif asked.passed[0] == "general.permitted":
        text = f"{count} of {month.limit} declines of this card in 30 days."
        asked.permits("cards.default_30d", text, month.sources)


def brazil(asked: Asked) -> None:
    """Refuse what ABECS calls irreversible; name what Elo and Hipercard charge for the rest."""
    network = asked.attempt.instrument.network
    if network not in _BRAZILIAN:
        return
    rule = asked.data.brazil
    irreversible = frozenset(str(rule.values["codes"]).split())
    if any(each.past.network_code in irreversible for each in asked.account.refusals):
        fee = _irreversible_fee(asked) if network == "hipercard" else None
        asked.deny("brazil.irreversible", "The issuer's code is irreversible (ABECS).", None, rule.sources, fee)
    if network == "elo":
        _elo(asked)
    else:
        _hipercard(asked)


def _elo(asked: Asked) -> None:
    rule = asked.find("elo.fee")
    if rule is None:
        return
    attempt, free = asked.attempt, rule.number("free_retries")
    times = asked.account.reattempts(attempt.amount_minor, attempt.currency, attempt.initiator)
    count, free_at = window(times, asked.at, rule.window, free)
    asked.counters["elo.retries_30d"] = count
    if free_at:
        asked.fee = fee_of(rule, "16th and later retry in 30 days")


def _hipercard(asked: Asked) -> None:
    rule = asked.find("hipercard.fee")
    if rule is None:
        return
    month = in_month(asked.account.times, asked.at)
    asked.counters["hipercard.declines_month"] = month
    if month >= rule.number("free_declines"):
        asked.fee = fee_of(rule, "9th and later decline of a month")


def _irreversible_fee(asked: Asked) -> Fee | None:
    rule = asked.find("hipercard.irreversible_fee")
    if rule is None:
        return None
    share = asked.attempt.amount_minor * rule.number("per_million") // 1_000_000
    amount = min(max(share, rule.number("least_minor")), rule.number("most_minor"))
    return Fee(amount, rule.text("currency"), "retry after an irreversible code")


def india(asked: Asked) -> None:
    """Refuse a merchant's charge of a card issued in India without the notice, or above the limit without the payer."""
    attempt = asked.attempt
    if attempt.instrument.country != "IN" or attempt.currency != "INR" or attempt.initiator is Initiator.PAYER:
        return
    notice(asked, "india.notice")
    additional_factor(asked, "india.afa")


def notice(asked: Asked, name: str) -> None:
    """Refuse before the pre-debit notice is old enough; without a notice for good, as a notice makes a new attempt."""
    rule, told = asked.find(name), asked.attempt.notified_at
    if rule is None:
        return
    hours = rule.number("notice_hours")
    if told is None:
        asked.deny(name, f"A pre-debit notice has to go out {hours} h before.", None, rule.sources)
    elif asked.at < told + timedelta(hours=hours):
        text = f"The pre-debit notice is not {hours} h old."
        asked.deny(name, text, told + timedelta(hours=hours), rule.sources)


def additional_factor(asked: Asked, name: str) -> None:
    """Refuse above the limit unless the payer authorised this debit."""
    rule, attempt = asked.find(name), asked.attempt
    if rule is None or attempt.currency != rule.text("currency") or attempt.authorization:
        return
    if attempt.amount_minor > rule.number("above_minor"):
        asked.deny(name, "Above the limit every debit needs the payer's additional factor.", None, rule.sources)
