"""What refusals mean, and that the data is whole."""

import re
from datetime import date, timedelta
from timeit import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunwell_gateways.decline_tables import is_primary, misgraded, publishers, table_of, tables
from dunwell_gateways.declines import (
    Reason,
    Retry,
    classify,
    coverage,
    editions,
    explain,
    named_lists,
    sources,
)
from dunwell_gateways.port import RawDecline
from dunwell_kit.errors import Invalid

TODAY = date(2026, 11, 22)
EVERY_ROW = [row for table in tables().values() for row in table.rows]


def means(gateway_code="", network_code="", advice="", message="", **about):
    about = {"gateway": "stripe", "network": "visa", "on": TODAY, **about}
    return classify(RawDecline(gateway_code, network_code, advice, message), **about)


@pytest.mark.parametrize("file", coverage(), ids=lambda file: file.file)
def test_every_code_of_a_named_list_has_a_row(file):
    assert file.missing == ()
    assert file.named == sum(len(set(codes)) for codes in named_lists().get(file.file, {}).values())
    assert file.codes >= file.named
    assert re.fullmatch(r"\d{4}\.\d{2}\.\d+", file.edition)
    assert re.fullmatch(r"\d{4}-\d{2}", file.read)


def test_every_row_has_a_source_that_resolves_and_an_honest_grade():
    for row in EVERY_ROW:
        assert row.source in sources(), row
        assert row.grade in "ABC", row
        assert row.source != "MEM" or row.grade == "C", "memory is grade C"


def test_every_source_is_used():
    assert {row.source for row in EVERY_ROW} == set(sources())


def test_grade_a_needs_the_own_text_of_the_gateway_or_network():
    assert set(publishers()) == set(tables())
    assert misgraded(EVERY_ROW) == ()


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("adyen", "S30b"),  # a restatement of Adyen's page
        ("networks/visa", "S11"),  # a gateway's word about a network
        ("braintree", "S30c"),  # another gateway's own text
        ("checkout", "MEM"),
    ],
)
def test_a_row_graded_a_on_another_ones_word_is_found(file, source):
    head = {"edition": "2026.01.0", "read": "2026-01"}
    rows = table_of(file, {**head, "codes": [row_of("1", source=source, grade="A"), row_of("2", source=source)]}).rows
    assert [row.code for row in misgraded(rows)] == ["1"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("docs.stripe.com/declines/codes", True),
        ("stripe/stripe-go:error.go", True),
        ("notstripe.com/declines", False),
        ("stripe.com.example.org/declines", False),
        ("somebody/stripe-go:error.go", False),
        ("", False),
    ],
)
def test_a_host_and_an_owner_are_told_from_look_alikes(address, expected):
    assert is_primary("stripe", address) is expected
    assert not is_primary("no_such_file", address)


def test_every_reason_is_handled_and_used():
    assert {row.reason for row in EVERY_ROW if row.reason} == set(Reason)
    for row in EVERY_ROW:
        if row.hard:
            assert row.treatment.delayed_retry in (Retry.NEVER, Retry.ON_SESSION, Retry.AFTER_FIX), row
        if row.reason is None:
            assert row.section == "advice" and row.treatment.delayed_retry is Retry.ADVICE


def row_of(code, **more):
    base = {
        "code": code, "reason": "unknown", "hard": False, "failover": "no", "retry": "once", "payer": "none",
        "mask": False, "from": None, "to": None, "region": None, "source": "MEM", "grade": "C",
    }  # fmt: skip
    return {**base, **more}


def test_dates_of_one_code_may_touch_but_not_overlap():
    day = date(2026, 1, 1)
    head = {"edition": "2026.01.0", "read": "2026-01"}
    touching = [row_of("1", to=day), row_of("1", **{"from": day})]
    assert len(table_of("t", {**head, "codes": touching}).rows) == 2
    overlapping = [row_of("1", to=day + timedelta(days=1)), row_of("1", **{"from": day})]
    with pytest.raises(Invalid, match="in force at once"):
        table_of("t", {**head, "codes": overlapping})
    with pytest.raises(Invalid, match="broken"):
        table_of("t", {**head, "codes": [row_of("1", reason="bad luck")]})


