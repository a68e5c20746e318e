"""The life of a recovery case.

A case is one unpaid invoice on its way to exactly one of three ends: `recovered` (the money is there),
`exhausted` (nothing more will be tried and money is still open), `canceled` (the debt is gone or may not be
collected: voided, disputed, subscription ended, an operator's word).

In between it is `opening` (we ask the gateway who the payer is), `waiting` (the next attempt has a date, or only
the payer can help), `charging` (an attempt is intended or sent), `uncertain` (an attempt's outcome is unknown:
nothing else may be sent until it is known) or `paused`.

Money always wins: a settlement ends a case from every state, since a payer who paid is never charged or dunned.
An end is for good: a later failure of the same invoice opens a new case.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class CaseState(StrEnum):
    """Where a case is."""

    OPENING = "opening"
    WAITING = "waiting"
    CHARGING = "charging"
    UNCERTAIN = "uncertain"
    PAUSED = "paused"
    RECOVERED = "recovered"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"


ENDS = frozenset({CaseState.RECOVERED, CaseState.EXHAUSTED, CaseState.CANCELED})
_S = CaseState
_LIVE = (_S.OPENING, _S.WAITING, _S.CHARGING, _S.UNCERTAIN, _S.PAUSED)

TRANSITIONS: Mapping[tuple[CaseState, str], CaseState] = {
    (_S.OPENING, "plan"): _S.WAITING,
    (_S.WAITING, "plan"): _S.WAITING,
    (_S.WAITING, "charge"): _S.CHARGING,
    (_S.CHARGING, "decline"): _S.WAITING,
    (_S.CHARGING, "withdraw"): _S.WAITING,
    (_S.CHARGING, "lose_sight"): _S.UNCERTAIN,
    (_S.UNCERTAIN, "decline"): _S.WAITING,
    (_S.UNCERTAIN, "withdraw"): _S.WAITING,
    (_S.WAITING, "pause"): _S.PAUSED,
    (_S.OPENING, "pause"): _S.PAUSED,
    (_S.PAUSED, "resume"): _S.WAITING,
    (_S.WAITING, "exhaust"): _S.EXHAUSTED,
    (_S.OPENING, "exhaust"): _S.EXHAUSTED,
    (_S.PAUSED, "exhaust"): _S.EXHAUSTED,
    **{(state, "settle"): _S.RECOVERED for state in _LIVE},
    **{(state, "cancel"): _S.CANCELED for state in _LIVE},
}
