"""Facts, so that late ones can be put in their place."""

from dunwell_kit.migrate import run_sql, script_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create them, and fill them from what is booked."""
    run_sql(script_beside(__file__, "0003_pre_facts.sql"))
