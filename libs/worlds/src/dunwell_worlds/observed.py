"""What a refusal says: a code that hints at the hidden reason and often hides it.

Owns: the codes. Refuses: whether a charge is refused.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from dunwell_worlds.hashing import drawn, key, mixed, mixed_all, uniform, uniforms
from dunwell_worlds.issuers import DRIFT_DAYS
from dunwell_worlds.parameters import ADVICE_HOURS, CODES, GATEWAY_CODES, HARD, NSF, Parameters
from dunwell_worlds.paydays import EPOCH
from dunwell_worlds.protocol import Decline

# A refused charge repeats the first code this often; otherwise the issuer answers anew.
_PERSISTENCE = 0.8
_RIGHT_INTERVAL = 0.5
_HARD_ADVICE = 0.7
# Every 60 days one reason's answers drift: this share of them turns into 05.
_DRIFT_SHARE = 0.04


class Codes:
    """The codes of one world of so many invoices; `second` is seconds since 1970."""

    def __init__(self, seed: int, parameters: Parameters, start: date, invoices: int) -> None:
        self._first, self._again = key(seed, "first code"), key(seed, "code again")
        self._fresh, self._advice = key(seed, "fresh code"), key(seed, "advice")
        self._drift = key(seed, "code drift")
        self._start = (start - EPOCH).days
        self._rows = parameters.codes
        self._drifting: dict[int, int] = {}
        # Behind each invoice's first code, and behind the gateway's words for it.
        self._drawn = uniforms(self._first, invoices)
        subjects = np.arange(invoices, dtype=np.uint64)
        self._worded: list[int] = mixed_all(np.uint64(self._first) ^ subjects).tolist()
        # A world says the same few hundred things over and over.
        self._declines: dict[tuple[str, str, str | None], Decline] = {}

    def repeated(self, index: int, reason: int, second: int) -> str:
        """Return the network code of the first refusal and of those that repeat it; the same until answers drift."""
        return self._pick(index, reason, self._epoch(second), self._drawn[index])

    def drift_after(self, second: int) -> int:
        """Return the second, later than this one, at which answers drift."""
        return ((self._epoch(second) + 1) * DRIFT_DAYS + self._start) * 86400

    def anew(self, index: int, reason: int, second: int, stir: int) -> str | None:
        """Return the network code with which the issuer answers anew, None where it repeats itself.

        Args:
            stir: `stirred` of the invoice and its hour.
        """
        if drawn(self._again, stir) < _PERSISTENCE:
            return None
        return self._pick(index, reason, self._epoch(second), drawn(self._fresh, stir))

    def _epoch(self, second: int) -> int:
        return (second // 86400 - self._start) // DRIFT_DAYS

    def _pick(self, index: int, reason: int, epoch: int, luck: float) -> str:
        drifting = self._drifting.get(epoch)
        if drifting is None:
            drifting = self._drifting[epoch] = mixed(self._drift ^ epoch) % len(CODES)
        if drifting == reason and uniform(self._drift, index, epoch) < _DRIFT_SHARE:
            return "05"
        for code, share in self._rows[reason]:
            luck -= share
            if luck < 0:
                return code
        return self._rows[reason][-1][0]

    def decline(
        self, index: int, code: str, network: str, reason: int, second: int, clear: float, stir: int
    ) -> Decline:  # fmt: skip
        """Return the whole refusal, with Mastercard's advice where it gives one.

        Args:
            clear: When missing funds will be there; only Mastercard's advice on them asks for it.
            stir: `stirred` of the invoice and its hour.
        """
        names = GATEWAY_CODES[code]
        gateway_code = names[0]
        if len(names) > 1:
            gateway_code = names[self._worded[index] % len(names)]
        advice = None
        if network == "mastercard":
            luck = drawn(self._advice, stir)
            if code == "51":
                advice = self._interval(luck, second, clear, truthful=reason == NSF)
            elif reason == HARD and luck < _HARD_ADVICE:
                advice = "03"
        said = (gateway_code, code, advice)
        decline = self._declines.get(said)
        if decline is None:
            decline = self._declines[said] = Decline(gateway_code, code, advice, None)
        return decline

    @staticmethod
    def _interval(luck: float, second: int, clear: float, *, truthful: bool) -> str:
        """Return the interval that rounds the true clearing time in half of the cases, any other in the rest."""
        if truthful and luck < _RIGHT_INTERVAL:
            hours = (clear - second) / 3600
            return min(ADVICE_HOURS, key=lambda row: abs(row[1] - hours))[0]
        return ADVICE_HOURS[int(luck * 1e6) % len(ADVICE_HOURS)][0]
