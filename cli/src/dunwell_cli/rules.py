"""`rules`: the rule gate as a tool by itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dunwell_cli.output import guarded, show
from dunwell_kit.errors import Invalid
from dunwell_retry.rules.check import check

rules = typer.Typer(help="The rule gate nobody can bypass.", no_args_is_help=True)


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
