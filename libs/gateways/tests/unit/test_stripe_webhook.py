"""What Stripe's events tell."""

from datetime import UTC, datetime, timedelta

import pytest

from dunwell_gateways.port import Kind, RawDecline, SignatureFault, SignatureInvalid, Trigger, Unreadable
from dunwell_gateways.stripe.signing import sign
from dunwell_gateways.stripe.specimens import NOW, declined_intent, event, invoice
from dunwell_gateways.stripe.webhook import StripeWebhook
from dunwell_kit.money import Money

STRIPE = StripeWebhook()
OUR_KEY = "d1" + "B" * 40


def tell(kind, subject, **more):
    return list(STRIPE.translate(event(kind, subject, **more)))


def one(kind, subject, **more):
    (fact,) = tell(kind, subject, **more)
    return fact


def test_v0_signatures_are_ignored():
    header = sign(b"x", "s", NOW).replace("v1=", "v0=")
    with pytest.raises(SignatureInvalid) as caught:
        STRIPE.verify(b"x", {"Stripe-Signature": header}, ["s"], NOW)
    assert caught.value.fault is SignatureFault.MALFORMED
    assert caught.value.status == 401


def test_an_endpoint_without_secrets_takes_nothing():
    for secrets in ([], [""]):
        with pytest.raises(SignatureInvalid):
            STRIPE.verify(b"x", {"Stripe-Signature": sign(b"x", "", NOW)}, secrets, NOW)


def test_a_secret_is_used_as_text_with_its_prefix():
    STRIPE.verify(b"x", {"stripe-signature": sign(b"x", "whsec_QQ==", NOW)}, ["whsec_QQ=="], NOW)
    with pytest.raises(SignatureInvalid):
        STRIPE.verify(b"x", {"stripe-signature": sign(b"x", "QQ==", NOW)}, ["whsec_QQ=="], NOW)


def test_a_failed_invoice_tells_what_is_due_and_when_stripe_tries_again():
    later = NOW + timedelta(days=3)
    fact = one("invoice.payment_failed", invoice(amount_remaining=1500, next_payment_attempt=int(later.timestamp())))
    assert (fact.kind, fact.invoice_id, fact.payer_id) == (Kind.PAYMENT_FAILED, "in_1", "cus_1")
    assert (fact.subscription_id, fact.money, fact.attempt_count) == ("sub_1", Money("USD", 1500), 1)
    assert (fact.next_attempt_at, fact.trigger, fact.decline) == (later, Trigger.SCHEDULE, RawDecline())


def test_the_shape_follows_the_bodys_own_version():
    both = invoice(subscription="sub_old", payment_intent="pi_old", charge="ch_old")
    both["payments"] = {"data": [{"payment": {"payment_intent": "pi_new"}}]}
    old = one("invoice.payment_failed", both, api_version="2024-06-20")
    assert (old.subscription_id, old.payment_id, old.charge_id) == ("sub_old", "pi_old", "ch_old")
    new = one("invoice.payment_failed", both, api_version="2026-10-28.endive")
    assert (new.subscription_id, new.payment_id) == ("sub_1", "pi_new")


def test_expanded_objects_are_taken_where_ids_are_expected():
    fact = one("invoice.payment_failed", invoice(customer={"id": "cus_9"}, payment_intent=declined_intent()))
    assert (fact.payer_id, fact.payment_id) == ("cus_9", "pi_1")
    assert fact.decline.gateway_code == "insufficient_funds"


def test_a_failed_intent_keeps_the_four_raw_values():
    fact = one("payment_intent.payment_failed", declined_intent())
    assert fact.decline == RawDecline(
        "insufficient_funds", "51", "try_again_later", "Your card has insufficient funds."
    )
    assert (fact.payment_id, fact.charge_id, fact.instrument_id) == ("pi_1", "ch_1", "pm_1")
    assert (fact.instrument.network, fact.instrument.funding, fact.instrument.country) == ("visa", "debit", "US")


def test_the_raw_network_advice_is_preferred_to_stripes_own():
    intent = declined_intent()
    intent["last_payment_error"]["network_advice_code"] = "03"
    assert one("payment_intent.payment_failed", intent).decline.advice_code == "03"


def test_a_failed_charge_without_a_code_is_an_unknown_decline():
    charge = {"id": "ch_1", "amount": 2000, "currency": "eur", "failure_code": None, "outcome": None}
    fact = one("charge.failed", charge)
    assert not fact.decline
    assert fact.money == Money("EUR", 2000)


