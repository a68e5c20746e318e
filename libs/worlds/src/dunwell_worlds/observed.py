"""What a refusal says: a code that hints at the hidden reason and often hides it.

Owns: the codes. Refuses: whether a charge is refused.
"""

from __future__ import annotations

from datetime import date

from dunwell_worlds.hashing import drawn, key, mixed, uniform
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
    """The codes of one world; `second` is seconds since 1970."""

    def __init__(self, seed: int, parameters: Parameters, start: date) -> None:
        self._first, self._again = key(seed, "first code"), key(seed, "code again")
        self._fresh, self._advice = key(seed, "fresh code"), key(seed, "advice")
        self._drift = key(seed, "code drift")
        self._start = (start - EPOCH).days
        self._rows = parameters.codes
        self._drifting: dict[int, int] = {}
        # The draws behind the first code and its words of the invoice that was asked about last: most refusals repeat
        # that code.
        self._drawn, self._drawn_for = 0.0, -1
        self._worded, self._worded_for = 0, -1
        # That first code itself, which stays the same until the answers drift: of an invoice, in an epoch.
        self._repeated, self._repeated_for = "", (-1, -1)
        # A world says the same few hundred things over and over.
        self._declines: dict[tuple[str, str, str | None], Decline] = {}

    def code(self, index: int, reason: int, second: int, stir: int | None) -> str:
        """Return the network code of a refusal.

        Args:
            stir: `stirred` of the invoice and its hour; None for the first refusal.
        """
        if stir is not None and drawn(self._again, stir) >= _PERSISTENCE:
            return self._pick(index, reason, self._epoch(second), drawn(self._fresh, stir))
        asked = index, self._epoch(second)
        if asked != self._repeated_for:
            if index != self._drawn_for:
                self._drawn, self._drawn_for = uniform(self._first, index), index
            self._repeated, self._repeated_for = self._pick(index, reason, asked[1], self._drawn), asked
        return self._repeated

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
            if index != self._worded_for:
                self._worded, self._worded_for = mixed(self._first ^ index), index
            gateway_code = names[self._worded % len(names)]
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
