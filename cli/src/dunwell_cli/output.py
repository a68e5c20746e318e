"""How the command speaks: tables for people, JSON for machines, one line for errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import httpx
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dunwell_kit.errors import DunwellError
from dunwell_kit.settings import PORTS

P = ParamSpec("P")
T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Tenant = Annotated[str, typer.Option(help="Tenant whose data is shown.")]
console = Console()
errors = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """End the command with one line that says what to do."""
    errors.print(f"[bold red]dunwell:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Turn what we can name into one line and exit status 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except DunwellError as error:
            fail(str(error))
        except httpx.HTTPError as error:
            fail(f"the service does not answer ({type(error).__name__}); is it running? Try: dunwell doctor")

    return run


def service_url(service: str) -> str:
    """Return where a service is: `DUNWELL_<SERVICE>_URL`, else its documented local port."""
    port = os.environ.get(f"DUNWELL_{service.upper()}_HTTP_PORT", str(PORTS[service]))
    return os.environ.get(f"DUNWELL_{service.upper()}_URL", f"http://127.0.0.1:{port}").rstrip("/")


def call(service: str, path: str, *, method: str = "GET", **options: Any) -> Any:
    """Ask a service; a problem+json answer ends the command with its detail."""
    answer = httpx.request(method, service_url(service) + path, timeout=30, trust_env=False, **options)
    if answer.is_error:
        kind = answer.headers.get("content-type", "")
        detail = answer.json().get("detail", "") if "json" in kind else answer.text[:200]
        fail(f"{service} answered {answer.status_code}: {detail}")
    return answer.json() if answer.content else None


def show(
    data: Any, as_json: bool, columns: Mapping[str, str] | None = None, title: str = "", *, slim: bool = False
) -> None:
    """Print rows as a table of the given columns {field: heading}, or everything as JSON.

    Args:
        slim: Without lines between the columns, for what would not fit 80 of them otherwise.
    """
    if as_json or columns is None:
        sys.stdout.write(json.dumps(data, indent=2, default=str, ensure_ascii=False) + "\n")
        return
    rows: Sequence[Mapping[str, Any]] = data
    if not rows:
        console.print(f"[dim]nothing to show{f' in {title}' if title else ''}[/]")
        return
    table = Table(title=title or None, header_style="bold", title_justify="left")
    if slim:
        table.box, table.padding, table.pad_edge = SIMPLE_HEAD, (0, 1, 0, 0), False
    first, *others = columns
    # Ids stand first and are copied into the next command: they are never cut.
    table.add_column(columns[first], no_wrap=True, min_width=max(_width(row.get(first)) for row in rows))
    for field in others:
        table.add_column(columns[field])
    for row in rows:
        table.add_row(*(_cell(row.get(field)) for field in columns))
    console.print(table)


def _width(value: Any) -> int:
    return max(len(line) for line in _cell(value).split("\n"))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)
