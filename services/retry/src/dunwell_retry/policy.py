"""What a tenant lets retry do: which planner, which arms, how long.

Owns: settings and the sticky assignment. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dunwell_retry.model import Assignment, Decline, Method, Plan, Situation
from dunwell_retry.policies.models import Models
from dunwell_retry.rules.model import Attempt, PastAttempt, TenantCaps, Verdict

Planner = Callable[[Situation, datetime], Plan]
Gate = Callable[[Attempt, tuple[PastAttempt, ...]], Verdict]
Classify = Callable[[Decline, str, Method, datetime], Decline]
# Past this a fresh look at the world changes too little; every published comparison uses 28 to 30 days.
HORIZON = timedelta(days=28)
# A pause that nobody ends: as long as a payer may promise ahead, and half of the horizon, so that time to collect is left.
PAUSE_DAYS = 14
# Longer than any moratorium we know of (UK Breathing Space: 60 days), and short enough to catch a mistyped year.
PAUSE_MAX = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A tenant's settings, with the pure parts they choose.

    Args:
        planners: By policy name; the two names below must be among them.
        holdout_share: Share of payers left to the holdout's policy, in [0, 1).
        classify: (raw decline, gateway, method, on) -> decline with its reason.
        gate: The rule gate.
        idempotency_secret: Key of the idempotency keys.
        pause: How long an operator's pause lasts that names no end.
        models: What documents of kind `smart` plan by; the planners were made with the same.
    """

    planners: dict[str, Planner]
    main_policy: str
    holdout_policy: str
    holdout_share: float
    experiment: str
    gate: Gate
    classify: Classify
    idempotency_secret: bytes
    caps: TenantCaps = field(default_factory=TenantCaps)
    merchant_country: str | None = None
    version: int = 1
    pause: timedelta = timedelta(days=PAUSE_DAYS)
    models: Models = field(default_factory=Models)

    def planner(self, assignment: Assignment) -> Planner:
        """Return the planner of an assignment; a policy that is gone falls back to the main one."""
        return self.planners.get(assignment.policy) or self.planners[self.main_policy]


def assign(policy: RetryPolicy, tenant_id: str, payer_id: str) -> Assignment:
    """Return a payer's arm: the same for the life of the experiment, whoever asks."""
    if policy.holdout_share <= 0:
        return Assignment("", policy.version, "", 1.0, policy.main_policy)
    digest = hashlib.sha256(f"{policy.experiment}|{policy.version}|{tenant_id}:{payer_id}".encode()).digest()
    held_out = int.from_bytes(digest[:7]) / float(1 << 56) < policy.holdout_share
    if held_out:
        return Assignment(policy.experiment, policy.version, "holdout", policy.holdout_share, policy.holdout_policy)
    return Assignment(policy.experiment, policy.version, "treated", 1 - policy.holdout_share, policy.main_policy)
