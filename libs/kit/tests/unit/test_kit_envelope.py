from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.catalogue import UnknownType
from dunwell_contracts.envelope import Envelope, Undecodable, decode, envelope_of
from dunwell_kit.consumer import INBOX_SLOTS, inbox_slot
from dunwell_kit.messages import readable

AT = datetime(2026, 3, 1, 9, 30, 15, 250000, tzinfo=UTC)
FULL = Envelope(
    id="019ca8f0-0000-7000-8000-000000000001",
    type="dunwell.payer.deleted.v1",
    source="dunwell/ingest",
    time=AT,
    key="t1:cus_7",
    subject="cus_7",
    correlation_id="rec_1",
    causation_id="019ca8f0-0000-7000-8000-000000000000",
    sequence=42,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    tracestate="a=b",
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)


def test_an_envelope_survives_its_headers() -> None:
    assert envelope_of(FULL.headers()) == FULL


@settings(max_examples=50)
@given(texts, texts, st.integers(0, 10**20 - 1), st.datetimes(timezones=st.just(UTC)))
def test_any_envelope_survives_its_headers(subject: str, case: str, sequence: int, at: datetime) -> None:
    made = Envelope("i", "t", "s", at, "k", subject=subject, correlation_id=case, sequence=sequence)
    assert envelope_of(made.headers()) == made


def test_an_independent_reader_understands_our_records() -> None:
    value = payment_pb2.PayerDeleted(origin=payment_pb2.Origin(tenant_id="t1")).SerializeToString()
    event = from_binary_event(KafkaMessage(headers=dict(FULL.headers()), key=FULL.key, value=value))
    assert event.get_specversion() == "1.0"
    assert (event.get_id(), event.get_type(), event.get_source()) == (FULL.id, FULL.type, FULL.source)
    assert (event.get_time(), event.get_subject()) == (AT, "cus_7")
    assert event.get_datacontenttype() == "application/protobuf"
    assert event.get_extension("partitionkey") == "t1:cus_7"
    assert event.get_extension("correlationid") == "rec_1"
    assert event.get_extension("sequence") == "00000000000000000042"
    assert event.get_extension("traceparent") == FULL.traceparent
    data = event.get_data()
    # The library's only format shows bytes that are text as text.
    assert (data.encode() if isinstance(data, str) else data) == value


def test_sequences_sort_as_text() -> None:
    headers = [dict(Envelope("i", "t", "s", AT, "k", sequence=n).headers())["ce_sequence"] for n in (2, 10, 999)]
    assert headers == sorted(headers)
    assert {len(h) for h in headers} == {20}


@pytest.mark.parametrize("missing", ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"])
def test_a_missing_header_is_named(missing: str) -> None:
    with pytest.raises(Undecodable, match=missing):
        envelope_of([(n, v) for n, v in FULL.headers() if n != missing])


@pytest.mark.parametrize(("header", "value"), [
    ("ce_time", b"yesterday"), ("ce_time", b"2026-03-01T09:00:00"), ("ce_sequence", b"many"),
    ("ce_specversion", b"0.3"), ("ce_subject", b"\xff"),
])  # fmt: skip
def test_a_wrong_header_is_undecodable(header: str, value: bytes) -> None:
    with pytest.raises(Undecodable):
        envelope_of([(n, v) for n, v in FULL.headers() if n != header] + [(header, value)])


def test_a_value_that_is_not_its_type_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="is not that message"):
        decode(FULL, b"\xff\xff\xff")
    with pytest.raises(UnknownType):
        decode(Envelope("i", "dunwell.no.such.v1", "s", AT, "k"), b"")


def test_an_event_keeps_its_inbox_slot_in_every_zone_and_weeks_rotate() -> None:
    assert inbox_slot(AT) == inbox_slot(AT.astimezone(timezone(timedelta(hours=-8))))
    slots = [inbox_slot(AT + timedelta(weeks=n)) for n in range(INBOX_SLOTS)]
    assert sorted(slots) == list(range(INBOX_SLOTS))
    assert inbox_slot(AT + timedelta(weeks=INBOX_SLOTS)) == slots[0]


@settings(max_examples=50)
@given(st.binary(max_size=20))
def test_any_bytes_are_readable_and_hold_no_nul(raw: bytes) -> None:
    assert "\x00" not in readable(raw)