@pytest.mark.parametrize(
    ("request_", "count", "trigger"),
    [
        ({"id": None, "idempotency_key": None}, 1, Trigger.SCHEDULE),
        ({"id": None}, 3, Trigger.GATEWAY_RETRY),
        ({"id": "req_1", "idempotency_key": OUR_KEY}, 3, Trigger.US),
        ({"id": "req_1", "idempotency_key": "theirs"}, 3, Trigger.UNKNOWN),
    ],
)
def test_the_causing_request_tells_who_set_off_the_charge(request_, count, trigger):
    assert one("invoice.payment_failed", invoice(attempt_count=count), request=request_).trigger is trigger


def test_paid_and_payment_succeeded_are_two_kinds_of_one_payment():
    paid = invoice(status="paid", amount_paid=2000, amount_remaining=0)
    assert one("invoice.paid", paid).kind is Kind.INVOICE_PAID
    assert one("invoice.payment_succeeded", paid).kind is Kind.PAYMENT_SUCCEEDED
    assert tell("invoice.payment_succeeded", {**paid, "paid_out_of_band": True}) == []
    assert tell("invoice.payment_succeeded", {**paid, "amount_paid": 0}) == []


def test_an_authorised_charge_moves_no_money():
    charge = {"id": "ch_1", "amount": 5, "currency": "usd", "captured": False}
    assert tell("charge.succeeded", charge) == []
    assert one("charge.captured", charge).kind is Kind.PAYMENT_SUCCEEDED


def test_a_refund_is_what_the_refunded_sum_grew_by():
    charge = {"id": "ch_1", "amount": 2000, "amount_refunded": 700, "currency": "usd"}
    fact = one("charge.refunded", charge, previous={"amount_refunded": 500})
    assert (fact.kind, fact.money) == (Kind.PAYMENT_REFUNDED, Money("USD", 200))
    failed = one(
        "refund.failed", {"id": "re_1", "amount": 200, "currency": "usd", "status": "failed", "charge": "ch_1"}
    )
    assert (failed.kind, failed.subject_id) == (Kind.REFUND_FAILED, "re_1")


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("created", "needs_response", (Kind.DISPUTE_OPENED, False, None, None)),
        ("created", "warning_needs_response", (Kind.DISPUTE_OPENED, True, None, None)),
        ("funds_withdrawn", "needs_response", (Kind.DISPUTE_UPDATED, False, True, None)),
        ("funds_reinstated", "won", (Kind.DISPUTE_UPDATED, False, False, None)),
        ("closed", "won", (Kind.DISPUTE_CLOSED, False, None, True)),
        ("closed", "lost", (Kind.DISPUTE_CLOSED, False, None, False)),
        ("closed", "warning_closed", (Kind.DISPUTE_CLOSED, True, None, True)),
    ],
)
def test_a_dispute_tells_its_stage(kind, status, expected):
    dispute = {"id": "dp_1", "amount": 100, "currency": "usd", "status": status, "charge": "ch_1", "reason": "general"}
    fact = one(f"charge.dispute.{kind}", dispute)
    assert (fact.kind, fact.inquiry, fact.funds_withdrawn, fact.won) == expected


@pytest.mark.parametrize(
    ("now", "before", "kinds"),
    [
        ({"cancel_at_period_end": True}, {"cancel_at_period_end": False}, [Kind.SUBSCRIPTION_CANCEL_SCHEDULED]),
        ({"cancel_at_period_end": False}, {"cancel_at_period_end": True}, [Kind.SUBSCRIPTION_REACTIVATED]),
        ({"cancel_at": 1800000000}, {"cancel_at": None}, [Kind.SUBSCRIPTION_CANCEL_SCHEDULED]),
        ({"status": "past_due"}, {"status": "active"}, [Kind.SUBSCRIPTION_PAST_DUE]),
        ({"status": "unpaid"}, {"status": "past_due"}, [Kind.SUBSCRIPTION_SUSPENDED]),
        ({"status": "active"}, {"status": "past_due"}, [Kind.SUBSCRIPTION_REACTIVATED]),
        ({"status": "active"}, {"status": "trialing"}, []),
        ({"pause_collection": {"behavior": "void"}}, {"pause_collection": None}, [Kind.SUBSCRIPTION_PAUSED]),
        ({"default_payment_method": "pm_2"}, {"default_payment_method": "pm_1"}, [Kind.INSTRUMENT_REPLACED]),
        ({"metadata": {}}, {"metadata": {"a": "b"}}, []),
    ],
)
def test_a_subscription_update_tells_what_changed(now, before, kinds):
    subject = {"id": "sub_1", "customer": "cus_1", **now}
    assert [fact.kind for fact in tell("customer.subscription.updated", subject, previous=before)] == kinds


