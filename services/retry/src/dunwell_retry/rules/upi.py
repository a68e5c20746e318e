"""UPI AutoPay: the notice before each debit, the hours, and the number of attempts.

Owns: UPI's rules. Refuses: cards issued in India (`cards_other`).
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dunwell_retry.rules.cards_other import additional_factor, notice
from dunwell_retry.rules.findings import Asked
from dunwell_retry.rules.model import Initiator
from dunwell_retry.rules.rulebook import Rule

_WHOLE_DAY = "24:00"


def upi(asked: Asked) -> None:
    """Apply UPI's rules to a merchant's debit; a payer who pays himself needs none of them."""
    if asked.attempt.initiator is Initiator.PAYER:
        return
    notice(asked, "upi.notice")
    additional_factor(asked, "upi.afa")
    rule = asked.find("upi.attempts")
    if rule is not None:
        made = sum(each.invoice_id == asked.attempt.invoice_id for each in asked.account.entries)
        asked.counters["upi.attempts"] = made
        if made >= rule.number("limit"):
            asked.deny("upi.attempts", f"{made} attempts of this execution were made.", None, rule.sources)
        else:
            asked.permits("upi.attempts", f"{made} of {rule.number('limit')} attempts used.", rule.sources)
    hours = asked.find("upi.windows")
    if hours is not None:
        opens = next_open(asked.at, hours)
        if opens != asked.at:
            asked.deny("upi.windows", "Debits run only outside the peak hours.", opens, hours.sources)


def next_open(at: datetime, rule: Rule) -> datetime:
    """Return the instant itself inside an open window, else when the next one opens (aware UTC)."""
    zone, windows = ZoneInfo(rule.text("zone")), _windows(tuple(rule.values["open"]))
    local = at.astimezone(zone)
    clock = local.time()
    if any(start <= clock and (end is None or clock < end) for start, end in windows):
        return at
    later = [start for start, _ in windows if start > clock]
    day = local.date() if later else local.date() + timedelta(days=1)
    start = min(later, default=windows[0][0])
    return datetime.combine(day, start, zone).astimezone(at.tzinfo)


@lru_cache(maxsize=8)
def _windows(spans: tuple[str, ...]) -> tuple[tuple[time, time | None], ...]:
    pairs = (span.split("-") for span in spans)
    return tuple((time.fromisoformat(a), None if b == _WHOLE_DAY else time.fromisoformat(b)) for a, b in pairs)
