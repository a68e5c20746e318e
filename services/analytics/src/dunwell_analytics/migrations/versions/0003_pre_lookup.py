"""Look-ups that do not slow down as rows are written."""

from dunwell_kit.migrate import run_sql, script_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Write the index at once."""
    run_sql(script_beside(__file__, "0003_pre_lookup.sql"))
