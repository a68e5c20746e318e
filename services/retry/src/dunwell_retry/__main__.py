"""`python -m dunwell_retry`."""

from dunwell_retry.main import run

run()
