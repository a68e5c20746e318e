"""`python -m dunwell_cli`."""

from dunwell_cli.main import app

app()
