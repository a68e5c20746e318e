"""Who is held out: a sticky share of payers that another policy handles for good.

Owns: the assignment. Refuses: memory; it follows from payer and salt alone, so that it never changes.
"""

from __future__ import annotations

from dunwell_kit.chance import uniform
from dunwell_retry.policies.document import Policy


def held_out(payer_id: str, share: float, salt: str) -> bool:
    """Return whether a payer belongs to the held-out share, 0 to 1; the same answer for ever."""
    return uniform("holdout", salt, payer_id) < share


def arm(policy: Policy, payer_id: str, tenant_id: str) -> str:
    """Return the name of the policy that handles a payer: the policy itself or its holdout's."""
    if policy.holdout is not None and held_out(payer_id, policy.holdout.share, tenant_id):
        return policy.holdout.policy
    return policy.name
