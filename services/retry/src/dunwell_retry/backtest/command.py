"""`dunwell backtest`: the command.

Owns: options, progress, what is printed. Refuses: computing; see `compare`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dunwell_retry.backtest.compare import run_backtest
from dunwell_retry.backtest.docs import write_reference
from dunwell_retry.backtest.html import page
from dunwell_retry.backtest.loading import SHIPPED, WorldUnknown
from dunwell_retry.backtest.runner import Progress as Advance
from dunwell_retry.backtest.runner import Settings
from dunwell_retry.backtest.statistics import DIFFERING_MIN, PAIRS_MIN, enough
from dunwell_retry.planning.parameters import Model, ModelUnusable, parse
from dunwell_retry.policies.document import Policy, PolicyInvalid
from dunwell_retry.policies.document import parse as parse_policy
from dunwell_retry.policies.presets import PRESETS
from dunwell_retry.rules import RuleInputInvalid
from dunwell_worlds.invoices import said
from dunwell_worlds.validate import WorldBroken

app = typer.Typer(add_completion=False, help="Compare retry policies on a world of payers.")

# A user's mistake, as opposed to a crash. Source: POSIX convention for usage errors.
_USAGE = 2
# Worlds and planners draw with 64 bits.
_SEED_MAX = 2**63 - 1
_WORLD = f"module:factory, history:FILE, or one of {', '.join(SHIPPED)}."
_POLICY = f"May repeat: {', '.join(PRESETS)}; NAME@N limits the charges; or a policy file."


@app.command()
def backtest(
    world: Annotated[str, typer.Option(help=_WORLD)] = "base",
    policy: Annotated[list[str] | None, typer.Option(help=_POLICY)] = None,
    baseline: Annotated[list[str] | None, typer.Option(help="May repeat, like --policy.")] = None,
    invoices: Annotated[int, typer.Option(min=1, help="Failed invoices.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=_SEED_MAX, help="Seed of the world.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report, every charge listed.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write a page with curves.")] = None,
    model_file: Annotated[Path | None, typer.Option("--model", help="Model file for smart policies.")] = None,
    emails: Annotated[bool, typer.Option(help="Send five friendly e-mails beside the charges.")] = False,
    oracle: Annotated[bool, typer.Option(help="Add the bound, where the world offers it.")] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Compare policies on common random numbers, through the planner and the gate that production runs."""
    console = Console(stderr=True)
    try:
        for file in (json_file, html_file):
            _writable(file)
        report = _run(
            console, world, policy or ["smart"], baseline or ["uniform-8", "payday"], invoices, seed,
            Settings(emails=emails, model=_model(model_file)), oracle, jobs, json_file is not None,
        )  # fmt: skip
    except (WorldUnknown, WorldBroken, PolicyInvalid, ModelUnusable, RuleInputInvalid, OSError) as error:
        console.print(f"[red]error:[/red] {escape(' '.join(str(error).split()))}", highlight=False, soft_wrap=True)
        raise typer.Exit(_USAGE) from error
    if report["invoices"] != invoices:
        console.print(f"note: {invoices:,} invoices were asked for, {report['invoices']:,} are what the world has")
    if json_file is not None:
        json_file.write_text(json.dumps(report), "utf-8")
    if html_file is not None:
        html_file.write_text(page(report), "utf-8")
    Console().print(table(report))
    for name, entry in report["differences"].items():
        won = entry["recovered_rate"]
        Console().print(
            f"{name}: {won['mean'] * 100:+.2f} points ({won['low'] * 100:+.2f} … {won['high'] * 100:+.2f}), "
            f"{verdict(entry)}"
        )


def verdict(difference: Mapping[str, Any]) -> str:
    """Return in words what a difference of recovered invoices is worth."""
    pairs, differing = difference["pairs"], difference["only_policy"] + difference["only_baseline"]
    if not enough(pairs, differing):
        needed = f"{PAIRS_MIN} pairs, {DIFFERING_MIN} of them unlike, are the least"
        return f"too few to tell ({pairs} pairs, {differing} unlike; {needed})"
    return "significant" if difference["recovered_rate"]["significant"] else "not significant yet"


