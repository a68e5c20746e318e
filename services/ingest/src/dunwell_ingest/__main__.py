"""`python -m dunwell_ingest`."""

from dunwell_ingest.main import run

run()
