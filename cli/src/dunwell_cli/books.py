"""`cases`, `kpis`, `trial-balance`: what support and finance ask."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.panel import Panel
from rich.table import Table

from dunwell_cli.output import Json, Tenant, call, console, guarded, show

cases = typer.Typer(help="Recovery cases: one unpaid invoice each.", no_args_is_help=True)


@cases.command("list")
@guarded
def list_cases(
    tenant: Tenant = "default",
    state: Annotated[
        str, typer.Option(help="opening, waiting, charging, uncertain, paused, recovered, exhausted, canceled")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Json = False,
) -> None:
    """List cases, newest first."""
    rows = call("retry", "/v1/cases", params={"tenant": tenant, "state": state, "limit": limit})
    columns = {
        "case_id": "case", "invoice_id": "invoice", "amount_minor": "minor units", "currency": "cur", "state": "state",
        "decline_reason": "reason", "attempts": "attempts", "arm": "arm", "failed_at": "failed",
    }  # fmt: skip
    show(rows, as_json, columns, "cases")


@cases.command("show")
@guarded
def show_case(case_id: str, as_json: Json = False) -> None:
    """Show one case: its plan, its attempts, and its whole story."""
    case = call("retry", f"/v1/cases/{case_id}")
    timeline = call("analytics", f"/v1/cases/{case_id}/timeline")
    if as_json:
        show({**case, "timeline": timeline}, True)
        return
    amount = f"{case['amount_minor']} {case['currency']} (minor units)"
    console.print(Panel(f"invoice {case['invoice_id']} · {amount} · [bold]{case['state']}[/]", title=case_id))
    show(
        case["charge_attempts"],
        False,
        {"attempt_number": "no.", "sent_at": "sent", "state": "outcome", "detail": "detail"},
        "attempts",
    )
    show(timeline, False, {"at": "when", "what": "what"}, "story")


@cases.command("why")
@guarded
def why_case(case_id: str, as_json: Json = False) -> None:
    """Say of every decision about a case why it was made, and what would change it."""
    found = call("retry", f"/v1/cases/{case_id}/why")
    if as_json:
        show(found, True)
        return
    console.print(Panel(found["summary"], title=case_id))
    for decision in found["decisions"]:
        console.print(
            f"[dim]{decision['at'][:16]}[/] [bold]{decision['kind']}[/] {decision['sentence']}", highlight=False
        )
        console.print(f"    rule {decision['rule']}{_evidence(decision)}", style="dim", highlight=False)
        _refused(decision)
    console.print(f"\n[bold]Next:[/] {found['next']}")
    for change in found["would_change"]:
        console.print(f"  · {change}")


def _evidence(decision: dict[str, Any]) -> str:
    known = [e for e in decision["evidence"] if e]
    return f" · evidence {', '.join(known)}" if known else ""


def _refused(decision: dict[str, Any]) -> None:
    explanation = decision["outputs"].get("explanation") or {}
    alternatives = explanation.get("alternatives") or explanation.get("refused") or []
    if not alternatives:
        return
    table = Table("alternative refused", "score", "why", show_edge=False)
    for row in alternatives[:5]:
        table.add_row(str(row.get("at", "")), f"{row.get('score') or 0:.3f}", str(row.get("why", "")))
    console.print(table)


@cases.command("act")
@guarded
def act_on_case(
    case_id: str,
    action: Annotated[str, typer.Argument(help="pause, resume, retry-now or stop")],
    by: str = "operator",
    as_json: Json = False,
) -> None:
    """Pause, resume, retry now or stop a case; the rule gate is asked all the same."""
    show(call("retry", f"/v1/cases/{case_id}/{action}", method="POST", json={"by": by}), as_json)


@guarded
def kpis(
    tenant: Tenant = "default",
    by: Annotated[list[str] | None, typer.Option(help="Group by reason, gateway, arm or day; may repeat.")] = None,
    as_json: Json = False,
) -> None:
    """Show the KPIs, each with its numerator, denominator and caveat."""
    found = call("analytics", "/v1/kpis", params={"tenant": tenant, "by": by or []})
    if as_json:
        show(found, True)
        return
    for row in found["rows"]:
        groups = " · ".join(str(v) for k, v in row.items() if not isinstance(v, dict))
        table = Table("metric", "value", "of", title=groups, title_justify="left", header_style="bold")
        for name, definition in found["definitions"].items():
            figure = row.get(name)
            if figure is not None:
                value = figure["value"]
                text = "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
                table.add_row(
                    definition["title"],
                    text,
                    f"{figure['numerator']} / {figure['denominator']}" if "denominator" in figure else "",
                )
        console.print(table)
    console.print("[dim]Rates count matured cases only (older than 30 days).[/]")


@guarded
def trial_balance(
    tenant: Tenant = "default",
    as_of: Annotated[str, typer.Option(help="Day, e.g. 2026-03-31; today if not given.")] = "",
    as_json: Json = False,
) -> None:
    """Show every account's balance and whether the books balance."""
    found = call("ledger", "/v1/trial-balance", params={"tenant": tenant, **({"as_of": as_of} if as_of else {})})
    if as_json:
        show(found, True)
        return
    rows = [
        {
            "account": r["account"],
            "currency": r["currency"],
            "debit": r["minor"] if r["minor"] > 0 else "",
            "credit": -r["minor"] if r["minor"] < 0 else "",
        }
        for r in found["accounts"]
    ]
    show(
        rows,
        False,
        {"account": "account", "currency": "cur", "debit": "debit", "credit": "credit"},
        f"trial balance as of {found['as_of']}",
    )
    console.print(
        "[green]balanced[/]" if found["balanced"] else "[bold red]NOT balanced[/]", json.dumps(found["totals"])
    )


@guarded
def aging(tenant: Tenant = "default", as_of: str = "", as_json: Json = False) -> None:
    """Show open receivables by age."""
    found = call("ledger", "/v1/aging", params={"tenant": tenant, **({"as_of": as_of} if as_of else {})})
    if as_json:
        show(found, True)
        return
    rows = [{"currency": currency, **line} for currency, line in found["buckets"].items()]
    names = list(rows[0]) if rows else ["currency"]
    show(rows, False, {name: name for name in names}, f"aging as of {found['as_of']}")
