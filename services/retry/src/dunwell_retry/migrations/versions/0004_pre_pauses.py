"""When a pause began and when it ends."""

from dunwell_kit.migrate import run_sql, script_beside

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create them."""
    run_sql(script_beside(__file__, "0004_pre_pauses.sql"))
