"""Sentences for people: why then, why not, why no more.

Owns: the words of a plan. Refuses: numbers that the plan does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dunwell_retry.planning.coverage import Pick
from dunwell_retry.planning.model import Refused
from dunwell_retry.planning.parameters import REASONS, Floats
from dunwell_retry.planning.posterior import Rhythm
from dunwell_retry.planning.rhythm import HYPOTHESES
from dunwell_retry.planning.scenarios import Reals, Rows

CHANGES = (
    "an approval, a payment or a cancellation ends the plan",
    "a refusal, above all one with another code or advice, replans what is left",
    "a new or repaired payment method is charged at once",
)
_SENTENCES = {
    "cycle": "money should be there after pay",
    "line": "a credit line may have freed up",
    "limit": "a spending limit has reset by then",
    "risk": "the bank may judge the charge differently at this hour",
    "block": "another processor may be accepted where the first was not",
    "outage": "the bank should be back in order",
    "expired": "the card updater may have answered",
}
# A rhythm below this share of certainty is not worth telling.
_SURE = 0.25


def why_then(layout: Rows, chance: Reals, weights: Floats, pick: Pick, other_route: bool) -> str:
    """Return why a charge was put at its instant: the stories that it mostly stands for."""
    if pick.option > 0:
        return "another method of the payer may pass where the first did not"
    if other_route:
        return _SENTENCES["block"]
    parts = chance[pick.column] * weights
    shares = np.bincount(layout.reason, weights=parts, minlength=len(REASONS))
    main = int(shares.argmax())
    sentence = _SENTENCES.get(REASONS[main], "it may pass")
    if REASONS[main] == "cycle":
        cycles = layout.cycles
        by_hypothesis = np.bincount(layout.hypothesis[:cycles], weights=parts[:cycles], minlength=len(HYPOTHESES))
        best = int(by_hypothesis.argmax())
        if by_hypothesis[best] >= _SURE * by_hypothesis.sum():
            sentence += f" ({HYPOTHESES[best].label})"
    return f"{sentence}; adds {pick.gain:.1%}"


def rhythm_text(past: Rhythm) -> str | None:
    """Return the likeliest pay rhythm with its share, or None when the past does not tell it."""
    best = int(past.weights.argmax())
    share = float(past.weights[best])
    if share < _SURE:
        return None
    return f"{HYPOTHESES[int(past.hypotheses[best])].label} ({share:.0%})"


def why_stop(
    barred: Mapping[str, str], turned_down: Sequence[Refused], budget: int, posterior: Mapping[str, float]
) -> str:
    """Return why nothing more is sent."""
    if budget == 0:
        return "the policy's attempts are used up"
    if barred:
        return next(iter(barred.values()))
    if turned_down:
        return turned_down[0].reason
    main = max(posterior, key=lambda reason: posterior[reason])
    return f"no further charge adds more than it costs (most likely: {main}, {posterior[main]:.0%})"
