"""What the demo measured, read from the stores and the gateway's own record. Nothing here is assumed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from dunwell_cli.demo.driver import Lapse
from dunwell_cli.demo.quiet import Quiet
from dunwell_cli.fleet import Fleet, get
from dunwell_cli.invariants import (
    Broken,
    broken,
    broken_against_gateway,
    broken_at_the_mailbox,
    double_charges,
    verdict,
)
from dunwell_kit.errors import Unavailable

EXPERIMENT = "permanent-holdout"


@dataclass(frozen=True, slots=True)
class Result:
    """Everything the report is made of."""

    report: dict[str, Any]
    cases: list[dict[str, Any]]
    story: list[dict[str, Any]]
    broken: list[Broken]


async def collect(fleet: Fleet, quiet: Quiet, lapse: Lapse, wall_seconds: float) -> Result:
    """Read everything and check every invariant."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:  # noqa: DW-http - a checker on loopback
        undrained = await _drained(quiet, lapse)
        await _projected(quiet)
        truth: list[dict[str, Any]] = (await _json(client, fleet.url("sandbox", "/_sandbox/truth")))["charges"]
        stats = await _json(client, fleet.url("sandbox", "/_sandbox/stats"))
        lift = await _json(client, fleet.url("analytics", f"/v1/experiments/{EXPERIMENT}"))
        cases = [dict(r) for r in await quiet.fetch("analytics", _CASES)]
        found = undrained + await broken(quiet, lapse.now) + await broken_against_gateway(quiet, truth, lapse.now)
        found += await _webhooks_kept(quiet, stats)
        letters = await _json(client, fleet.url("sandbox", "/_sandbox/messages"))
        found += await broken_at_the_mailbox(quiet, letters["messages"])
        story_id = story_case(cases)
        story = []
        if story_id:
            answer: Any = await get(client, fleet.url("analytics", f"/v1/cases/{story_id}/timeline"))
            story = list(answer)
    report = {
        "seed": fleet.options.seed,
        "invoices": fleet.options.invoices,
        "days": round((lapse.ends_at - lapse.started_at).total_seconds() / 86400),
        "wall_seconds": round(wall_seconds, 1),
        "steps": lapse.steps,
        "recovered": _recovered(cases),
        "money": _money(cases),
        "cases": _count(cases, "state"),
        **await _attempts(quiet, cases),
        "notices": await _notices(quiet),
        "webhooks": {name: stats[name] for name in ("posted", "duplicates", "accepted", "rejected")},
        "ledger": await _ledger(quiet),
        "gateway_truth": {
            "applied_charges": sum(1 for row in truth if row["approved"]),
            "succeeded_attempts": await _succeeded(quiet),
            "double_charges": double_charges(truth),
        },
        "payers": stats["actions"],
        "holdout": lift,
        "invariants": verdict(found),
        "story_case_id": story_id,
    }
    return Result(report, cases, story, found)


_CASES = """SELECT case_id, invoice_id, payer_id, opened_at, currency, amount_minor, decline_reason, network, funding, arm,
  state, recovered_by, recovered_at, ended_at, attempts, notices_sent, notices_suppressed FROM cases ORDER BY opened_at, case_id"""


async def _json(client: httpx.AsyncClient, url: str) -> Any:
    return await get(client, url)


async def _drained(quiet: Quiet, lapse: Lapse) -> list[Broken]:
    """Ask once more whether everything is drained: no lag, nothing unsent, nothing due, within 60 s."""
    quiet.seconds = 60
    try:
        await quiet.wait(lapse.now, listeners=True)
    except Unavailable as error:
        return [Broken("I12", "drained_within_60_s", ({"what": str(error)},))]
    return []


