from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dunwell_analytics import translate as analytics
from dunwell_contracts.catalogue import Carried, by_type
from dunwell_contracts.envelope import Envelope, decode, envelope_of
from dunwell_ledger import translate as ledger
from tools.contracts import examples, tables

AT = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
CARRIED = sorted(by_type().values(), key=lambda c: c.type)


def wire_of(carried: Carried, path: Path) -> tuple[Envelope, bytes]:
    envelope = Envelope("019ca8f0-5a3c-7b21-9d44-6f0e2b1c8a11", carried.type, "dunwell/test", AT, "acme:cus_1")
    return envelope, examples.read(path, carried).SerializeToString(deterministic=True)


def test_every_message_has_examples_and_every_example_is_a_message(proto: Path) -> None:
    assert list(examples.findings(proto / "examples")) == []


@pytest.mark.parametrize("carried", CARRIED, ids=lambda c: c.type)
def test_every_example_decodes_for_every_listed_consumer(proto: Path, carried: Carried) -> None:
    for path in examples.of(proto / "examples", carried):
        envelope, value = wire_of(carried, path)
        read = envelope_of(envelope.headers())
        message = decode(read, value)
        assert message == examples.read(path, carried)
        for service in carried.consumers:
            assert callable(tables.tables()[service][read.type])


@pytest.mark.parametrize("carried", CARRIED, ids=lambda c: c.type)
def test_the_books_and_the_fact_log_understand_their_examples(proto: Path, carried: Carried) -> None:
    for path in examples.of(proto / "examples", carried):
        envelope, value = wire_of(carried, path)
        message = decode(envelope, value)
        if "ledger" in carried.consumers and "dispute" not in carried.type:
            for fact in ledger.facts_of(message, envelope.id, envelope.time):
                assert fact.subject.tenant_id == "acme"
        if "analytics" in carried.consumers:
            tenant, _, cases = analytics.subject_of(envelope, message)
            assert tenant == "acme"
            assert all(case.startswith("rec_") for case in cases)
            assert analytics.line(message).startswith(type(message).__name__)
            assert all(analytics.reason(message).values())


def test_an_example_that_nobody_carries_is_found(spoiled: Path) -> None:
    (spoiled / "examples/dunwell.retry.recovery.v1/RecoveryVanished").mkdir()
    (spoiled / "examples/dunwell.retry.recovery.v1/RecoveryVanished/x.json").write_text("{}")
    assert any("no topic carries" in finding for finding in examples.findings(spoiled / "examples"))


def test_a_message_without_an_example_is_found(spoiled: Path) -> None:
    for path in (spoiled / "examples/dunwell.retry.recovery.v1/RecoveryPaused").glob("*.json"):
        path.unlink()
    assert list(examples.findings(spoiled / "examples")) == ["dunwell.recovery.paused.v1 has no example"]


@pytest.mark.parametrize("text", ["{", '{"no_such_field": 1}', '{"case": {"caseId": 7}}', "{}"])
def test_an_example_that_is_not_its_message_is_found(spoiled: Path, text: str) -> None:
    (spoiled / "examples/dunwell.retry.recovery.v1/RecoveryPaused/bad.json").write_text(text)
    assert len(list(examples.findings(spoiled / "examples"))) == 1
