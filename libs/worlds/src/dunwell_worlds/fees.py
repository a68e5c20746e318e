"""What charges cost: authorisations and the schemes' fees on excess.

Owns: one invoice's count of charges and the price of the next. Refuses: chances.
Sources: payway.com/visa-excessive-reattempts-rule-fees (Visa); developer.paypal.com/braintree/articles/
risk-and-security/compliance/network-updates/2023/mastercard-f23 (Mastercard), read September 2026.
"""

from __future__ import annotations

from bisect import bisect_right

from dunwell_worlds.parameters import VISA_NEVER

_AUTHORISATION = 6
_VISA_NEVER, _VISA_EXCESS, _VISA_CAP = 10, 10, 20
_MC_ADVISED_FUNDS, _MC_EXCESS, _MC_DAY, _MC_MONTH = 2, 50, 10, 35
_MC_STOPS = frozenset(("03", "21"))
_DAY, _MONTH = 86400, 30 * 86400


class ChargeLog:
    """Charges of one invoice on one card; costs are US cents."""

    __slots__ = ("_refused", "_stopped", "count", "last_second")

    def __init__(self, first_code: str | None, first_advice: str | None, failed: int) -> None:
        self.count = 0
        self.last_second: int | None = None
        self._refused = [failed]
        self._stopped = first_code in VISA_NEVER or first_advice in _MC_STOPS

    def flat(self) -> int:
        """Return the price of a charge that reaches no issuer."""
        return _AUTHORISATION

    def sent(self, second: int, network: str, code: str | None, advice: str | None) -> int:
        """Count one charge and return its price; `code` is None when it was approved."""
        cost = _AUTHORISATION
        refused = self._refused
        if network == "visa":
            if self._stopped:
                cost += _VISA_NEVER
            # Only where there are enough of them at all it matters which lie in the window.
            if len(refused) > _VISA_CAP and _within(refused, second - _MONTH) > _VISA_CAP:
                cost += _VISA_EXCESS
        elif network == "mastercard":
            if self._stopped or (len(refused) >= _MC_DAY and _mastercard_excess(refused, second)):
                cost += _MC_EXCESS
            if code == "51" and advice is not None:
                cost += _MC_ADVISED_FUNDS
        self.count += 1
        self.last_second = second
        if code is not None:
            refused.append(second)
            if code in VISA_NEVER or advice in _MC_STOPS:
                self._stopped = True
        return cost


def _within(refused: list[int], after: int) -> int:
    # In the order of time: what lies in a window is the end of the list.
    return len(refused) - bisect_right(refused, after)


def _mastercard_excess(refused: list[int], second: int) -> bool:
    return _within(refused, second - _DAY) >= _MC_DAY or _within(refused, second - _MONTH) >= _MC_MONTH
