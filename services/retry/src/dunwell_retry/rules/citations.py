"""Where a rule is written down, by the rule's name alone.

A decision keeps the names of the rules that permitted its charges; who reads it later wants the sources.

Owns: from the name of a rule in a verdict to the rows of the rule book. Refuses: judging anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from dunwell_retry.rules.rulebook import Rule, RuleData, default

# Names that speak of rows called otherwise.
_CALLED = {
    "mastercard.velocity": ("mastercard.velocity_24h", "mastercard.velocity_30d"),
}
# Visa's findings that rest on a code's category.
_VISA_CODES = frozenset(("visa.cat1", "visa.stop_payment", "visa.token_deactivated", "visa.new_token_once"))
_DEBIT = frozenset(("again", "reinitiations", "same_amount", "window", "not_retryable"))
_TENANT = ("the tenant's own policy",)


def sources_of(name: str, on: date, data: RuleData | None = None) -> tuple[str, ...]:
    """Return where a rule is written down on a date; empty where it rests on the history or a code's row alone."""
    if name.startswith("tenant."):
        return _TENANT
    found = dict.fromkeys(source for row in _rows(name, on, data or default()) for source in row.sources)
    return tuple(found)


def _rows(name: str, on: date, data: RuleData) -> Iterator[Rule]:
    for called in _CALLED.get(name, (name,)):
        held = [row for row in data.rules.get(called, ()) if row.holds(on)]
        yield from (row for row in held if row.region is None)
        # A rule that only some regions have.
        if held and all(row.region is not None for row in held):
            yield from held
    scheme, _, finding = name.partition(".")
    if finding in _DEBIT and (scheme in data.debits or scheme == "debit"):
        yield data.debit(scheme, on)
    elif scheme == "block" and finding in data.blocks:
        yield data.blocks[finding]
    elif name == data.brazil.rule:
        yield data.brazil
    elif name in _VISA_CODES:
        yield from (row for rows in data.visa.values() for row in rows if row.holds(on) and row.values["category"] == 1)
    elif scheme == "mastercard":
        yield from (row for row in data.mastercard.values() if row.rule == name)
