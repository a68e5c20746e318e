"""`python -m dunwell_ledger`."""

from dunwell_ledger.main import run

run()
