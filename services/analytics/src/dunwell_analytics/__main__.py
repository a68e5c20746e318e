"""`python -m dunwell_analytics`."""

from dunwell_analytics.main import run

run()