def test_a_new_default_method_is_an_instrument_replaced():
    customer = {"id": "cus_1", "invoice_settings": {"default_payment_method": "pm_2"}}
    facts = tell("customer.updated", customer, previous={"invoice_settings": {"default_payment_method": None}})
    assert [fact.kind for fact in facts] == [Kind.PAYER_CHANGED, Kind.INSTRUMENT_REPLACED]
    assert {fact.instrument_id for fact in facts} == {"pm_2"}
    assert [fact.kind for fact in tell("customer.updated", customer, previous={"email": "x"})] == [Kind.PAYER_CHANGED]


def test_a_detached_method_still_names_its_payer():
    method = {"id": "pm_1", "object": "payment_method", "customer": None, "type": "card", "card": {"brand": "visa"}}
    fact = one("payment_method.detached", method, previous={"customer": "cus_1"})
    assert (fact.kind, fact.payer_id, fact.instrument.network) == (Kind.INSTRUMENT_REMOVED, "cus_1", "visa")


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        ("invoice.voided", invoice(status="void"), Kind.INVOICE_VOIDED),
        ("invoice.marked_uncollectible", invoice(status="uncollectible"), Kind.INVOICE_MARKED_UNCOLLECTIBLE),
        ("invoice.finalized", invoice(), Kind.INVOICE_OPENED),
        ("invoice.payment_action_required", invoice(), Kind.PAYMENT_ACTION_REQUIRED),
        ("payment_intent.requires_action", declined_intent(), Kind.PAYMENT_ACTION_REQUIRED),
        ("payment_intent.processing", declined_intent(), Kind.PAYMENT_PENDING),
        ("payment_intent.canceled", declined_intent(), Kind.PAYMENT_CANCELED),
        ("customer.deleted", {"id": "cus_1"}, Kind.PAYER_DELETED),
        ("customer.subscription.deleted", {"id": "sub_1", "customer": "cus_1"}, Kind.SUBSCRIPTION_CANCELED),
        ("customer.source.expiring", {"id": "card_1", "object": "card", "customer": "c"}, Kind.INSTRUMENT_EXPIRING),
        ("mandate.updated", {"id": "mandate_1", "status": "inactive", "payment_method": "pm_1"}, Kind.MANDATE_CANCELED),
        ("radar.early_fraud_warning.created", {"id": "issfr_1", "charge": "ch_1"}, Kind.FRAUD_WARNED),
        ("account.application.deauthorized", {"id": "ca_1"}, Kind.GATEWAY_ACCESS_REVOKED),
    ],
)
def test_an_event_becomes_its_fact(kind, subject, expected):
    assert one(kind, subject).kind is expected


def test_an_invoice_change_is_told_only_when_the_amount_moved():
    assert one("invoice.updated", invoice(), previous={"amount_due": 1}).kind is Kind.INVOICE_CHANGED
    assert tell("invoice.updated", invoice(), previous={"metadata": {}}) == []
    assert tell("invoice.updated", invoice(status="draft"), previous={"amount_due": 1}) == []


def test_an_invoice_payment_links_a_payment_to_its_invoice():
    link = {"id": "inpay_1", "invoice": "in_1", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}}
    fact = one("invoice_payment.paid", link)
    assert (fact.kind, fact.invoice_id, fact.payment_id) == (Kind.PAYMENT_LINKED, "in_1", "pi_1")


def test_the_head_of_an_event_is_read_without_its_meaning():
    head = STRIPE.delivery(event("invoice.paid", invoice()))
    assert (head.event_id, head.event_type, head.object_id) == ("evt_1", "invoice.paid", "in_1")
    assert head.created_at == datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.parametrize("created", [None, "1", True, -1, 10**18, 1.5])
def test_an_event_without_a_time_is_unreadable(created):
    with pytest.raises(Unreadable, match="created"):
        STRIPE.delivery(event("invoice.paid", invoice(), created=created))
