from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell.common.v1 import common_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.catalogue import (
    UnknownType,
    by_type,
    carried_message,
    carried_type,
    dead_letter_topic,
    message_class,
    read_by,
    topic_from,
    topics,
)
from dunwell_contracts.values import instant, stamp

DOCUMENT = """
topic: dunwell.ingest.payment.v1
owner: ingest
audience: public
partitions: {production: 24, local: 6}
retention_days: 14
cleanup: delete
messages:
- {type: dunwell.payer.changed.v1, message: dunwell.payment.v1.PayerChanged, producers: [ingest], consumers: [b, a]}
"""


def test_a_catalogue_file_becomes_a_topic() -> None:
    topic = topic_from(yaml.safe_load(DOCUMENT))
    assert (topic.name, topic.partitions_local, topic.consumers) == ("dunwell.ingest.payment.v1", 6, ("a", "b"))
    assert topic.carried[0].message is payment_pb2.PayerChanged
    assert topic.dead_letter_topic("ledger") == "dunwell.ingest.payment.v1.ledger.dlq"
    assert topic.dead_letter_topic("ledger") == dead_letter_topic(topic.name, "ledger")


@pytest.mark.parametrize("missing", ["topic", "owner", "audience", "partitions", "retention_days", "cleanup"])
def test_a_catalogue_file_that_lacks_something_is_refused(missing: str) -> None:
    document = yaml.safe_load(DOCUMENT)
    del document[missing]
    with pytest.raises(KeyError, match=missing):
        topic_from(document)


def test_types_and_messages_find_each_other() -> None:
    for wire_type, carried in by_type().items():
        assert carried_type(wire_type) is carried
        assert carried_message(carried.message()) is carried
        assert message_class(carried.message.DESCRIPTOR.full_name) is carried.message
        assert topics()[carried.topic].owner in carried.producers


def test_what_no_topic_carries_is_unknown() -> None:
    with pytest.raises(UnknownType):
        carried_type("dunwell.no.such.v1")
    with pytest.raises(UnknownType):
        carried_message(common_pb2.Money())


def test_a_service_reads_the_topics_that_name_it() -> None:
    assert [t.name for t in read_by("ingest")] == []
    for topic in read_by("ledger"):
        assert "ledger" in topic.consumers


@settings(max_examples=50)
@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_instant_survives_the_wire(at: datetime) -> None:
    origin = payment_pb2.Origin(occurred_at=stamp(at))
    assert instant(origin, "occurred_at") == at
    away = payment_pb2.Origin(occurred_at=stamp(at.astimezone(timezone(timedelta(hours=9)))))
    assert instant(away, "occurred_at") == at


def test_an_instant_that_is_not_told_stays_none() -> None:
    assert instant(payment_pb2.Origin(occurred_at=stamp(None)), "occurred_at") is None


def test_an_unknown_enum_value_survives() -> None:
    newer = payment_pb2.PaymentFailed.FromString(bytes([0x20, 99]))
    assert newer.trigger == 99
    assert payment_pb2.PaymentFailed.FromString(newer.SerializeToString()).trigger == 99
