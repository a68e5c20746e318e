"""`cases`, `kpis`, `trial-balance`: what support and finance ask."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.panel import Panel
from rich.table import Table

from dunwell_cli.output import Json, Tenant, call, console, guarded, show
from dunwell_kit.errors import Invalid
from dunwell_kit.money import Money
from dunwell_retry.machines.case import CaseState

# The planner's names of what may stand behind a refusal, in words; of the ten the first few carry nearly all weight.
CAUSES = {
    "cycle": "money comes with the pay day",
    "line": "the credit line is used up",
    "limit": "a limit of the card",
    "risk": "the bank's suspicion",
    "block": "a lasting block",
    "outage": "an outage",
    "expired": "an expired card",
    "dead": "a dead card",
    "revoked": "the payer revoked",
    "auth": "the payer has to confirm",
}
CAUSES_SHOWN = 3
SHADOW_VERDICTS = {
    "same": "would have done the same",
    "earlier": "would have charged {place}earlier",
    "later": "would have charged {place}later",
    "other_method": "would have charged another method",
    "would_stop": "would have charged no more",
    "would_charge": "would have charged where nothing was planned",
    "failed": "found no plan",
}
cases = typer.Typer(help="Recovery cases: one unpaid invoice each.", no_args_is_help=True)


@cases.command("list")
@guarded
def list_cases(
    tenant: Tenant = "default",
    state: Annotated[str, typer.Option(help=", ".join(CaseState))] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    as_json: Json = False,
) -> None:
    """List cases, newest first."""
    if state and state not in set(CaseState):
        raise Invalid(f"--state {state!r} is no state of a case; states are {', '.join(CaseState)}")
    rows = call("retry", "/v1/cases", params={"tenant": tenant, "state": state, "limit": limit})
    columns = {
        "case": "case\ninvoice", "state": "state\nfailed on", "amount": "amount", "reason": "reason",
        "attempts": "tried",
    }  # fmt: skip
    show(rows if as_json else [_case_row(row) for row in rows], as_json, columns, "cases", slim=True)


def _case_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a case in 80 columns: its two long ids stand one above the other, never cut."""
    return {
        "case": f"{row['case_id']}\n{row['invoice_id']}",
        "state": f"{row['state']}\n{str(row['failed_at'] or '–')[:10]}",
        "amount": str(Money(row["currency"], row["amount_minor"])),
        "reason": (row["decline_reason"] or "–").replace("_", " "),
        "attempts": row["attempts"],
    }


@cases.command("show")
@guarded
def show_case(case_id: str, as_json: Json = False) -> None:
    """Show one case: its plan, its attempts, and its whole story."""
    case = call("retry", f"/v1/cases/{case_id}")
    timeline = call("analytics", f"/v1/cases/{case_id}/timeline")
    if as_json:
        show({**case, "timeline": timeline}, True)
        return
    amount = Money(case["currency"], case["amount_minor"])
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
        for line in told_sources(decision):
            console.print(f"      {line}", style="dim", highlight=False, markup=False)
        for line in beside(decision["outputs"].get("explanation") or {}):
            console.print(f"    {line}", style="dim", highlight=False, markup=False)
        _refused(decision)
        if decision.get("shadow"):
            console.print(f"    {shadow_sentence(decision['shadow'])}", style="dim", highlight=False, markup=False)
    console.print(f"\n[bold]Next:[/] {found['next']}")
    for change in found["would_change"]:
        console.print(f"  · {change}")


def _evidence(decision: dict[str, Any]) -> str:
    known = [e for e in decision["evidence"] if e]
    return f" · evidence {', '.join(known)}" if known else ""


def told_sources(decision: dict[str, Any]) -> list[str]:
    """Return where each rule of a decision's verdicts is written down; of the gate's rules, a line each."""
    return [f"{rule} is written in {'; '.join(found)}" for rule, found in (decision.get("rule_sources") or {}).items()]


