"""The kit's tables."""

from dunwell_kit.migrate import kit_schema, run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    run_sql(kit_schema())
