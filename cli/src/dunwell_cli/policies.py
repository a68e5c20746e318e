"""`policy`: what a policy document says, what it would change, and which one plans."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from dunwell_cli.models import ModelFile, asked_with, model_line
from dunwell_cli.output import Json, Tenant, call, console, errors, fail, guarded, service_url, show
from dunwell_kit.errors import Invalid
from dunwell_retry.policies import PRESETS, Policy, PolicyInvalid, parse
from dunwell_retry.policies.admission import parse_admitted
from dunwell_retry.policies.changes import diff, sentences
from dunwell_retry.policies.document import document_of

policy = typer.Typer(help="Retry policies: versioned documents, tried before they plan.", no_args_is_help=True)
File = Annotated[str, typer.Argument(help="YAML or JSON file, - for standard input, or a shipped policy's name.")]
By = Annotated[str, typer.Option(envvar=["DUNWELL_OPERATOR", "USER"], help="Who acts; kept with the change.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the change and told in every why.")]
# So many open cases are compared per request; the service plans each anew.
PAGE = 200
# So many changed cases are listed for a person; --json lists all.
ROWS_MAX = 50
VERDICTS = {
    "same": "same next charge",
    "earlier": "earlier",
    "later": "later",
    "other_method": "another method",
    "would_stop": "would stop",
    "would_charge": "would charge again",
    "unaffected": "another policy governs",
}


def _text(file: str) -> str:
    known = ", ".join(sorted(PRESETS))
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}; shipped are {known}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{file}: is no text in UTF-8; shipped are {known}") from error


def read_policy(file: str) -> Policy:
    """Return the policy of a file, or a shipped one by its name; Invalid names file, line, field and rule."""
    if file in PRESETS and not Path(file).exists():
        return PRESETS[file]
    try:
        return parse(_text(file))
    except PolicyInvalid as error:
        raise Invalid(_where(file, error)) from error


def _where(file: str, error: PolicyInvalid) -> str:
    line = f":{error.line}" if error.line else ""
    return f"{file}{line}: {error.path}: {error.rule}"


@policy.command("list")
@guarded
def list_policies(
    saved: Annotated[bool, typer.Option("--saved", help="Ask the service what is saved and switched, too.")] = False,
    tenant: Tenant = "default",
    as_json: Json = False,
) -> None:
    """List the shipped policies; with --saved, also a tenant's own and who switched what."""
    shipped = [document_of(each) for each in PRESETS.values()]
    found: dict[str, Any] = {"shipped": shipped}
    if saved:
        found = call("retry", "/v1/policies", params={"tenant": tenant})
    if as_json:
        show(found, True)
        return
    columns = {
        "name": "policy",
        "version": "version",
        "kind": "kind",
        "attempts_max": "charges",
        "horizon_days": "days",
    }
    show(found["shipped"], False, columns, "shipped policies")
    if saved:
        columns = {
            "tenant_id": "tenant", "name": "policy", "version": "version", "active": "plans", "retired": "retired",
            "activated_at": "from", "saved_by": "by",
        }  # fmt: skip
        show(found["saved"], False, columns, "saved policies")
        columns = {
            "tenant_id": "tenant",
            "kind": "switch",
            "value": "set to",
            "set_by": "by",
            "reason": "why",
            "at": "at",
        }
        show([{**row, "value": _setting(row)} for row in found["switches"]], False, columns, "switches")
        console.print(model_line(found["model"]), highlight=False, soft_wrap=True)
        console.print(
            f"where none fits: {found['default']}; held out: {found['holdout']['share']:.0%} to {found['holdout']['policy']}"
        )


def _setting(row: dict[str, Any]) -> str:
    if row["kind"] == "smart":
        return "on" if row["value"]["on"] else "off"
    document = row["value"]["policy"]
    return f"{document['name']}@{document['version']}" if document else "none"