@app.command()
def reference(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/reference/backtest.md"),
    invoices: Annotated[int, typer.Option(min=1, help="Invoices of each world.")] = 20_000,
    seed: Annotated[list[int] | None, typer.Option(help="May repeat; 1 and 2 if not given.")] = None,
    jobs: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Run every shipped policy on every shipped world and write the reference page; about half an hour on two cores."""
    console = Console(stderr=True)
    # Held to as few charges as smart is, a schedule is the fairer comparison.
    limited = [f"{name}@{most}" for name in ("smart", "uniform-8", "payday") for most in (4, 3)]
    baselines = ["uniform-8", "payday", *(name for name in limited if not name.startswith("smart"))]
    reports = [
        _run(console, world, [*PRESETS, *limited], baselines, invoices, number, Settings(), True, jobs, False)
        for world in SHIPPED
        for number in seed or [1, 2]
    ]
    write_reference(reports, out)


def _writable(file: Path | None) -> None:
    """Tell before the run, which may take minutes, that its report could not be written."""
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise FileNotFoundError(f"cannot write {str(file)!r}: {str(file.parent)!r} is no folder, or it is one itself")


def _model(path: Path | None) -> Model | None:
    if path is None:
        return None
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ModelUnusable(f"cannot read model file {str(path)!r}: {said(error)}") from error


def _named(names: list[str]) -> list[str | Policy]:
    """Return names as they are, and the documents of names that are files."""
    return [_document(Path(name)) if Path(name).is_file() else name for name in names]


def _document(path: Path) -> Policy:
    try:
        return parse_policy(path.read_text("utf-8"))
    except PolicyInvalid as error:
        raise PolicyInvalid(f"{path}: {error.path}", error.rule, error.line) from error
    except UnicodeDecodeError as error:
        raise PolicyInvalid(str(path), "is no text in UTF-8") from error


def _run(
    console: Console, world: str, policies: list[str], baselines: list[str], invoices: int, seed: int,
    settings: Settings, oracle: bool, jobs: int, attempts: bool,
) -> dict[str, Any]:  # fmt: skip
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Where nobody looks, nothing is drawn: ten times a second it would take the interpreter from the run.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def started(name: str, count: int) -> Advance:
            task = bar.add_task(f"{world}: {name}", total=count)
            return lambda done: bar.advance(task, done)

        return run_backtest(
            world, _named(policies), _named(baselines), invoices=invoices, seed=seed, settings=settings, jobs=jobs,
            oracle=oracle, attempts=attempts, started=started,
        )  # fmt: skip


def table(report: Mapping[str, Any]) -> Table:
    """Return the report as a table for a terminal."""
    title = f"{report['world']}: {report['invoices']:,} invoices, seed {report['seed']}"
    shown = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    shown.add_column("policy", no_wrap=True)
    # Short heads: the table fits a terminal of 80 columns.
    for name in ("won", "value", "sent", "sent/won", "days", "$/1,000", "left", "broken"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.caption = (
        "won: recovered; value: of the money; sent: charges an invoice; days: median; $/1,000: fees; "
        "left: canceled; broken: charges that no rule allows"
    )
    for name, entry in report["policies"].items():
        each, days = entry["attempts_per_recovery"], entry["median_days"]
        shown.add_row(
            name,
            f"{entry['recovered_rate']:.1%}",
            f"{entry['recovered_value_rate']:.1%}",
            f"{entry['attempts_per_invoice']:.2f}",
            "-" if each is None else f"{each:.1f}",
            "-" if days is None else f"{days:.1f}",
            f"${entry['fees_minor_usd_per_1000'] / 100:,.0f}",
            f"{entry['cancels_rate']:.2%}",
            str(entry["violations"]),
        )
    bound = report.get("oracle_bound")
    if bound:
        cells = (f"{bound['recovered_rate']:.1%}", "", f"{bound['attempts_per_invoice']:.2f}")
        shown.add_row("true chances", *cells, style="dim")
    return shown


def main(argv: list[str] | None = None) -> None:
    """Run the command with these arguments, the process's own by default."""
    app(argv)
