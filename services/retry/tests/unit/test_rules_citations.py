"""A rule's name leads back to where it is written down."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from dunwell_retry.rules import allow
from dunwell_retry.rules.citations import sources_of
from dunwell_retry.rules.model import Attempt, Initiator, Instrument, PastAttempt
from dunwell_retry.rules.rulebook import default

ON = date(2026, 11, 22)


def noon(day: int) -> datetime:
    return datetime(2026, 11, day, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "visa.cap", "visa.cat1", "visa.stop_payment", "visa.token_deactivated", "visa.new_token_once",
        "mastercard.velocity", "mastercard.velocity_24h", "mastercard.mac03", "mastercard.mac24", "cards.default_30d",
        "brazil.irreversible", "ach.again", "ach.not_retryable", "sepa.window", "bacs.reinitiations", "debit.again",
        "upi.windows", "us.two_failed_debits", "general.unknown_code", "block.hardship", "tenant.min_gap",
    ],
)  # fmt: skip
def test_every_rule_of_the_gate_has_its_sources(name: str) -> None:
    assert sources_of(name, ON)


@pytest.mark.parametrize("name", ["general.permitted", "invoice.already_paid", "retry.smart", "block.nosuch", "x"])
def test_what_rests_on_no_text_has_none(name: str) -> None:
    assert sources_of(name, ON) == ()


def test_every_name_of_the_book_leads_to_its_rows() -> None:
    for name, rows in default().rules.items():
        on = next((row.effective_from for row in rows if row.effective_from), None) or ON
        found = sources_of(name, on)
        assert any(set(row.sources) <= set(found) for row in rows), name


def test_the_sources_are_those_of_the_verdict() -> None:
    card = Instrument("pm_1", "card", "visa", "debit", "US")
    past = PastAttempt(noon(20), "in_1", 1000, "USD", Initiator.MERCHANT, "pm_1", False, network_code="51")
    asked = Attempt(noon(22), "in_1", 1000, "USD", Initiator.MERCHANT, "stripe", card)
    verdict = allow(asked, [past])
    assert sources_of(verdict.rule, ON) == verdict.sources