def beside(explanation: dict[str, Any]) -> list[str]:
    """Return what a plan keeps beside its sentence: the likely causes, the gate's word, what is left, and remarks."""
    lines = []
    causes = sorted((explanation.get("posterior") or {}).items(), key=lambda each: -each[1])[:CAUSES_SHOWN]
    if causes:
        told = ", ".join(f"{CAUSES.get(name, name)} {share:.0%}" for name, share in causes)
        lines.append(f"likely behind the refusal: {told}")
    facts = [f"gate {', '.join(explanation['rules'])}"] if explanation.get("rules") else []
    facts += [f"sources {', '.join(explanation['sources'])}"] if explanation.get("sources") else []
    if explanation.get("budget_left") is not None:
        facts.append(f"{explanation['budget_left']} charges left")
    if explanation.get("model_edition"):
        facts.append(f"model {explanation['model_edition']}")
    return [
        *lines,
        *([" · ".join(facts)] if facts else []),
        *(f"note: {note}" for note in explanation.get("notes") or ()),
    ]


def _refused(decision: dict[str, Any]) -> None:
    explanation = decision["outputs"].get("explanation") or {}
    alternatives = explanation.get("alternatives") or explanation.get("refused") or []
    if not alternatives:
        return
    table = Table("alternative refused", "score", "why", show_edge=False)
    for row in alternatives[:5]:
        table.add_row(str(row.get("at", "")), f"{row.get('score') or 0:.3f}", str(row.get("why", "")))
    console.print(table)


def shadow_sentence(shadow: dict[str, Any]) -> str:
    """Return what the shadow policy, which never acts, would have done in the place of the one that did."""
    name, hours, why = f"shadow {shadow['policy']}", shadow.get("hours"), shadow.get("why") or "no reason kept"
    told = SHADOW_VERDICTS.get(shadow["verdict"], shadow["verdict"].replace("_", " "))
    if shadow["verdict"] == "failed":
        return f"{name} {told}: {why}"
    place = f"{abs(hours):g} h " if hours is not None and shadow["verdict"] in ("earlier", "later") else ""
    at = f" at {shadow['at'][:16].replace('T', ' ')}" if shadow.get("at") else ""
    planned = f"; {shadow['attempts']} charges planned" if shadow.get("attempts") is not None else ""
    return f"{name} (not acted on) {told.format(place=place)}{at}{planned}: {why}"


@cases.command("act")
@guarded
def act_on_case(
    case_id: str,
    action: Annotated[str, typer.Argument(help="pause, resume, retry-now or stop")],
    by: str = "operator",
    until: Annotated[
        str, typer.Option(help="When a pause ends, with its zone, e.g. 2026-12-24T09:00:00Z; 14 days if not given.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Pause, resume, retry now or stop a case; the rule gate is asked all the same."""
    asked = {"by": by, **({"until": until} if until else {})}
    show(call("retry", f"/v1/cases/{case_id}/{action}", method="POST", json=asked), as_json)


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


AsOf = Annotated[str, typer.Option(help="Day, e.g. 2026-03-31; today if not given.")]
KnownAt = Annotated[
    str, typer.Option(help="Only what was booked by this instant, with its zone, e.g. 2026-04-02T00:00:00Z.")
]


def _days(tenant: str, as_of: str, known_at: str) -> dict[str, str]:
    asked = {"tenant": tenant, "as_of": as_of, "known_at": known_at}
    return {name: value for name, value in asked.items() if value}


def _as_of(found: dict[str, Any]) -> str:
    """Return the day of a report, and what was known when, if that was asked for."""
    known = found.get("known_at")
    return f"as of {found['as_of']}" + (f", as known at {known}" if known else "")


@guarded
def trial_balance(tenant: Tenant = "default", as_of: AsOf = "", known_at: KnownAt = "", as_json: Json = False) -> None:
    """Show every account's balance and whether the books balance."""
    found = call("ledger", "/v1/trial-balance", params=_days(tenant, as_of, known_at))
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
        f"trial balance {_as_of(found)}",
    )
    console.print(
        "[green]balanced[/]" if found["balanced"] else "[bold red]NOT balanced[/]", json.dumps(found["totals"])
    )


@guarded
def aging(tenant: Tenant = "default", as_of: AsOf = "", known_at: KnownAt = "", as_json: Json = False) -> None:
    """Show open receivables by age."""
    found = call("ledger", "/v1/aging", params=_days(tenant, as_of, known_at))
    if as_json:
        show(found, True)
        return
    rows = [{"currency": currency, **line} for currency, line in found["buckets"].items()]
    names = list(rows[0]) if rows else ["currency"]
    show(rows, False, {name: name for name in names}, f"aging {_as_of(found)}")