@policy.command()
@guarded
def validate(
    file: File,
    saved: Annotated[
        bool, typer.Option("--saved", help="Ask the service for saved policies and its model's edition, too.")
    ] = False,
    tenant: Tenant = "default",
    as_json: Json = False,
) -> None:
    """Check a document as saving does; exit status 1 with the broken rule and its line."""
    known = call("retry", "/v1/policies", params={"tenant": tenant}) if saved else {}
    names = [row["name"] for row in known.get("saved", ())]
    editions = known.get("model", {}).get("editions", ())
    try:
        shipped = file in PRESETS and not Path(file).exists()
        found = PRESETS[file] if shipped else parse_admitted(_text(file), names, editions)
    except PolicyInvalid as error:
        if as_json:
            show({"valid": False, "file": file, "line": error.line, "path": error.path, "rule": error.rule}, True)
        else:
            errors.print(f"[bold red]invalid[/] {_where(file, error)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    if as_json:
        show({"valid": True, "file": file, "document": document_of(found)}, True)
    else:
        console.print(
            f"[bold green]valid[/] {found.name}@{found.version}, kind {found.kind}, at most {found.attempts_max} charges"
        )


@policy.command("diff")
@guarded
def diff_policies(old: File, new: File, as_json: Json = False) -> None:
    """Say in words what another version changes."""
    changes = diff(read_policy(old), read_policy(new))
    if as_json:
        show([{"path": each.path, "before": each.before, "after": each.after} for each in changes], True)
        return
    told = sentences(changes)
    if not told:
        console.print("no difference")
    for sentence in told:
        console.print(f"· {sentence}", highlight=False, soft_wrap=True)


@policy.command("dry-run")
@guarded
def dry_run(file: File, model: ModelFile = None, tenant: Tenant = "default", as_json: Json = False) -> None:
    """Say for each open case what a document, or another model, would change, were it in force; changes nothing."""
    document, cases, after, given = document_of(read_policy(file)), [], "", asked_with(model)
    while after is not None:
        body = {"tenant_id": tenant, "document": document, "after": after, "limit": PAGE, **given}
        page = call("retry", "/v1/policies/dry-run", method="POST", json=body)
        cases += page["cases"]
        after = page["next"]
    totals = totals_of(cases)
    if as_json:
        show({"policy": f"{document['name']}@{document['version']}", "totals": totals, "cases": cases}, True)
        return
    moved = [case for case in cases if case["verdict"] not in ("same", "unaffected")]
    columns = {
        "case_id": "case", "invoice_id": "invoice", "next_now": "next charge now", "next_then": "then",
        "verdict": "change", "hours": "hours", "why": "why",
    }  # fmt: skip
    show(
        [_row(case) for case in moved[:ROWS_MAX]],
        False,
        columns,
        f"{document['name']}@{document['version']} over {len(cases)} open cases",
    )
    if len(moved) > ROWS_MAX:
        console.print(f"… and {len(moved) - ROWS_MAX} more; --json lists all")
    console.print(
        " · ".join(f"{VERDICTS.get(name, name)} {count}" for name, count in totals["changes"].items()) or "no open case"
    )
    console.print(f"charges planned: {totals['attempts_now']} now, {totals['attempts_then']} then")


def _row(case: dict[str, Any]) -> dict[str, Any]:
    times = {name: case[name][:16].replace("T", " ") if case[name] else None for name in ("next_now", "next_then")}
    hours = None if case["hours"] is None else f"{case['hours']:+.1f}"
    return {**case, **times, "verdict": VERDICTS.get(case["verdict"], case["verdict"]), "hours": hours}


def totals_of(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of a dry run: cases by change, and charges planned now and then."""
    counted = Counter(case["verdict"] for case in cases)
    return {
        "cases": len(cases),
        "changes": {name: counted[name] for name in VERDICTS if counted[name]},
        "attempts_now": sum(case["attempts_now"] for case in cases),
        "attempts_then": sum(case["attempts_then"] for case in cases),
    }


@policy.command()
@guarded
def save(
    file: File,
    tenant: Annotated[str, typer.Option(help="Tenant whose cases it plans; * means all.")] = "default",
    by: By = "operator",
    active_at: Annotated[
        str, typer.Option(help="ISO 8601 instant with offset from which on it plans; now if empty.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Save a version of a document; it plans the cases that it is for, from their next decision on."""
    body = {"tenant_id": tenant, "by": by, "document": document_of(read_policy(file)), "active_at": active_at or None}
    made = call("retry", "/v1/policies", method="POST", json=body)
    if as_json:
        show(made, True)
    else:
        console.print(
            f"[bold green]saved[/] {made['name']}@{made['version']} for {made['tenant_id']}, plans from {made['activated_at'][:16]}"
        )


@policy.command()
@guarded
def retire(
    name: str,
    tenant: Annotated[str, typer.Option(help="Tenant whose policy it is.")] = "default",
    by: By = "operator",
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Let no saved version of a policy plan any more."""
    body = {"tenant_id": tenant, "by": by, "reason": reason}
    made = call("retry", f"/v1/policies/{name}/retire", method="POST", json=body)
    if as_json:
        show(made, True)
    else:
        console.print(f"retired {made['name']} up to version {made['version']} for {made['tenant_id']}")


@policy.command()
@guarded
def smart(
    setting: Annotated[str, typer.Argument(help="on or off")],
    tenant: Annotated[str, typer.Option(help="Tenant; * means all.")] = "*",
    by: By = "operator",
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Switch smart timing off or on; while off, pay days plan instead, waiting cases included."""
    if setting not in ("on", "off"):
        raise Invalid(f"{setting!r} is no setting; say on or off")
    body = {"tenant_id": tenant, "by": by, "reason": reason, "on": setting == "on"}
    made = call("retry", "/v1/policies/smart", method="PUT", json=body)
    if as_json:
        show(made, True)
    else:
        console.print(f"smart is {made['smart']} for {'everybody' if made['tenant_id'] == '*' else made['tenant_id']}")


@policy.command()
@guarded
def shadow(
    ask: Annotated[str, typer.Option(help="File or shipped policy to ask beside every decision; none ends it.")] = "",
    tenant: Tenant = "default",
    days: Annotated[int, typer.Option(min=1, max=730, help="Decisions of so many days are summed up.")] = 30,
    by: By = "operator",
    as_json: Json = False,
) -> None:
    """Show how shadow policies compare with what was done; with --ask, set whom to ask. A shadow never acts."""
    if ask:
        asked = None if ask == "none" else document_of(read_policy(ask))
        made = call("retry", "/v1/policies/shadow", method="PUT", json={"tenant_id": tenant, "by": by, "policy": asked})
        if as_json:
            show(made, True)
        else:
            console.print(f"shadow for {made['tenant_id']}: {made['shadow'] or 'none'}")
        return
    columns = {
        "policy": "shadow", "decisions": "decisions", "agreement": "agreement", "earlier": "earlier", "later": "later",
        "would_stop": "would stop", "would_charge": "would charge", "median_hours": "median hours",
    }  # fmt: skip
    show(call("retry", "/v1/policies/shadow", params={"tenant": tenant, "days": days}), as_json, columns, "shadows")


@policy.command()
@guarded
def evaluate(
    file: File,
    model: ModelFile = None,
    tenant: Tenant = "default",
    days: Annotated[int, typer.Option(min=1, max=730, help="Days of the log.")] = 90,
    as_json: Json = False,
) -> None:
    """Estimate from the log of real charges how often a policy's next charge would pass."""
    body = {"tenant_id": tenant, "document": document_of(read_policy(file)), "days": days, **asked_with(model)}
    found = call("retry", "/v1/policies/evaluate", method="POST", json=body)
    if as_json:
        show(found, True)
        return
    columns = {
        "method": "estimate",
        "mean": "next charge passes",
        "low": "95 % from",
        "high": "to",
        "effective_cases": "effective decisions",
    }
    target = f"{found['policy']}, model {found['model']}" if found["model"] else found["policy"]
    title = f"{target}, logged: {found['logged_rate']:.1%} of {found['decisions']} charges"
    show(found["estimates"], False, columns, title)
    console.print(found["verdict"])


@policy.command()
@guarded
def log(
    tenant: Tenant = "default",
    days: Annotated[int, typer.Option(min=1, max=730, help="Days of the log.")] = 90,
) -> None:
    """Print the log of charges with their propensities, one case a line (JSON Lines): what fitting reads."""
    sys.stdout.write(call_text("/v1/policies/log", tenant=tenant, days=days))


def call_text(path: str, **params: Any) -> str:
    """Return an answer of retry that is no JSON document."""
    answer = httpx.get(service_url("retry") + path, params=params, timeout=60, trust_env=False)
    if answer.is_error:
        fail(f"retry answered {answer.status_code}: {answer.json().get('detail', '')}")
    return answer.text
