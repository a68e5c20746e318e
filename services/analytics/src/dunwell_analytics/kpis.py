"""KPI definitions as data: read, checked, and turned into one query.

Owns: `metrics/*.yaml`. Refuses: any figure without a stated denominator or caveat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from dunwell_kit.errors import Invalid

COLUMNS = frozenset(
    {
        "cases",
        "amount_minor",
        "recovered",
        "recovered_minor",
        "by_retry",
        "by_payer",
        "by_gateway",
        "by_self_cured",
        "exhausted",
        "canceled",
        "open",
        "attempts",
        "notices_sent",
        "notices_suppressed",
    }
)
GROUPS = {"reason": "decline_reason", "gateway": "gateway", "arm": "arm", "day": "opened_on"}
_SUM = re.compile(r"sum\((\w+)\)")


@dataclass(frozen=True, slots=True)
class Metric:
    """One KPI.

    Args:
        numerator, denominator: Sums over columns of `cohort_days`; an empty denominator means a plain total.
        matured: True when only cases older than the window count.
    """

    name: str
    title: str
    unit: str
    numerator: str
    denominator: str
    window_days: int
    matured: bool
    caveat: str
    version: int

    def __post_init__(self) -> None:
        for expression in (self.numerator, self.denominator):
            if expression and not ((found := _SUM.fullmatch(expression)) and found.group(1) in COLUMNS):
                raise Invalid(f"metric {self.name!r}: {expression!r} is not a sum of a cohort column")
        if not self.caveat:
            raise Invalid(f"metric {self.name!r} has no caveat")

    @property
    def needed(self) -> tuple[str, ...]:
        """The cohort columns it sums."""
        return tuple(_SUM.fullmatch(e).group(1) for e in (self.numerator, self.denominator) if e)  # type: ignore[union-attr]


@cache
def metrics() -> dict[str, Metric]:
    """Every KPI by name."""
    folder = resources.files("dunwell_analytics").joinpath("metrics")
    documents = [yaml.safe_load(f.read_text(encoding="utf-8")) for f in folder.iterdir() if f.name.endswith(".yaml")]
    found = {d["name"]: Metric(**{**d, "denominator": d["denominator"] or ""}) for d in documents}
    return dict(sorted(found.items()))


def query(by: Sequence[str], matured: bool) -> str:
    """Return the query over `cohort_days`, one row per currency and group; Invalid names an unknown group."""
    unknown = [name for name in by if name not in GROUPS]
    if unknown:
        raise Invalid(f"cannot group by {unknown[0]!r}; groups are {', '.join(GROUPS)}")
    groups = ", ".join(["currency", *(GROUPS[name] for name in by)])
    sums = ", ".join(f"sum({column})::bigint AS {column}" for column in sorted(COLUMNS))
    limit = "opened_on <= CAST(:as_of AS date) - 30" if matured else "opened_on <= CAST(:as_of AS date)"
    # Only names from the constants above are put into the text; every value is a parameter.
    return (
        f"SELECT {groups}, {sums} FROM cohort_days WHERE tenant_id = :tenant AND {limit}"  # noqa: S608
        f" AND opened_on BETWEEN :first AND :last GROUP BY {groups} ORDER BY {groups}"
    )


def value(metric: Metric, sums: dict[str, int]) -> float | int | None:
    """Return a metric of summed columns; None when its denominator is zero."""
    names = metric.needed
    top = sums[names[0]]
    if len(names) == 1:
        return top
    return None if sums[names[1]] == 0 else top / sums[names[1]]
