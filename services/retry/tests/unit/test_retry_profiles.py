"""What the gateway tells of a payer: labels that policies are selected by, and amounts that can be kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell_retry.planning.model import Case, CaseInvalid, Decline, Method
from dunwell_retry.profiles import _label, past_attempt


def charge(**changes: Any) -> dict[str, Any]:
    return {
        "id": "ch_1", "status": "succeeded", "currency": "usd", "amount": 1900, "created": 1_770_000_000,
        "invoice": "in_1", "payment_method": "pm_1", **changes,
    }  # fmt: skip


@pytest.mark.parametrize(("amount", "kept"), [(1900, True), (2**63 - 1, True), (2**63, False), (0, False), (-5, False)])
def test_a_past_payment_is_kept_only_when_its_amount_can_be(amount: int, kept: bool) -> None:
    assert (past_attempt(charge(amount=amount)) is not None) is kept


def test_an_amount_that_grows_past_64_bits_on_its_way_to_minor_units_is_left_out() -> None:
    # Stripe sends MGA whole, ISO counts hundredths.
    assert past_attempt(charge(currency="mga", amount=2**62)) is None


@pytest.mark.parametrize(
    ("metadata", "label"),
    [
        ({"plan": "gold"}, "gold"),
        ({}, ""),
        (None, ""),
        ({"plan": 7}, ""),
        ({"plan": "x" * 81}, ""),
        ({"plan": "a\x00"}, ""),
    ],
)
def test_a_label_is_the_customers_metadata_or_none(metadata: Any, label: str) -> None:
    assert _label({"metadata": metadata}, "plan") == label


def test_the_planner_refuses_an_amount_past_64_bits() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(CaseInvalid, match="amount_minor"):
        Case(
            "rec_1", "in_1", "pay_1", "t", 2**63, "USD", "UTC", "stripe", at, at + timedelta(days=28), Decline(),
            (Method("pm_1"),),
        )  # fmt: skip
