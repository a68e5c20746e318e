"""The 18 agreed vectors of the rule gate, and what stands beside them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dunwell_retry.rules import Gate, RuleInputInvalid, allow
from dunwell_retry.rules.model import Attempt, Block, Fee, Initiator, Instrument, Origin, PastAttempt, TenantCaps

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
VISA = Instrument("pm_1", "card", "visa", "debit", "US", "par_1", "tok_a")
MASTERCARD = replace(VISA, network="mastercard")
PAYER = Initiator.PAYER


def ask(instrument=VISA, at=NOW, **more):
    base = Attempt(at, "in_1", 1000, "USD", Initiator.MERCHANT, "stripe", instrument, merchant_country="US")
    return replace(base, **more)


def past(ago, code="51", advice=None, instrument=VISA, **more):
    base = PastAttempt(
        NOW - ago, "in_1", 1000, "USD", Initiator.MERCHANT, instrument.instrument_id, False,
        instrument.account_reference, instrument.token, network_code=code, advice_code=advice,
    )  # fmt: skip
    return replace(base, **more)


def spread(count, newest=DAY, step=DAY, **more):
    return [past(newest + step * index, **more) for index in range(count)]


def debit(scheme, country=None):
    return Instrument("ba_1", "bank_debit", scheme, "none", country, "acct_1", "mandate_1")


def test_vector_01_a_lost_card_is_denied_for_ever():
    for later in (HOUR, 400 * DAY):
        verdict = allow(ask(at=NOW + later), [past(DAY, "41")])
        assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "visa.cat1", None)
        assert verdict.fee_if_sent == Fee(10, "USD", "excessive reattempt")
    assert not allow(ask(replace(VISA, instrument_id="pm_2", token="tok_b")), [past(DAY, "41")]).permit, "same PAN"
    other = replace(VISA, instrument_id="pm_2", account_reference="par_2", token="tok_b")
    assert allow(ask(other), [past(DAY, "41")]).permit


def test_vector_02_visa_allows_twenty_reattempts_in_thirty_days():
    nineteen = allow(ask(), spread(20))
    assert nineteen.permit
    assert nineteen.counters["visa.reattempts_30d.merchant"] == 19
    twenty = allow(ask(), spread(21))
    assert (twenty.permit, twenty.rule) == (False, "visa.cap")
    assert twenty.not_before == NOW - 20 * DAY + 30 * DAY, "the oldest reattempt ages out"
    assert allow(ask(at=twenty.not_before), spread(21)).permit
    assert not allow(ask(at=twenty.not_before - timedelta(seconds=1)), spread(21)).permit
    assert twenty.fee_if_sent == Fee(10, "USD", "excessive reattempt")


def test_vector_03_payer_and_merchant_attempts_are_counted_apart():
    history = [past(25 * DAY), *spread(3), *spread(20, step=HOUR, initiator=PAYER)]
    assert allow(ask(), history).permit
    payer = allow(ask(initiator=PAYER), history)
    assert (payer.permit, payer.counters["visa.reattempts_30d.payer"]) == (False, 20)


def test_vector_04_after_a_deactivated_token_another_token_is_tried_once():
    history = [past(DAY, "46")]
    assert allow(ask(), history).rule == "visa.token_deactivated"
    token_b = replace(VISA, token="tok_b")
    verdict = allow(ask(token_b), history)
    assert (verdict.permit, verdict.rule) == (True, "visa.new_token_once")
    tried = [*history, past(HOUR, "51", instrument=token_b)]
    assert not allow(ask(token_b), tried).permit
    before = datetime(2026, 3, 1, tzinfo=UTC)
    old = [replace(past(DAY, "46"), at=before)]
    assert allow(ask(token_b, at=before + DAY), old).rule == "visa.cat1", "46 closed the account then"


@pytest.mark.parametrize(("day", "rule"), [(24, "visa.cap"), (25, "visa.cat1")])
def test_vector_05_visa_57_is_generic_until_25_october_2026(day, rule):
    declined = datetime(2026, 10, day, 9, tzinfo=UTC)
    verdict = allow(ask(at=declined + HOUR), [replace(past(DAY, "57"), at=declined)])
    assert (verdict.permit, verdict.rule) == (day == 24, rule)


def test_vector_06_a_stop_of_all_payments_denies_until_a_new_authorisation():
    verdict = allow(ask(invoice_id="in_2"), [past(DAY, "R1")])
    assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "visa.stop_payment", None)
    assert allow(ask(invoice_id="in_2", authorization="auth_1"), [past(DAY, "R1")]).permit


def test_a_stop_of_one_payment_leaves_the_next_invoice():
    assert not allow(ask(), [past(DAY, "R0")]).permit
    assert allow(ask(invoice_id="in_2"), [past(DAY, "R0")]).permit


def test_vector_07_mastercard_27_waits_four_days():
    verdict = allow(ask(MASTERCARD), [past(DAY, "51", "27", MASTERCARD)])
    assert (verdict.permit, verdict.rule) == (False, "mastercard.mac27")
    assert verdict.not_before == NOW - DAY + timedelta(hours=96)
    assert allow(ask(MASTERCARD, at=verdict.not_before), [past(DAY, "51", "27", MASTERCARD)]).permit


@pytest.mark.parametrize(
    ("advice", "hours"),
    [("01", 24), ("02", 72), ("24", 1), ("25", 24), ("26", 48), ("27", 96), ("28", 144), ("29", 192), ("30", 240)],
)
def test_every_mastercard_wait_runs_from_its_decline(advice, hours):
    verdict = allow(ask(MASTERCARD), [past(timedelta(minutes=30), "51", advice, MASTERCARD)])
    assert verdict.not_before == NOW - timedelta(minutes=30) + timedelta(hours=hours)


def test_vector_08_mastercard_79_with_03_is_dead():
    for later in (HOUR, 45 * DAY):
        verdict = allow(ask(MASTERCARD, at=NOW + later), [past(DAY, "79", "03", MASTERCARD)])
        assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "mastercard.mac03", None)
        assert verdict.fee_if_sent == Fee(50, "USD", "excessive authorization")


def test_vector_09_mastercard_83_with_01_needs_the_payer():
    history = [past(HOUR, "83", "01", MASTERCARD)]
    merchant = allow(ask(MASTERCARD, at=NOW + 3 * DAY), history)
    assert (merchant.permit, merchant.rule) == (False, "general.never_retry.auth_required")
    assert allow(ask(MASTERCARD, initiator=PAYER), history).permit


def test_vector_10_the_eleventh_mastercard_decline_of_a_day_waits():
    history = spread(10, newest=HOUR, step=HOUR, instrument=MASTERCARD)
    verdict = allow(ask(MASTERCARD), history)
    assert (verdict.permit, verdict.rule) == (False, "mastercard.velocity_24h")
    assert verdict.not_before == NOW - 10 * HOUR + DAY, "first decline plus 24 hours"
    assert allow(ask(MASTERCARD), history[:9]).permit


def test_vector_11_mastercard_counts_an_amount_and_flags_a_changed_one():
    history = spread(35, step=timedelta(hours=20), instrument=MASTERCARD)
    same = allow(ask(MASTERCARD), history)
    assert (same.permit, same.rule) == (False, "mastercard.velocity_30d")
    assert same.not_before == history[-1].at + 30 * DAY
    changed = allow(ask(MASTERCARD, amount_minor=999), history)
    assert changed.permit
    assert changed.counters["mastercard.evasion_suspected"] == 1
    assert "evasion" in changed.reason


def test_vector_12_ach_is_presented_again_twice_and_within_180_days():
    ach = debit("ach", "US")
    once = [past(9 * DAY, "R01", instrument=ach), past(5 * DAY, "R01", instrument=ach)]
    twice = [*once, past(DAY, "R09", instrument=ach)]
    assert allow(ask(ach), once).permit
    verdict = allow(ask(ach), twice)
    assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "ach.reinitiations", None)
    late = allow(ask(ach, first_presented_at=NOW - 181 * DAY), [past(181 * DAY, "R01", instrument=ach)])
    assert (late.permit, late.rule) == (False, "ach.window")
    told = allow(ask(ach, first_presented_at=NOW - 30 * DAY), once)
    assert (told.permit, told.rule) == (False, "ach.reinitiations"), "the history begins after the first presentation"


def test_vector_13_an_unauthorised_ach_debit_stops_the_mandate():
    ach = debit("ach", "US")
    verdict = allow(ask(ach, invoice_id="in_2"), [past(DAY, "R10", instrument=ach)])
    assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "ach.not_retryable", None)


@pytest.mark.parametrize(("country", "permit"), [("DE", True), ("FR", False), (None, False)])
def test_vector_14_sepa_ms03_is_retryable_in_some_countries(country, permit):
    sepa = debit("sepa", country)
    verdict = allow(ask(sepa, currency="EUR"), [past(3 * DAY, "MS03", instrument=sepa, currency="EUR")])
    assert verdict.permit is permit


def test_vector_15_bacs_ends_a_month_after_the_first_presentation():
    bacs = debit("bacs", "GB")
    history = [past(31 * DAY, "0", instrument=bacs, currency="GBP")]
    question = ask(bacs, currency="GBP", first_presented_at=NOW - 31 * DAY)
    verdict = allow(question, history)
    assert (verdict.permit, verdict.rule) == (False, "bacs.window")
    assert allow(replace(question, at=NOW - DAY), history).permit, "day 30"
    assert allow(replace(question, notified_at=NOW - 5 * DAY), history).permit, "a new advance notice"
    assert not allow(replace(question, notified_at=NOW - 35 * DAY), history).permit, "the old notice"


def test_bacs_counts_from_the_oldest_presentation_where_the_first_is_not_told():
    bacs = debit("bacs", "GB")
    question = ask(bacs, currency="GBP")
    first = allow(question, [])
    assert (first.permit, first.rule) == (True, "general.permitted"), "nothing was presented that anybody knows of"
    days = [past(day * DAY, "0", instrument=bacs, currency="GBP") for day in (9, 7, 5, 3)]
    assert allow(question, days[:3]).permit
    verdict = allow(question, days)
    assert (verdict.permit, verdict.rule, verdict.not_before) == (False, "bacs.reinitiations", None)
    told = replace(question, first_presented_at=NOW - 9 * DAY)
    assert allow(told, days).permit, "within its month Bacs sets no number"


def test_a_first_presentation_that_is_told_bounds_a_debit_without_history():
    bacs = debit("bacs", "GB")
    question = ask(bacs, currency="GBP", first_presented_at=NOW - 31 * DAY)
    verdict = allow(question, [])
    assert (verdict.permit, verdict.rule) == (False, "bacs.window")
    assert allow(replace(question, notified_at=NOW - DAY), []).permit, "a new advance notice"


def test_a_first_presentation_told_later_than_the_history_shows_does_not_move_the_window():
    bacs = debit("bacs", "GB")
    history = [past(31 * DAY, "0", instrument=bacs, currency="GBP")]
    verdict = allow(ask(bacs, currency="GBP", first_presented_at=NOW - 2 * DAY), history)
    assert (verdict.permit, verdict.rule) == (False, "bacs.window")


@pytest.mark.parametrize(
    ("kind", "network"),
    [("bank_debit", "visa"), ("card", "ach"), ("card", "upi"), ("wallet", "sepa"), ("upi", "mastercard")],
)
def test_a_network_that_is_none_of_the_kind_is_refused(kind, network):
    question = ask(Instrument("pm_1", kind, network))
    with pytest.raises(RuleInputInvalid, match="is no network of") as caught:
        allow(question, [])
    assert caught.value.field_name == "attempt.instrument.network"


def test_a_network_in_no_list_is_judged_by_the_careful_defaults():
    assert allow(ask(Instrument("pm_1", "card", "private_label")), []).rule == "cards.default_30d"


def test_vector_16_upi_moves_out_of_the_peak_and_needs_its_notice():
    upi = Instrument("upi_1", "upi", "upi", "none", "IN", None, "mandate_1")
    eleven = datetime(2026, 11, 22, 5, 30, tzinfo=UTC)  # 11:00 in India
    question = ask(upi, at=eleven, currency="INR", notified_at=eleven - 30 * HOUR)
    verdict = allow(question, [])
    assert (verdict.permit, verdict.rule) == (False, "upi.windows")
    assert verdict.not_before == datetime(2026, 11, 22, 7, 30, tzinfo=UTC), "13:00 in India"
    assert allow(replace(question, at=verdict.not_before), []).permit
    bare = allow(replace(question, notified_at=None), [])
    assert (bare.permit, bare.rule, bare.not_before) == (False, "upi.notice", None)
    fresh = allow(replace(question, notified_at=eleven - 12 * HOUR), [])
    # 24 h after the notice it is 23:00 in India, which is open.
    assert fresh.not_before == eleven + 12 * HOUR


def test_vector_17_an_unknown_code_gets_one_delayed_attempt():
    first = past(2 * DAY, "QQ")
    verdict = allow(ask(), [first])
    assert (verdict.permit, verdict.rule) == (True, "general.unknown_code")
    assert allow(ask(at=NOW - 2 * DAY + HOUR), [first]).not_before == NOW - DAY
    again = allow(ask(), [first, past(DAY, "QQ")])
    assert (again.permit, again.rule, again.not_before) == (False, "general.unknown_code", None)


def test_vector_18_counters_follow_the_new_amount_and_the_invoice_is_guarded_first():
    history = [*spread(21, newest=2 * DAY), past(DAY, None, amount_minor=400, approved=True)]
    rest = allow(ask(amount_minor=600), history)
    assert (rest.permit, rest.counters["visa.reattempts_30d.merchant"]) == (True, 0)
    assert rest.counters["invoice.paid_minor"] == 400
    whole = allow(ask(), history)
    assert (whole.permit, whole.rule) == (False, "invoice.already_paid")
    paid = [past(DAY, None, approved=True)]
    assert allow(ask(), paid).rule == "invoice.already_paid"


def test_an_approval_resets_the_counter():
    history = [*spread(21, newest=3 * DAY), past(2 * DAY, None, approved=True, invoice_id="in_0")]
    assert allow(ask(), history).counters["visa.reattempts_30d.merchant"] == 0


def test_the_gateways_own_code_is_enough_to_stop():
    verdict = allow(ask(), [past(DAY, None, gateway_code="lost_card")])
    assert (verdict.permit, verdict.rule) == (False, "general.never_retry.dead_card")
    soft = allow(ask(), [past(DAY, "51", gateway_code="stolen_card")])
    assert not soft.permit, "the stricter of two codes wins"


@pytest.mark.parametrize("network", ["amex", "discover", "jcb"])
def test_networks_without_a_published_cap_get_the_careful_default(network):
    card = replace(VISA, network=network)
    history = spread(20, newest=HOUR, step=HOUR / 2, instrument=card)
    verdict = allow(ask(card), history)
    assert (verdict.permit, verdict.not_before) == (False, history[-1].at + 30 * DAY)
    assert allow(ask(card), history[:19]).permit


def test_brazil_names_what_a_retry_costs_and_refuses_what_is_irreversible():
    elo = replace(VISA, network="elo", country="BR")
    question = ask(elo, currency="BRL", merchant_country="BR")
    assert allow(question, spread(15, instrument=elo, currency="BRL")).fee_if_sent is None
    assert allow(question, spread(16, instrument=elo, currency="BRL")).fee_if_sent.amount_minor == 80
    hipercard = replace(elo, network="hipercard")
    verdict = allow(replace(question, instrument=hipercard), [past(DAY, "57", instrument=hipercard, currency="BRL")])
    assert (verdict.rule, verdict.fee_if_sent.amount_minor) == ("brazil.irreversible", 15)


def test_sepa_and_pad_limit_how_often_a_debit_is_presented():
    sepa = debit("sepa", "DE")
    thrice = [past(DAY * n, "AM04", instrument=sepa, currency="EUR") for n in (9, 6, 3)]
    assert allow(ask(sepa, currency="EUR"), thrice).rule == "sepa.reinitiations"
    pad = debit("pad", "CA")
    assert allow(ask(pad, currency="CAD"), [past(DAY, "901", instrument=pad, currency="CAD")]).permit
    twice = [past(DAY * n, "901", instrument=pad, currency="CAD") for n in (2, 1)]
    assert allow(ask(pad, currency="CAD"), twice).rule == "pad.reinitiations"
    changed = allow(ask(pad, currency="CAD", amount_minor=900), [past(DAY, "901", instrument=pad, currency="CAD")])
    assert changed.rule == "pad.same_amount"


@pytest.mark.parametrize(("scheme", "code"), [("ach", "R02"), ("sepa", "AC04"), ("bacs", "2"), ("becs", "3")])
def test_other_returns_stop_a_bank_debit(scheme, code):
    assert allow(ask(debit(scheme, "DE")), [past(DAY, code, instrument=debit(scheme, "DE"))]).not_before is None


def test_a_fresh_authorisation_lifts_r08_only():
    ach = debit("ach", "US")
    assert allow(ask(ach, authorization="auth_1"), [past(DAY, "R08", instrument=ach)]).permit
    assert not allow(ask(ach, authorization="auth_1"), [past(DAY, "R10", instrument=ach)]).permit


@pytest.mark.parametrize("country", ["US", "GB"])
def test_two_failed_debits_stop_a_high_cost_loan(country):
    question = ask(high_cost_loan=True, merchant_country=country)
    assert allow(question, spread(1)).permit
    verdict = allow(question, spread(2))
    assert (verdict.permit, verdict.not_before) == (False, None)
    assert allow(replace(question, authorization="auth_1"), spread(2)).permit
    assert allow(replace(question, initiator=PAYER), spread(2)).permit


@pytest.mark.parametrize("kind", ["kill_switch", "dispute", "moratorium", "hardship", "something_new"])
def test_a_block_holds_until_it_ends(kind):
    block = Block(kind, NOW - DAY, NOW + DAY)
    verdict = allow(ask(blocks=(block,)), [])
    assert (verdict.permit, verdict.rule, verdict.not_before) == (False, f"block.{kind}", NOW + DAY)
    assert allow(ask(blocks=(block,), at=NOW + DAY), []).permit
    assert allow(ask(blocks=(replace(block, since=NOW + HOUR),)), []).permit, "not begun"
    assert allow(ask(blocks=(replace(block, until=None),)), []).not_before is None
    assert allow(ask(blocks=(block,), initiator=PAYER), []).permit is (kind in ("moratorium", "hardship"))


def test_a_tenants_own_caps_are_stricter():
    assert allow(ask(caps=TenantCaps(per_invoice=3)), spread(3)).permit
    assert allow(ask(caps=TenantCaps(per_invoice=3)), spread(4)).rule == "tenant.per_invoice"
    monthly = allow(ask(caps=TenantCaps(per_30_days=2)), spread(3))
    assert (monthly.rule, monthly.not_before) == ("tenant.per_30_days", NOW - 2 * DAY + 30 * DAY)
    gap = allow(ask(caps=TenantCaps(min_gap_hours=36)), spread(1))
    assert (gap.rule, gap.not_before) == ("tenant.min_gap", NOW - DAY + 36 * HOUR)


def test_attempts_of_anybody_count():
    others = [
        replace(each, origin=origin)
        for each, origin in zip(spread(21), [Origin.GATEWAY, Origin.PAYER, Origin.OPERATOR] * 7, strict=True)
    ]
    assert not allow(ask(), others).permit


def test_a_wait_that_ends_in_another_rule_is_followed_to_the_end():
    block = Block("dispute", NOW - DAY, NOW + 3 * DAY)
    verdict = allow(ask(MASTERCARD, blocks=(block,)), [past(DAY, "51", "30", MASTERCARD)])
    assert verdict.not_before == NOW + 9 * DAY
    visa = Gate(spread(21)).allow(ask(blocks=(replace(block, until=NOW + 400 * DAY),)))
    assert visa.not_before == NOW + 400 * DAY
