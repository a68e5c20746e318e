from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dunwell_contracts.catalogue import by_type, read_by, topics
from tools.contracts import catalogue_files, tables


def test_every_topic_says_all_that_it_must(proto: Path) -> None:
    assert list(catalogue_files.findings(proto / "topics")) == []


@pytest.mark.parametrize(("message", "type_"), [
    ("PaymentFailed", "dunwell.payment.failed.v1"),
    ("SubscriptionCancelScheduled", "dunwell.subscription.cancel_scheduled.v1"),
    ("GatewayRecoveryExhausted", "dunwell.gateway_recovery.exhausted.v1"),
])  # fmt: skip
def test_a_wire_type_is_the_name_split_at_its_aggregate(message: str, type_: str) -> None:
    assert catalogue_files.wire_type(message) == type_


SPOILS = {
    "owner": ({"owner": None}, "owner is missing"),
    "stranger": ({"owner": "billing"}, "is no service"),
    "audience": ({"audience": "friends"}, "neither public nor internal"),
    "key": ({"key": ""}, "key is missing"),
    "partitions": ({"partitions": {"local": 6}}, "partitions need"),
    "retention": ({"retention_days": None}, "retention_days is missing"),
    "dlq": ({"dlq": {"pattern": "dead"}}, "dlq needs"),
    "file name": ({"topic": "dunwell.retry.other.v1"}, "is not the file's name"),
}


@pytest.mark.parametrize("what", SPOILS)
def test_the_check_bites_a_bad_topic(spoiled: Path, what: str) -> None:
    changes, says = SPOILS[what]
    path = spoiled / "topics/dunwell.retry.recovery.v1.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    assert any(says in finding for finding in catalogue_files.findings(spoiled / "topics"))


BAD_ROWS = {
    "type": ({"type": "dunwell.recovery.begun.v1"}, "not dunwell.recovery.opened.v1"),
    "consumers": ({"consumers": []}, "read by nobody"),
    "consumer": ({"consumers": ["billing"]}, "is no service"),
    "producer": ({"producers": ["ledger"]}, "owner alone"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_the_check_bites_a_bad_message(spoiled: Path, what: str) -> None:
    changes, says = BAD_ROWS[what]
    path = spoiled / "topics/dunwell.retry.recovery.v1.yaml"
    document = yaml.safe_load(path.read_text())
    document["messages"][0].update(changes)
    path.write_text(yaml.safe_dump(document))
    assert any(says in finding for finding in catalogue_files.findings(spoiled / "topics"))


def test_a_type_is_carried_by_one_topic(spoiled: Path) -> None:
    path = spoiled / "topics/dunwell.retry.recovery.v1.yaml"
    (spoiled / "topics/dunwell.retry.second.v1.yaml").write_text(path.read_text())
    assert any("is carried by" in finding for finding in catalogue_files.findings(spoiled / "topics"))


def test_every_listed_consumer_handles_the_type_and_no_other_does() -> None:
    assert list(tables.findings(tables.tables())) == []


def test_the_check_bites_a_table_that_differs() -> None:
    handled = {service: set(table) for service, table in tables.tables().items()}
    handled["ledger"].remove("dunwell.invoice.paid.v1")
    handled["retry"].add("dunwell.notice.sent.v1")
    found = list(tables.findings(handled))
    assert found == [
        "ledger is listed for dunwell.invoice.paid.v1 and does not handle it",
        "retry handles dunwell.notice.sent.v1 and is not listed for it",
    ]


def test_a_listed_consumer_without_a_table_is_found() -> None:
    handled = {service: set(table) for service, table in tables.tables().items() if service != "notify"}
    assert any("notify, which has no table" in finding for finding in tables.findings(handled))


def test_the_catalogue_in_code_is_the_files(proto: Path) -> None:
    files = {path.stem for path in (proto / "topics").glob("*.yaml")}
    assert set(topics()) == files
    assert {c.topic for c in by_type().values()} == files
    assert {t.name for t in read_by("analytics")} == files
