"""Retry policies as versioned documents.

Owns: what a policy document may say, the shipped presets, which policy a case gets, what a change would change.
Pure. Refuses: schedules and plans; see `planning`.
"""

from dunwell_retry.policies.document import Floor, Holdout, Policy, PolicyInvalid, Selector, parse, policy_of
from dunwell_retry.policies.presets import PRESETS, preset

__all__ = ["PRESETS", "Floor", "Holdout", "Policy", "PolicyInvalid", "Selector", "parse", "policy_of", "preset"]
