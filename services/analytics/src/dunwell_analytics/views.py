"""Read-only SQL for the API of analytics."""

from __future__ import annotations

from datetime import date
from typing import Any

from dunwell_analytics import kpis, translate
from dunwell_analytics.lift import Difference, difference
from dunwell_contracts.envelope import Envelope, decode
from dunwell_kit.database import Database
from dunwell_kit.errors import NotFound


async def figures(
    database: Database, tenant_id: str, by: list[str], first: date, last: date, as_of: date
) -> dict[str, Any]:
    """Return every KPI per currency and group, with numerator, denominator and caveat."""
    parameters = {"tenant": tenant_id, "as_of": as_of, "first": first, "last": last}
    everything = await database.read(kpis.query(by, matured=False), **parameters)
    matured = await database.read(kpis.query(by, matured=True), **parameters)
    groups = ["currency", *(kpis.GROUPS[name] for name in by)]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for sums, is_matured in [*((row, False) for row in everything), *((row, True) for row in matured)]:
        place = tuple(sums[g] for g in groups)
        found = rows.setdefault(place, {g: str(sums[g]) for g in groups})
        for metric in kpis.metrics().values():
            if metric.matured is is_matured:
                found[metric.name] = _figure(metric, dict(sums))
    return {
        "tenant_id": tenant_id,
        "as_of": as_of.isoformat(),
        "window_days": 30,
        "rows": list(rows.values()),
        "definitions": {
            m.name: {"title": m.title, "unit": m.unit, "caveat": m.caveat} for m in kpis.metrics().values()
        },
    }


def _figure(metric: kpis.Metric, sums: dict[str, int]) -> dict[str, Any]:
    names = metric.needed
    figure: dict[str, Any] = {"value": kpis.value(metric, sums), "numerator": sums[names[0]]}
    if len(names) == 2:
        figure["denominator"] = sums[names[1]]
    return figure


async def timeline(database: Database, case_id: str) -> list[dict[str, Any]]:
    """Return all that is known of a case in order: its own events, and what gateways told of its invoice."""
    case = await database.read(
        "SELECT tenant_id, invoice_id FROM facts WHERE case_ids && ARRAY[CAST(:case_id AS text)] AND invoice_id<>'' LIMIT 1",
        case_id=case_id,
    )
    if not case:
        raise NotFound(f"no event of case {case_id!r} is known")
    rows = await database.read(
        """SELECT seq, event_id::text AS event_id, type, occurred_at, causation_id, payload FROM facts
           WHERE case_ids && ARRAY[CAST(:case_id AS text)] OR (tenant_id=:tenant AND invoice_id=:invoice) ORDER BY occurred_at, seq""",
        case_id=case_id,
        tenant=case[0]["tenant_id"],
        invoice=case[0]["invoice_id"],
    )
    found = []
    for row in rows:
        message = decode(Envelope(row["event_id"], row["type"], "", row["occurred_at"], ""), bytes(row["payload"]))
        found.append(
            {
                "at": row["occurred_at"].isoformat(),
                "type": row["type"],
                "what": translate.line(message),
                "reason": translate.reason(message),
                "event_id": row["event_id"],
                "caused_by": row["causation_id"],
            }
        )
    return found


async def arms(database: Database, tenant_id: str, experiment: str, holdout: str = "holdout") -> Difference:
    """Return the difference between the treated payers and the holdout, matured or ended cases only."""
    rows = await database.read(
        """SELECT arm, payer_id, avg(CASE WHEN recovered_in_window THEN 1.0 ELSE 0.0 END)::float8 AS share FROM cases
           WHERE tenant_id=:tenant AND experiment=:experiment AND state NOT IN ('open', 'paused') GROUP BY arm, payer_id""",
        tenant=tenant_id,
        experiment=experiment,
    )
    shares: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        shares[row["arm"] == holdout].append(row["share"])
    return difference(shares[False], shares[True])


async def case_counts(database: Database, tenant_id: str) -> dict[str, int]:
    """Return how many cases are in each state."""
    rows = await database.read(
        "SELECT state, count(*) AS n FROM cases WHERE tenant_id=:tenant GROUP BY 1", tenant=tenant_id
    )
    return {row["state"]: int(row["n"]) for row in rows}
