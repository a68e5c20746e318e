"""The life of one charge attempt: never made twice, never forgotten.

`intent` commits before a byte leaves, with the exact request and its idempotency key. `sent` commits before the
request goes out, so that a crash in between is seen. From `sent` an answer leads to `succeeded` or `declined`; no
answer, or one that says nothing, leads to `unknown`, never back to `intent`. Only a reconciler leaves `unknown`:
to what the gateway says happened, to `absent` after two clean looks, or to `stuck`, a person's queue, after a day.
`withdrawn` is an intent that was never sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class AttemptState(StrEnum):
    """Where an attempt is."""

    INTENT = "intent"
    SENT = "sent"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    ABSENT = "absent"
    STUCK = "stuck"


_S = AttemptState

TRANSITIONS: Mapping[tuple[AttemptState, str], AttemptState] = {
    (_S.INTENT, "send"): _S.SENT,
    (_S.INTENT, "withdraw"): _S.WITHDRAWN,
    (_S.SENT, "approve"): _S.SUCCEEDED,
    (_S.SENT, "refuse"): _S.DECLINED,
    (_S.SENT, "not_written"): _S.INTENT,
    (_S.SENT, "lose_sight"): _S.UNKNOWN,
    (_S.UNKNOWN, "approve"): _S.SUCCEEDED,
    (_S.UNKNOWN, "refuse"): _S.DECLINED,
    (_S.UNKNOWN, "find_nothing"): _S.ABSENT,
    (_S.UNKNOWN, "give_up"): _S.STUCK,
    (_S.STUCK, "approve"): _S.SUCCEEDED,
    (_S.STUCK, "refuse"): _S.DECLINED,
    (_S.STUCK, "find_nothing"): _S.ABSENT,
}
