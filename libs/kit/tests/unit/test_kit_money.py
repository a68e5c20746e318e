from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_kit.errors import Invalid
from dunwell_kit.money import EXPONENTS, Money, UnknownCurrency, exponent

amounts = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(("currency", "minor", "shown"), [
    ("USD", 1999, "19.99 USD"), ("JPY", 1999, "1999 JPY"), ("KWD", 1999, "1.999 KWD"), ("EUR", -5, "-0.05 EUR"),
])  # fmt: skip
def test_an_amount_is_shown_with_its_currencys_decimals(currency: str, minor: int, shown: str) -> None:
    assert str(Money(currency, minor)) == shown


@settings(max_examples=50)
@given(amounts, amounts)
def test_sums_of_one_currency_are_exact(one: int, other: int) -> None:
    total = Money("EUR", one) + Money("EUR", other)
    assert total.minor == one + other
    assert total - Money("EUR", other) == Money("EUR", one)
    assert -Money("EUR", one) + Money("EUR", one) == Money("EUR", 0)


def test_two_currencies_never_mix() -> None:
    with pytest.raises(Invalid, match="convert first"):
        Money("EUR", 1) + Money("USD", 1)
    with pytest.raises(Invalid):
        Money("EUR", 1) - Money("USD", 1)


@pytest.mark.parametrize("currency", ["", "usd", "XXX", "EURO"])
def test_a_currency_that_does_not_exist_is_refused(currency: str) -> None:
    with pytest.raises(UnknownCurrency, match="ISO 4217"):
        Money(currency, 1)


def test_every_currency_has_one_exponent() -> None:
    assert set(EXPONENTS.values()) == {0, 2, 3}
    assert all(len(code) == 3 and code.isupper() and exponent(code) >= 0 for code in EXPONENTS)
