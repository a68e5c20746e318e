"""The back-test: policies compared on one world, through the planner and the rule gate that production runs.

Owns: running policies over worlds, paired statistics, reports. Refuses: models of payers (worlds) and of chances
(planning); it sends nothing to anybody.
"""

from dunwell_retry.backtest.compare import run_backtest
from dunwell_retry.backtest.runner import Outcome, Settings, run_policy

__all__ = ["Outcome", "Settings", "run_backtest", "run_policy"]
