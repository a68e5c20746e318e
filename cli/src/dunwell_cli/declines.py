"""`declines`: what a decline code means, who says so, and what the data lacks."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

import typer

from dunwell_cli.output import Json, console, guarded, show
from dunwell_gateways import declines as taxonomy
from dunwell_kit.errors import Invalid

declines = typer.Typer(help="What decline codes mean, with sources.", no_args_is_help=True)
GRADES = {
    "A": "the gateway's or network's own text",
    "B": "one third party's text",
    "C": "memory, no text read",
}
# So many codes are named in a cell or a line; --json names all.
NAMED_MAX = 6


@declines.command("explain")
@guarded
def explain(
    code: str,
    gateway: Annotated[str, typer.Option(help="Gateway name, e.g. stripe.")] = "",
    network: Annotated[str, typer.Option(help="Network, e.g. visa, mastercard, ach.")] = "",
    on: Annotated[str, typer.Option(help="Day, e.g. 2026-10-25; today if not given.")] = "",
    _: Annotated[bool, typer.Option("--json", help="JSON is what it prints anyway.")] = False,
) -> None:
    """Explain a decline code on a day: reason, treatment, rows and sources, as JSON.

    A code without a row gives one entry that says what happens to it.
    """
    day = _day(on)
    rows = taxonomy.explain(code, gateway=gateway or None, network=network or None, on=day)
    show([_told(row) for row in rows] or [_unknown(code, gateway, network, day)], True)


def _day(text: str) -> date:
    if not text:
        from dunwell_kit.clock import clock_from_environment

        return clock_from_environment().now().date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"--on {text!r} is no day ({error}); write it like 2026-10-25") from None


def _told(row: taxonomy.Row) -> dict[str, Any]:
    return {**asdict(row), "source_address": taxonomy.sources()[row.source], "grade_means": GRADES[row.grade]}


def _unknown(code: str, gateway: str, network: str, day: date) -> dict[str, Any]:
    asked = " and ".join(name for name in (gateway, network) if name) or "any file"
    return {
        "file": None,
        "code": code,
        "reason": taxonomy.Reason.UNKNOWN,
        "treatment": asdict(taxonomy.CAUTIOUS_ONCE),
        "hard": False,
        "source": None,
        "grade": None,
        "note": f"no row of {asked} is in force on {day}: one cautious attempt, and a person sees the code",
    }


@declines.command("coverage")
@guarded
def coverage(as_json: Json = False) -> None:
    """List every data file with its rows, grades, sources, and the codes it lacks."""
    found = taxonomy.coverage()
    if as_json:
        show([asdict(each) for each in found], True)
        return
    columns = {
        "file": "file", "read": "read", "rows": "rows", "named": "named", "lacking": "lacks", "unmapped": "open",
        "grades": "A/B/C",
    }  # fmt: skip
    show([_row(each) for each in found], False, columns, "decline data")
    notes = [
        "named: codes in the lists that were read; – where a file rests on none, so nothing tells what it lacks",
        "open: codes that a row leaves to a person",
        "A/B/C: rows by grade; " + "; ".join(f"{grade} {words}" for grade, words in GRADES.items()),
        "editions and sources: --json",
    ]
    console.print("\n".join(notes), soft_wrap=True, highlight=False)


def _row(each: taxonomy.Coverage) -> dict[str, Any]:
    return {
        "file": each.file,
        "read": each.read,
        "rows": each.rows,
        "named": each.named or None,
        "lacking": _codes(each.missing) if each.named else None,
        "unmapped": len(each.unmapped),
        "grades": "/".join(str(count) for count in each.grades.values()),
    }


def _codes(codes: tuple[str, ...]) -> str:
    if len(codes) <= NAMED_MAX:
        return ", ".join(codes) or "none"
    return f"{', '.join(codes[:NAMED_MAX])} and {len(codes) - NAMED_MAX} more"
