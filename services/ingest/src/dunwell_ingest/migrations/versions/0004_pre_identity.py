"""What makes two deliveries one."""

from dunwell_kit.migrate import run_sql, script_beside

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the object to the identity."""
    run_sql(script_beside(__file__, "0004_pre_identity.sql"))
