"""Alembic's entry: migrates over the connection the kit opened."""

from dunwell_kit.migrate import run_env

run_env()
