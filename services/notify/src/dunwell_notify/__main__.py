"""`python -m dunwell_notify`."""

from dunwell_notify.main import run

run()
