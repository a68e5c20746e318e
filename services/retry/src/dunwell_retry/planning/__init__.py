"""The planner: when to charge again, planned as a whole, with every reason kept.

Owns: the posterior over hidden reasons, the joint plan, its explanation, fitting and estimates. Pure: equal inputs
give equal plans. Refuses: the networks' rules (asked through `rules`), time, chance and storage.
"""

from dunwell_retry.planning.model import Case, Decline, Method, Past, Plan, PlannedAttempt, Refused, Sent
from dunwell_retry.planning.planner import plan

__all__ = ["Case", "Decline", "Method", "Past", "Plan", "PlannedAttempt", "Refused", "Sent", "plan"]
