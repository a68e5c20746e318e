"""Policies of tenants, switches, shadows, and how each attempt was chosen."""

from dunwell_kit.migrate import run_sql, script_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create them."""
    run_sql(script_beside(__file__, "0003_pre_policies.sql"))
