"""What a decision may ask the shell to do. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dunwell_retry.model import Case, Decline, Method
from dunwell_retry.rules.model import PastAttempt, Verdict


@dataclass(frozen=True, slots=True)
class Why:
    """The reason every output carries: rule, sentence, evidence, source."""

    rule: str
    text: str
    evidence: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """The case exists."""

    why: Why


@dataclass(frozen=True, slots=True)
class Planned:
    """The case has a new plan; `inputs` are what it was made of, `shadow` what another policy would have done."""

    why: Why
    inputs: Mapping[str, Any] = field(default_factory=dict)
    shadow: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The next attempt has a date."""

    at: datetime
    why: Why


@dataclass(frozen=True, slots=True)
class Skipped:
    """An attempt that was due is not made."""

    due_at: datetime
    why: Why


@dataclass(frozen=True, slots=True)
class Choice:
    """How an attempt came to be chosen.

    Args:
        propensity: Chance with which its instant was chosen, in (0, 1]; None when a person chose it.
        score: P(approve) as the planner saw it, in [0, 1]; None where it does not score.
        policy: `name@version`.
        arm: `treated`, `holdout`, `explore` or `operator`.
    """

    propensity: float | None = None
    score: float | None = None
    policy: str = ""
    model_edition: str = ""
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """Make an attempt: permit and intent commit together, the request goes out after."""

    attempt_number: int
    method: Method
    initiator: str
    verdict: Verdict
    why: Why
    choice: Choice = Choice()


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The case is recovered."""

    by: str
    payment_id: str
    at: datetime
    why: Why


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing more will be tried."""

    why: Why


@dataclass(frozen=True, slots=True)
class Canceled:
    """The debt is gone or may not be collected."""

    why: Why


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing happens until somebody resumes."""

    why: Why


@dataclass(frozen=True, slots=True)
class Resumed:
    """The case goes on."""

    why: Why


@dataclass(frozen=True, slots=True)
class AttemptAt:
    """Arm the timer of the next attempt; any earlier one of the case is replaced."""

    at: datetime


@dataclass(frozen=True, slots=True)
class NoAttempt:
    """Cancel the timer of the next attempt: the plan has none."""


@dataclass(frozen=True, slots=True)
class DeadlineAt:
    """Arm the timer of the end."""

    at: datetime


@dataclass(frozen=True, slots=True)
class PauseEndsAt:
    """Arm the timer that ends a pause."""

    at: datetime


@dataclass(frozen=True, slots=True)
class StopTimers:
    """Cancel every timer of the case."""


@dataclass(frozen=True, slots=True)
class Logged:
    """An attempt of anybody to be written to the attempt ledger."""

    entry_id: str
    attempt: PastAttempt
    evidence: str


Output = (
    Opened | Planned | Scheduled | Skipped | Charge | Succeeded | Exhausted | Canceled | Paused | Resumed
    | AttemptAt | NoAttempt | DeadlineAt | PauseEndsAt | StopTimers | Logged
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decided:
    """The case as it is afterwards, and what is to be done about it."""

    case: Case
    outputs: tuple[Output, ...] = ()


def decline_document(decline: Decline) -> dict[str, str]:
    """Return a decline as JSON values."""
    return {
        "gateway_code": decline.gateway_code,
        "network_code": decline.network_code,
        "advice_code": decline.advice_code,
        "message": decline.message,
        "reason": decline.reason,
        "data_edition": decline.data_edition,
    }
