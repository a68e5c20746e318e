"""`rules`: the rule gate as a tool by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dunwell_cli.output import guarded, show
from dunwell_kit.errors import Invalid
from dunwell_retry.rules.check import check
from dunwell_retry.rules.strict_json import read

rules = typer.Typer(help="The rule gate nobody can bypass.", no_args_is_help=True)


@rules.command("check")
@guarded
def check_rules(
    file: Annotated[
        str, typer.Argument(help="JSON file with {attempt, history} or a list of them; - reads standard input.")
    ],
    _: Annotated[bool, typer.Option("--json", help="JSON is what it prints anyway.")] = False,
) -> None:
    """Ask whether an attempt may be sent, by which rule, and from when, as JSON.

    Codes are read as people write them: blanks around them fall away, return codes are taken in upper case, a numeric
    advice gets two digits. A field that is unknown, given twice or missing is refused by its name.
    """
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from error
    show(check(read(text, "standard input" if file == "-" else file)), True)