def test_the_order_of_trust_is_advice_network_gateway_message():
    assert means("generic_decline", "51").reason is Reason.INSUFFICIENT_FUNDS
    assert means("generic_decline", "51").decided_by == "network_code"
    assert means("expired_card").decided_by == "gateway_code"
    assert means("", message="You have INSUFFICIENT FUNDS.").decided_by == "message"
    advised = means("generic_decline", "05", "01", network="mastercard")
    assert (advised.reason, advised.decided_by) == (Reason.EXPIRED, "scheme_advice")


def test_the_stricter_wins_when_trusted_codes_contradict():
    stolen = means("stolen_card", "51")
    assert (stolen.reason, stolen.hard, stolen.decided_by) == (Reason.DEAD_CARD, True, "gateway_code")
    assert means("insufficient_funds", "41").reason is Reason.DEAD_CARD
    advised = means("insufficient_funds", "51", "03", network="mastercard")
    assert (advised.hard, advised.decided_by) == (True, "scheme_advice")
    assert means("lost_card", "51", "02", network="mastercard").hard


def test_a_timing_advice_keeps_the_reason_of_the_code():
    found = means("insufficient_funds", "51", "27", network="mastercard")
    assert (found.reason, found.hard) == (Reason.INSUFFICIENT_FUNDS, False)
    assert (found.decided_by, found.treatment.delayed_retry) == ("scheme_advice", Retry.ADVICE)


@pytest.mark.parametrize(
    ("code", "advice", "reason", "hard"),
    [
        ("79", "01", Reason.EXPIRED, False),
        ("79", "03", Reason.DEAD_CARD, True),
        ("83", "01", Reason.AUTH_REQUIRED, True),
        ("83", "03", Reason.ISSUER_RISK, True),
    ],
)
def test_a_mastercard_code_is_read_with_its_advice(code, advice, reason, hard):
    found = means("", code, advice, network="mastercard")
    assert (found.reason, found.hard) == (reason, hard)


@pytest.mark.parametrize("number", ["02", "03", "21"])
def test_paypals_visa_advice_and_mastercards_are_never_merged(number):
    visa = means("", "", number, gateway="paypal", network="visa")
    mastercard = means("", "", number, gateway="paypal", network="mastercard")
    assert visa.reason is Reason.REVOKED
    assert visa.rows != mastercard.rows
    assert {row.network for row in visa.rows} == {"visa"}
    assert means("", "", number, gateway="paypal", network="amex").rows == ()


def test_an_advice_number_means_nothing_on_another_network():
    assert means("", "51", "03", network="visa").reason is Reason.INSUFFICIENT_FUNDS
    assert not means("", "51", "03", network="visa").hard


@pytest.mark.parametrize(
    ("on", "hard"),
    [(date(2025, 9, 30), True), (date(2025, 10, 1), False), (date(2026, 10, 24), False), (date(2026, 10, 25), True)],
)
def test_visa_57_follows_its_dates(on, hard):
    assert means("", "57", on=on).hard is hard


def test_sepa_ms03_depends_on_the_country():
    assert means("", "MS03", network="sepa", region="DE").reason is Reason.INSUFFICIENT_FUNDS
    assert means("", "MS03", network="sepa", region="FR").hard
    assert means("", "MS03", network="sepa").hard


def test_an_unknown_code_gets_one_cautious_attempt_and_is_shown():
    found = means("brand_new_code", "ZZ", "77")
    assert (found.reason, found.decided_by, found.hard) == (Reason.UNKNOWN, "none", False)
    assert found.treatment.delayed_retry is Retry.ONCE
    assert found.rows == ()
    assert means("", gateway="no_such_gateway", network="").reason is Reason.UNKNOWN


def test_a_code_that_nobody_can_map_is_a_row_that_says_so():
    for file in coverage():
        for row in (row for row in tables()[file.file].rows if row.reason is Reason.UNKNOWN):
            assert row.code in file.unmapped
            # One careful try, none, or a look at what became of the charge: never a schedule.
            assert row.treatment.delayed_retry in (Retry.ONCE, Retry.NEVER, Retry.RECONCILE_FIRST), row
    found = means("unmapped_partner_error", gateway="recurly", network="")
    assert (found.reason, found.decided_by, found.hard) == (Reason.UNKNOWN, "gateway_code", False)
    assert found.rows == (), "the gate's sign of an unknown code: one cautious attempt, then a person"
    assert means("transaction_settled", gateway="recurly").treatment.delayed_retry is Retry.RECONCILE_FIRST


