"""Amounts on the wire: each gateway's own minor units against ISO 4217.

Owns: the exceptions per gateway. Refuses: rounding; an amount that is no whole ISO unit raises.
"""

from __future__ import annotations

from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money, exponent

# How many decimals a gateway's integer amounts have where that differs from ISO 4217.
_EXCEPTIONS: dict[str, dict[str, int]] = {
    # ISK and UGX lost their decimals in ISO, but amounts stay in hundredths; MGA is sent whole.
    # Source: docs.stripe.com/currencies, zero-decimal and special-case currencies (from memory, check on upgrade).
    "stripe": {"ISK": 2, "UGX": 2, "MGA": 0},
    # Source: docs.adyen.com/development-resources/currency-codes (from memory, check before going live).
    "adyen": {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2},
}


# What the stores' 64-bit columns hold; nothing real comes near, so more is a mistake and is said to be one.
AMOUNT_MINOR_MAX = 2**63 - 1


class AmountInvalid(Invalid):
    """The amount cannot be one of this gateway and currency."""


def gateway_exponent(gateway: str, currency: str) -> int:
    """Return how many decimals the gateway's integer amounts have; UnknownCurrency if ISO has no such code."""
    standard = exponent(currency)
    return _EXCEPTIONS.get(gateway, {}).get(currency, standard)


def from_gateway(gateway: str, currency: str, amount: int) -> Money:
    """Return the canonical amount of a gateway's integer; the code may be lower case.

    Raises:
        UnknownCurrency: ISO 4217 has no such code.
        AmountInvalid: Negative, not a whole ISO minor unit, or above `AMOUNT_MINOR_MAX`.
    """
    code = currency.upper()
    return Money(code, _shift(amount, exponent(code) - gateway_exponent(gateway, code), code))


def to_gateway(gateway: str, money: Money) -> int:
    """Return the integer the gateway expects; AmountInvalid if it is negative, no whole unit there, or too large."""
    return _shift(money.minor, gateway_exponent(gateway, money.currency) - exponent(money.currency), money.currency)


def _shift(amount: int, places: int, currency: str) -> int:
    if amount < 0:
        raise AmountInvalid(f"amount {amount} {currency} is negative")
    scale: int = 10 ** abs(places)
    if places >= 0:
        whole, rest = amount * scale, 0
    else:
        whole, rest = divmod(amount, scale)
    if rest:
        raise AmountInvalid(f"amount {amount} {currency} is not a whole minor unit")
    if whole > AMOUNT_MINOR_MAX:
        raise AmountInvalid(f"amount {amount} {currency} is more than {AMOUNT_MINOR_MAX} minor units")
    return whole
