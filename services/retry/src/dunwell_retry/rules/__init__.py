"""The rule gate: dated network rules that nobody can bypass. Owns `allow`; refuses timing and preference."""

from dunwell_retry.rules.gate import Gate, allow
from dunwell_retry.rules.past import RuleInputInvalid

__all__ = ["Gate", "RuleInputInvalid", "allow"]
