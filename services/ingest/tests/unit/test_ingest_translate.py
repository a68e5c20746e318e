"""What gateways tell becomes events: every kind is classified, nothing is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell.payment.v1 import payment_pb2
from dunwell_contracts.catalogue import carried_message
from dunwell_gateways.port import InstrumentFacts, Kind, Observation, RawDecline, Trigger
from dunwell_ingest.model import token_hash
from dunwell_ingest.translate import (
    KEPT,
    MINOR_MAX,
    Source,
    check_storable,
    event_of,
    key_of,
    observation_document,
    observation_from,
    references_text,
)
from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
FULL = Observation(
    Kind.PAYMENT_FAILED, AT, "cus_1", "in_1", "sub_1", "pi_1", "ch_1", "pm_1", "dp_1", Money("EUR", 2000), 2,
    AT + timedelta(days=3), Trigger.SCHEDULE, RawDecline("card_declined", "51", "24", "no funds"),
    InstrumentFacts("card", "visa", "debit", "DE", "424242", 5, 2029, "fp"), True, True, True, True,
    AT + timedelta(days=30), "open",
)  # fmt: skip
TOLD = frozenset(Kind) - KEPT


def source(tenant: str = "t") -> Source:
    made = Source(tenant, "stripe", "acct")
    made.add("evt_2", "dlv_2", AT + timedelta(seconds=2))
    made.add("evt_1", "dlv_1", AT + timedelta(seconds=1))
    return made


def told(fact: Observation) -> Message:
    event = event_of(source(), fact, ("insufficient_funds", "edition"))
    assert event is not None
    return event


@pytest.mark.parametrize("kind", sorted(Kind))
def test_every_kind_is_told_or_kept(kind: Kind) -> None:
    event = event_of(source(), replace(FULL, kind=kind), ("", ""))
    assert (event is None) is (kind in KEPT)
    if event is not None:
        assert "ingest" in carried_message(event).producers


def test_kinds_that_are_told_give_events_of_different_types() -> None:
    assert len({type(told(replace(FULL, kind=kind))) for kind in TOLD}) == len(TOLD)


def test_what_nobody_reacts_to_is_kept_on_purpose() -> None:
    assert {
        Kind.PAYMENT_PENDING, Kind.PAYMENT_CANCELED, Kind.PAYMENT_SETTLED, Kind.REFUND_PENDING, Kind.REFUND_FAILED,
        Kind.FRAUD_WARNED, Kind.INSTRUMENT_EXPIRED, Kind.INSTRUMENT_FAILED, Kind.MANDATE_ACTIVATED,
        Kind.MANDATE_CANCELED, Kind.SUBSCRIPTION_PAST_DUE, Kind.SUBSCRIPTION_PAUSED, Kind.SUBSCRIPTION_SUSPENDED,
        Kind.SUBSCRIPTION_CANCEL_SCHEDULED, Kind.SUBSCRIPTION_REACTIVATED, Kind.SUBSCRIPTION_COMPLETED,
        Kind.GATEWAY_RECOVERY_SCHEDULED, Kind.GATEWAY_RECOVERY_EXHAUSTED, Kind.GATEWAY_ACCESS_REVOKED,
        Kind.PAYMENT_LINKED,
    } == KEPT  # fmt: skip


def test_a_failed_payment_keeps_the_raw_decline_beside_its_reason() -> None:
    event = told(FULL)
    assert isinstance(event, payment_pb2.PaymentFailed)
    decline = event.decline
    assert (decline.gateway_code, decline.network_code, decline.advice_code, decline.message) == (
        "card_declined", "51", "24", "no funds",
    )  # fmt: skip
    assert (decline.reason, decline.data_edition) == ("insufficient_funds", "edition")
    assert (event.amount.currency_code, event.amount.minor_units, event.attempt_number) == ("EUR", 2000, 2)
    assert event.instrument.account_reference == "fp"


@pytest.mark.parametrize("trigger", sorted(Trigger))
def test_every_trigger_is_told(trigger: Trigger) -> None:
    event = told(replace(FULL, trigger=trigger))
    assert isinstance(event, payment_pb2.PaymentFailed)
    assert (event.trigger == payment_pb2.TRIGGER_UNSPECIFIED) is (trigger is Trigger.UNKNOWN)


@pytest.mark.parametrize("kind", sorted(TOLD))
def test_every_event_names_all_deliveries_it_comes_from_and_the_first_arrival(kind: Kind) -> None:
    origin = told(replace(FULL, kind=kind)).origin  # type: ignore[attr-defined]
    assert list(origin.gateway_event_ids) == ["evt_2", "evt_1"]
    assert list(origin.delivery_ids) == ["dlv_2", "dlv_1"]
    assert origin.received_at.ToDatetime(UTC) == AT + timedelta(seconds=1)
    assert (origin.tenant_id, origin.invoice_id, origin.payer_id) == ("t", "in_1", "cus_1")


def test_events_of_one_payer_share_a_key_and_those_without_a_payer_have_one_too() -> None:
    assert key_of(source(), FULL) == "t:cus_1"
    assert key_of(source(), replace(FULL, payer_id="")) == "t:in_1"
    assert key_of(source(), replace(FULL, payer_id="", invoice_id="")) == "t:pi_1"
    assert key_of(source(), Observation(Kind.PAYER_CHANGED, AT)) == "t:evt_2"


def test_references_of_two_accounts_never_meet() -> None:
    assert references_text(["invoice:in_1"], "stripe", "a") != references_text(["invoice:in_1"], "stripe", "b")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(Kind), st.sampled_from(Trigger), st.text(max_size=20), st.integers(0, MINOR_MAX),
    st.none() | st.booleans(), st.none() | st.datetimes(timezones=st.just(UTC)),
)  # fmt: skip
def test_an_observation_survives_the_store(
    kind: Kind, trigger: Trigger, text: str, minor: int, flag: bool | None, at: datetime | None
) -> None:
    fact = replace(
        FULL, kind=kind, trigger=trigger, status=text, money=Money("JPY", minor) if minor else None, off_session=flag,
        due_at=at, decline=RawDecline(message=text),
    )  # fmt: skip
    assert observation_from(observation_document(fact)) == fact


def test_an_amount_or_id_that_no_store_holds_is_refused_by_name() -> None:
    check_storable([FULL, replace(FULL, money=Money("EUR", MINOR_MAX), invoice_id="i" * 255)])
    with pytest.raises(Invalid, match="amount 9223372036854775808"):
        check_storable([FULL, replace(FULL, money=Money("EUR", MINOR_MAX + 1))])
    with pytest.raises(Invalid, match="invoice_id has 256 characters"):
        check_storable([replace(FULL, invoice_id="i" * 256)])


def test_only_the_hash_of_a_token_is_kept() -> None:
    assert len(token_hash("token")) == 32
    assert token_hash("token") != token_hash("tokem")