async def _projected(quiet: Quiet) -> None:
    """Return when the read models have caught up with the log."""
    for _ in range(200):
        rows = await quiet.fetch(
            "analytics", "SELECT (SELECT count(*) FROM dirty_cases) + (SELECT count(*) FROM dirty_days) AS n"
        )
        if not rows[0]["n"]:
            return
        await asyncio.sleep(0.1)
    raise Unavailable("the read models of analytics do not catch up")


async def _webhooks_kept(quiet: Quiet, stats: Mapping[str, int]) -> list[Broken]:
    rows = await quiet.fetch("ingest", "SELECT count(*) AS n FROM deliveries")
    acknowledged = stats["accepted"] - stats["duplicates"]
    kept = int(rows[0]["n"])
    if kept == acknowledged:
        return []
    return [Broken("I1", "acknowledged_and_kept", ({"acknowledged": acknowledged, "kept": kept},))]


def _recovered(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    won = [c for c in cases if c["state"] == "recovered"]
    by = {
        name: sum(1 for c in won if c["recovered_by"] == name) for name in ("retry", "payer", "gateway", "self_cured")
    }
    invoices = sorted(c["invoice_id"] for c in won)
    return {
        "count": len(won),
        "rate": round(len(won) / len(cases), 4) if cases else 0.0,
        "by": by,
        # Two runs of one seed can be compared by this alone.
        "set_sha256": hashlib.sha256("\n".join(invoices).encode()).hexdigest(),
    }


def _money(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        line = found.setdefault(
            case["currency"], {"currency": case["currency"], "failed_minor": 0, "recovered_minor": 0}
        )
        line["failed_minor"] += case["amount_minor"]
        line["recovered_minor"] += case["amount_minor"] if case["state"] == "recovered" else 0
    return sorted(found.values(), key=lambda line: str(line["currency"]))


def _count(cases: Sequence[Mapping[str, Any]], field: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in cases:
        counts[case[field]] = counts.get(case[field], 0) + 1
    return counts


async def _attempts(quiet: Quiet, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = await quiet.fetch(
        "retry", "SELECT state, count(*) AS n FROM charge_attempts WHERE sent_at IS NOT NULL GROUP BY 1"
    )
    total = sum(row["n"] for row in rows)
    won = sum(1 for case in cases if case["state"] == "recovered")
    return {"attempts": total, "attempts_per_recovery": round(total / won, 2) if won else None}


async def _notices(quiet: Quiet) -> dict[str, Any]:
    rows = await quiet.fetch("notify", "SELECT state, step, count(*) AS n FROM notices GROUP BY 1, 2 ORDER BY 1, 2")
    sent = sum(row["n"] for row in rows if row["state"] == "sent")
    kept = sum(row["n"] for row in rows if row["state"] == "suppressed")
    steps = {f"{row['step']}:{row['state']}": row["n"] for row in rows}
    return {"sent": sent, "suppressed": kept, "by_step": steps}


async def _ledger(quiet: Quiet) -> dict[str, int]:
    rows = await quiet.fetch(
        "ledger",
        "SELECT (SELECT count(*) FROM journals) AS journals, (SELECT count(*) FROM"
        " (SELECT 1 FROM postings GROUP BY journal_id HAVING sum(amount) <> 0) u) AS unbalanced",
    )
    return {"journals": rows[0]["journals"], "unbalanced": rows[0]["unbalanced"]}


async def _succeeded(quiet: Quiet) -> int:
    rows = await quiet.fetch("retry", "SELECT count(*) AS n FROM charge_attempts WHERE state = 'succeeded'")
    return int(rows[0]["n"])


def story_case(cases: Sequence[Mapping[str, Any]]) -> str:
    """Return the case with most to tell: recovered by a retry, after refusals and a message."""
    told = [c for c in cases if c["recovered_by"] == "retry" and c["notices_sent"]]
    best = sorted(
        told or [c for c in cases if c["state"] == "recovered"] or cases,
        key=lambda c: (abs(c["attempts"] - 4), c["case_id"]),
    )
    return str(best[0]["case_id"]) if best else ""
