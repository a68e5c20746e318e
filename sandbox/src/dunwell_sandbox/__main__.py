"""`python -m dunwell_sandbox`."""

import typer

from dunwell_sandbox.main import run

if __name__ == "__main__":
    typer.run(run)
