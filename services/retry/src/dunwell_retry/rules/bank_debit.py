"""Bank debits: which returns may be presented again, how often, how long, and for which amount.

Owns: ACH, SEPA, Bacs, PAD, BECS and the rest, as data. Refuses: cards.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta

from dunwell_retry.rules.findings import Asked
from dunwell_retry.rules.model import PastAttempt
from dunwell_retry.rules.rulebook import Rule

# An original settlement follows its presentation within days; a week holds every bank holiday between.
_SETTLED = timedelta(days=7)
# A first presentation told a day off its entry in the history is still that entry: banks date, they do not time.
_SAME_ENTRY = timedelta(days=1)


def bank_debit(asked: Asked) -> None:
    """Apply the scheme's rules to a debit."""
    rule = asked.data.debit(asked.attempt.instrument.network, asked.on)
    scheme = asked.attempt.instrument.network if rule.values["scheme"] != "other" else "debit"
    _returns(asked, rule, scheme)
    presented = [each for each in asked.account.entries if each.invoice_id == asked.attempt.invoice_id]
    if presented or asked.attempt.first_presented_at is not None:
        _again(asked, rule, scheme, presented)


def _returns(asked: Asked, rule: Rule, scheme: str) -> None:
    retryable = rule.values["retryable"]
    for refusal in asked.account.refusals:
        code = refusal.past.network_code
        if not code or (code in retryable and _in_country(retryable[code], asked.attempt.instrument.country)):
            continue
        if rule.values["scheme"] == "other":
            # Nothing is known of the scheme's codes; the hard ones are refused elsewhere.
            continue
        lifted = asked.data.lifted.get((scheme, code))
        if lifted and asked.attempt.authorization:
            continue
        text = f"A debit returned with {code} must not be presented again."
        asked.deny(f"{scheme}.not_retryable", text, None, rule.sources)


def _in_country(countries: str | None, country: str | None) -> bool:
    return countries is None or (country is not None and country in countries.split())


def _other_amount(amount_minor: int, presented: list[PastAttempt]) -> bool:
    """Return whether an amount is not the first one; of several told for one instant none is, as none came first."""
    return any(each.amount_minor != amount_minor for each in presented if each.at == presented[0].at)


def _again(asked: Asked, rule: Rule, scheme: str, presented: list[PastAttempt]) -> None:
    attempt = asked.attempt
    first_told = attempt.first_presented_at
    # The history may begin after the first presentation: then all of it are re-presentations.
    whole = first_told is None or (bool(presented) and presented[0].at - first_told <= _SAME_ENTRY)
    again = len(presented) - 1 if whole else len(presented)
    asked.counters[f"{scheme}.reinitiations"] = again
    limit, limited_by = _limit(asked, rule)
    if limit is not None and again >= limit:
        text = f"Presented again {again} times; {limit} is the limit."
        asked.deny(f"{scheme}.reinitiations", text, None, limited_by)
    if rule.values["same_amount"] and _other_amount(attempt.amount_minor, presented) and not attempt.authorization:
        text = "A debit is presented again with its first amount only."
        asked.deny(f"{scheme}.same_amount", text, None, rule.sources)
    first = _first(first_told, presented)
    if asked.at > _window_end(first, rule) and not _reopened(asked, rule, presented[-1].at if presented else first):
        text = f"More than {rule.number('window_days')} days since the first presentation."
        asked.deny(f"{scheme}.window", text, None, rule.sources)
    limits = "no limit" if limit is None else f"{again} of {limit} used"
    asked.permits(f"{scheme}.again", f"May be presented again: {limits}.", rule.sources)


def _limit(asked: Asked, rule: Rule) -> tuple[int | None, tuple[str, ...]]:
    """Return how often a debit may be presented again, and who says so.

    A scheme without a number is bounded by its window, which runs from the first presentation. Where nobody tells
    that one, the oldest entry of the history stands for it; a history that is cut off would move it along for ever,
    so that the careful default's number holds instead.
    """
    limit: int | None = rule.values["reinitiations"]
    if limit is not None or asked.attempt.first_presented_at is not None:
        return limit, rule.sources
    careful = asked.data.debit("other", asked.on)
    return careful.number("reinitiations"), careful.sources


def _first(told: datetime | None, presented: list[PastAttempt]) -> datetime:
    """Return where the window begins: as told, unless the history shows an earlier presentation."""
    if told is None:
        return presented[0].at
    return presented[0].at if presented and told - presented[0].at > _SETTLED else told


def _window_end(first: datetime, rule: Rule) -> datetime:
    """Return the last instant of the window; a month is the shorter of a calendar month and its days."""
    end = first + timedelta(days=rule.number("window_days"))
    if not rule.values.get("month"):
        return end
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    calendar = first.replace(year=year, month=month, day=min(first.day, monthrange(year, month)[1]))
    return min(end, calendar)


def _reopened(asked: Asked, rule: Rule, last: datetime) -> bool:
    told = asked.attempt.notified_at
    return bool(rule.values.get("notice_reopens")) and told is not None and last < told <= asked.at
