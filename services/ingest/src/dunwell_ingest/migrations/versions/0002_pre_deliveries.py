"""Endpoints, deliveries and the halves of facts."""

from dunwell_kit.migrate import run_sql, script_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them."""
    run_sql(script_beside(__file__, "0002_pre_deliveries.sql"))
