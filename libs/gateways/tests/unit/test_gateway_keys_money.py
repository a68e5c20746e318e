"""Idempotency keys and amounts on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunwell_gateways.keys import idempotency_key, is_ours
from dunwell_gateways.money import AMOUNT_MINOR_MAX, AmountInvalid, from_gateway, to_gateway
from dunwell_kit.errors import Invalid
from dunwell_kit.money import EXPONENTS, Money, UnknownCurrency

_ID = st.text(st.characters(exclude_characters="|", codec="utf-8"), max_size=8)


@given(st.lists(st.tuples(_ID, _ID, _ID, st.integers(1, 99)), min_size=2, max_size=2, unique=True))
def test_two_attempts_never_share_a_key(pair):
    first, second = (idempotency_key(b"k", *parts) for parts in pair)
    assert first != second
    assert is_ours(first) and len(first) == 42


def test_the_key_of_an_attempt_is_stable_and_depends_on_the_secret():
    key = idempotency_key(b"k", "t", "acct", "in_1", 1)
    assert key == idempotency_key(b"k", "t", "acct", "in_1", 1)
    assert key != idempotency_key(b"other", "t", "acct", "in_1", 1)
    assert not is_ours("a-key-of-somebody-else")


@pytest.mark.parametrize(("tenant", "number", "secret"), [("a|b", 1, b"k"), ("a", 0, b"k"), ("a", 1, b"")])
def test_a_key_that_could_be_ambiguous_is_refused(tenant, number, secret):
    with pytest.raises(Invalid):
        idempotency_key(secret, tenant, "acct", "in_1", number)


@pytest.mark.parametrize(
    ("currency", "wire", "iso"),
    [
        ("usd", 1999, 1999),
        ("jpy", 500, 500),
        ("isk", 50000, 500),
        ("ugx", 100, 1),
        ("mga", 7, 700),
        ("kwd", 5120, 5120),
    ],
)
def test_stripe_amounts_become_iso_minor_units(currency, wire, iso):
    money = from_gateway("stripe", currency, wire)
    assert money == Money(currency.upper(), iso)
    assert to_gateway("stripe", money) == wire


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(0, 10**12), st.sampled_from(["stripe", "adyen", "paypal"]))
def test_an_amount_survives_the_way_out_and_back(currency, minor, gateway):
    money = Money(currency, minor)
    try:
        wire = to_gateway(gateway, money)
    except AmountInvalid:
        assert minor % 100
        return
    assert from_gateway(gateway, currency, wire) == money


def test_impossible_amounts_raise():
    with pytest.raises(UnknownCurrency):
        from_gateway("stripe", "usx", 1)
    with pytest.raises(AmountInvalid, match="negative"):
        from_gateway("stripe", "usd", -1)
    with pytest.raises(AmountInvalid, match="whole"):
        from_gateway("stripe", "isk", 50)


def test_an_amount_that_no_store_holds_raises_at_the_bound():
    assert from_gateway("stripe", "usd", AMOUNT_MINOR_MAX).minor == AMOUNT_MINOR_MAX == 2**63 - 1
    with pytest.raises(AmountInvalid, match="more than 9223372036854775807"):
        from_gateway("stripe", "usd", AMOUNT_MINOR_MAX + 1)
    # The bound holds for what is stored: a gateway's own units may be larger than ISO's, or smaller.
    assert from_gateway("stripe", "mga", AMOUNT_MINOR_MAX // 100).minor <= AMOUNT_MINOR_MAX
    with pytest.raises(AmountInvalid, match="more than"):
        from_gateway("stripe", "mga", AMOUNT_MINOR_MAX // 100 + 1)
    assert from_gateway("stripe", "isk", (AMOUNT_MINOR_MAX + 1) // 100 * 100).minor < AMOUNT_MINOR_MAX
    with pytest.raises(AmountInvalid, match="more than"):
        to_gateway("stripe", Money("ISK", AMOUNT_MINOR_MAX))
