"""A tenant's settings of the books, and the arithmetic of ageing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

# Upper bounds in days past due, inclusive; what lies past the last is "121+".
BUCKETS = ((0, "not_due"), (30, "1-30"), (60, "31-60"), (90, "61-90"), (120, "91-120"))
BUCKET_LAST = "121+"
BUCKET_NAMES = (*(name for _, name in BUCKETS), BUCKET_LAST)


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """How a tenant keeps its books.

    Args:
        timezone: IANA zone of business dates.
        write_off_exhausted: Write off what a recovery case leaves open when it is exhausted.
    """

    timezone: str = "UTC"
    write_off_exhausted: bool = False


def bucket(due_on: date, as_of: date) -> str:
    """Return the ageing bucket of an item due on a day, seen on another."""
    days = (as_of - due_on).days
    return next((name for bound, name in BUCKETS if days <= bound), BUCKET_LAST)
