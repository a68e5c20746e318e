"""The checks over several stores bite: each is given one deliberately bad case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from dunwell_cli.invariants import (
    TITLES,
    broken_against_gateway,
    broken_at_the_mailbox,
    checks,
    double_charges,
    verdict,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
APPLIED = {"invoice_id": "in_1", "payment_intent": "pi_1", "idempotency_key": "d1A", "origin": "api", "approved": True}


class Told:
    """Stores that say what a test tells them to, by the table a statement reads."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        self._tables = tables

    async def fetch(self, service: str, statement: str, *values: object) -> Sequence[Mapping[str, Any]]:
        return next((rows for table, rows in self._tables.items() if f"FROM {table}" in statement), [])


def stores(**changes: list[dict[str, Any]]) -> Told:
    usual = {
        "charge_attempts": [{"idem_key": "d1A", "state": "succeeded", "invoice_id": "in_1"}],
        "journals": [{"source_id": "stripe:acct:pi_1"}],
        "notices": [{"message_id": "<a@x>", "state": "sent"}],
    }
    return Told(**{**usual, **changes})


async def test_a_charge_told_alike_everywhere_breaks_nothing() -> None:
    assert await broken_against_gateway(stores(), [APPLIED], NOW) == []


@pytest.mark.parametrize(
    ("tables", "truth", "check"),
    [
        ({"charge_attempts": []}, [APPLIED], "applied_but_not_succeeded"),
        ({}, [], "succeeded_but_not_applied"),
        ({"journals": []}, [APPLIED], "applied_but_not_booked"),
        ({"journals": [{"source_id": "stripe:acct:pi_1"}, {"source_id": "stripe:acct:pi_9"}]}, [APPLIED], "booked_but_not_applied"),
        ({}, [APPLIED, {**APPLIED, "idempotency_key": "d1B"}], "two_charges_of_one_invoice"),
        ({}, [APPLIED, APPLIED], "one_key_applied_twice"),
        ({"charge_attempts": []}, [APPLIED], "charged_without_an_attempt"),
    ],
)  # fmt: skip
async def test_each_difference_to_the_gateway_is_found(
    tables: dict[str, list[dict[str, Any]]], truth: list[dict[str, Any]], check: str
) -> None:
    found = await broken_against_gateway(stores(**tables), truth, NOW)
    assert check in {each.check for each in found}
    assert verdict(found)[found[0].invariant].startswith("broken")


@pytest.mark.parametrize(
    ("messages", "check"),
    [
        ([{"message_id": "<a@x>", "times": 2}], "taken_twice"),
        ([], "sent_but_not_taken"),
        ([{"message_id": "<a@x>", "times": 1}, {"message_id": "<b@x>", "times": 1}], "taken_but_not_known"),
    ],
)
async def test_each_difference_to_the_mailbox_is_found(messages: list[dict[str, Any]], check: str) -> None:
    assert await broken_at_the_mailbox(stores(), [{"message_id": "<a@x>", "times": 1}]) == []
    assert [each.check for each in await broken_at_the_mailbox(stores(), messages)] == [check]


def test_a_second_applied_charge_is_counted() -> None:
    assert (double_charges([APPLIED]), double_charges([APPLIED, APPLIED])) == (0, 1)


def test_every_file_names_its_store_and_a_known_invariant() -> None:
    services = {"ingest", "retry", "notify", "ledger", "analytics"}
    assert {check.service for check in checks()} == services
    assert {check.invariant for check in checks()} <= set(TITLES)