def test_a_code_that_nobody_can_map_gives_way_to_any_other_value():
    by_network = means("unmapped_partner_error", "51", gateway="recurly")
    assert (by_network.reason, by_network.decided_by) == (Reason.INSUFFICIENT_FUNDS, "network_code")
    by_less_trusted = means("do_not_honor", "R32", network="ach")
    assert by_less_trusted.hard, "what forbids is never passed over"
    timed = means("unknown", "", "27", gateway="paddle", network="mastercard")
    assert (timed.reason, timed.treatment.delayed_retry) == (Reason.UNKNOWN, Retry.ADVICE), "a time was told"
    assert [row.code for row in timed.rows] == ["27", "unknown"]


@pytest.mark.parametrize(
    ("gateway", "code", "reason", "hard"),
    [
        ("checkout", "30021", Reason.LIMIT_VELOCITY, True),  # by its range a hard decline, so the stricter
        ("checkout", "200O5", Reason.AUTH_REQUIRED, True),
        ("recurly", "currency_not_supported", Reason.CONFIG_ERROR, True),
        ("recurly", "temporary_hold", Reason.GENERIC_REFUSAL, False),  # Recurly's name for Do Not Honor
        ("recurly", "cardholder_requested_stop", Reason.REVOKED, True),
        ("recurly", "gateway_timeout", Reason.OUTAGE, False),
        ("stripe", "debit_not_authorized", Reason.DEBIT_DISPUTED, True),
        ("square", "CARD_TOKEN_EXPIRED", Reason.BAD_CREDENTIAL, True),
        ("braintree", "three_d_secure", Reason.AUTH_REQUIRED, True),
        ("razorpay", "debit_instrument_inactive", Reason.NOT_PERMITTED, True),
    ],
)
def test_what_the_vendors_lists_say(gateway, code, reason, hard):
    found = means(code, gateway=gateway, network="")
    assert (found.reason, found.hard) == (reason, hard)


def test_a_timeout_of_recurly_is_looked_at_before_another_charge():
    found = means("gateway_timeout", gateway="recurly", network="")
    assert found.treatment.delayed_retry is Retry.RECONCILE_FIRST


def test_any_row_that_masks_masks():
    assert means("lost_card").treatment.mask
    assert means("12", gateway="adyen").treatment.mask, "Adyen asks to mask all"
    assert not means("insufficient_funds", "51").treatment.mask


def test_a_network_without_a_file_is_explained_as_it_is_read():
    assert [row.file for row in explain("51", network="Elo", on=TODAY)] == ["networks/iso8583"]
    assert means("", "51", network="elo").rows == explain("51", network="elo", on=TODAY)
    with pytest.raises(Invalid, match="no decline data of a gateway 'nosuch'; there is some of adyen"):
        explain("51", gateway="nosuch", on=TODAY)


def test_a_name_in_capitals_hides_no_stop():
    assert means("stolen_card", gateway="Stripe").hard
    assert means("", "41", network="VISA").hard
    assert [row.file for row in explain("stolen_card", gateway="Stripe", on=TODAY)] == ["stripe"]


def test_an_advice_and_a_code_of_one_number_are_counted_apart():
    listed = named_lists()["networks/mastercard"]
    assert {"01", "03"} & set(listed["advice"])
    both = [row.section for row in explain("03", network="mastercard", on=TODAY) if row.advice is None]
    assert both == ["codes", "advice"]


def test_a_code_is_explained_with_its_rows_and_editions():
    rows = explain("46", gateway="adyen", network="visa", on=TODAY)
    assert {row.file for row in rows} == {"adyen", "networks/visa"}
    assert means("insufficient_funds", "51").edition.split() == [
        f"stripe/{editions()['stripe']}",
        f"networks/visa/{editions()['networks/visa']}",
    ]


_CODES = st.sampled_from([*sorted({row.code for row in EVERY_ROW}), "", "??"])


@given(_CODES, _CODES, _CODES, st.sampled_from(["visa", "mastercard", "amex", "elo", ""]))
def test_another_code_never_lifts_a_stop(gateway_code, network_code, advice, network):
    both = means(gateway_code, network_code, advice, network=network)
    for alone in (means(gateway_code, network=network), means("", network_code, network=network)):
        if alone.hard and not any(row.section == "pairs" for row in both.rows):
            assert both.hard


def test_a_classification_takes_less_than_ten_microseconds():
    seconds = timeit(lambda: means("insufficient_funds", "51"), number=2000)
    assert seconds / 2000 < 10e-6 * 5, "five times the target: shared machines are slow"
