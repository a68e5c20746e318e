"""Countries by their codes.

Owns: which ISO 3166 alpha-2 codes exist; the worlds know nothing of the kit, which has the same list of the same file.
Refuses: anything else about them.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

# Not in ISO 3166, but what banks and card networks write for Kosovo. Source: ISO 3166-1 leaves XA to XZ to its users.
_AS_USED = ("XK",)


@cache
def countries() -> frozenset[str]:
    """Return every ISO 3166 alpha-2 code, upper case. Source: iso3166.tab of the IANA time zone data base."""
    table = (resources.files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    codes = (line.partition("\t")[0] for line in table.splitlines() if line and not line.startswith("#"))
    return frozenset((*codes, *_AS_USED))
