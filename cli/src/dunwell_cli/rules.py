"""`rules` and `declines`: the rule gate and the decline taxonomy as tools by themselves."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from dunwell_cli.output import Json, guarded, show
from dunwell_gateways import declines as taxonomy
from dunwell_kit.errors import Invalid
from dunwell_retry.rules.check import check

rules = typer.Typer(help="The rule gate nobody can bypass.", no_args_is_help=True)
declines = typer.Typer(help="What decline codes mean, with sources.", no_args_is_help=True)


@rules.command("check")
@guarded
def check_rules(
    file: Annotated[
        str, typer.Argument(help="JSON file with {attempt, history} or a list of them; - reads standard input.")
    ],
) -> None:
    """Ask whether an attempt may be sent, by which rule, and from when."""
    try:
        question = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise Invalid(f"{file} is not JSON: {error}") from error
    show(check(question), True)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v) for k, v in asdict(value).items()}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return value


@declines.command("explain")
@guarded
def explain(
    code: str,
    gateway: Annotated[str, typer.Option(help="Gateway name, e.g. stripe.")] = "",
    network: Annotated[str, typer.Option(help="Network, e.g. visa, mastercard, ach.")] = "",
    on: Annotated[str, typer.Option(help="Day, e.g. 2026-10-25; today if not given.")] = "",
) -> None:
    """Explain a decline code on a day: reason, treatment, rows and sources."""
    day = date.fromisoformat(on) if on else _today()
    show(_plain(taxonomy.explain(code, gateway=gateway or None, network=network or None, on=day)), True)


def _today() -> date:
    from dunwell_kit.clock import clock_from_environment

    return clock_from_environment().now().date()


@declines.command("coverage")
@guarded
def coverage(as_json: Json = False) -> None:
    """List every data file with its rows, sources, grades, and the codes it lacks."""
    found = _plain(taxonomy.coverage())
    if as_json or not isinstance(found, list):
        show(found, True)
        return
    columns = {name: name for name in found[0]} if found else {}
    show(
        [{k: len(v) if isinstance(v, list | dict) and len(v) > 6 else v for k, v in row.items()} for row in found],
        False,
        columns,
        "decline data",
    )
