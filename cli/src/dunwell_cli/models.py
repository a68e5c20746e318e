"""`policy fit` and `policy model`: a model of one's own, from the log to the file that the service may be given."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dunwell_cli.output import Json, call, console, errors, show
from dunwell_kit.errors import Invalid
from dunwell_retry.planning.parameters import Model, ModelUnusable, shipped
from dunwell_retry.policies.models import FILE_MAX, admitted_model, name_of

ModelFile = Annotated[
    Path | None, typer.Option("--model", help="Model file for smart to plan by, instead of what the service plans by.")
]


def model_text(file: Path) -> str:
    """Return a model file's text; Invalid says why it cannot be read."""
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(FILE_MAX + 1)
    except OSError as error:
        raise Invalid(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{file}: is no text in UTF-8") from error


def read_model(file: Path, edition: str = "") -> Model:
    """Return the model of a file that the service would plan by; Invalid says why it would not."""
    try:
        return admitted_model(model_text(file), edition)
    except ModelUnusable as error:
        raise Invalid(f"{file}: {error}") from error


def asked_with(file: Path | None) -> dict[str, Any]:
    """Return what a request carries for a model file; nothing for None."""
    return {} if file is None else {"model": dict(read_model(file).raw)}


def model_line(told: dict[str, Any]) -> str:
    """Return in a line by which model the service plans, and what is wrong with it."""
    if told["unusable"]:
        return f"model not usable ({told['unusable']}): smart plans by pay days"
    return f"model {told['edition']}, {told['source']}"


def fit_model(
    file: Annotated[str, typer.Argument(help="Log of charges as `policy log` prints it, or - for standard input.")],
    edition: Annotated[str, typer.Option(help="Name of the new edition, e.g. acme-2026.12; decisions name it.")],
    out: Annotated[Path, typer.Option(help="Model file to write.")],
    start: Annotated[Path | None, typer.Option(help="Model file to start from; the shipped model if none.")] = None,
    strength: Annotated[float, typer.Option(min=1, help="How many cases the start is worth.")] = 200,
    as_json: Json = False,
) -> None:
    """Fit the model of smart to a log of charges; the fewer cases it holds, the nearer the start the model stays."""
    # Loaded here: the fit's numerics take longer to load than most commands to run.
    from dunwell_retry.planning.fit import fit
    from dunwell_retry.planning.logged import loads

    begun = read_model(start) if start else shipped()
    # Told before the fit, which may take minutes.
    if not out.parent.is_dir():
        raise Invalid(f"{out}: {str(out.parent)!r} is no folder")
    if edition in (begun.edition, shipped().edition):
        raise Invalid(f"edition {edition!r} has a model already; take another name")
    try:
        admitted_model(json.dumps({**begun.raw, "edition": edition}))
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        fitted = fit(loads(text), begun, edition=edition, strength=strength)
        model = admitted_model(fitted.text)
    except ModelUnusable as error:
        raise Invalid(str(error)) from error
    except (OSError, ValueError) as error:
        raise Invalid(f"{file}: {error.strerror if isinstance(error, OSError) else error}") from error
    out.write_text(fitted.text, encoding="utf-8")
    told = {"edition": model.edition, "file": str(out), "cases": fitted.cases, "charges": fitted.charges}
    if as_json:
        show({**told, "name": name_of(model), "log_likelihood": [fitted.before, fitted.after]}, True)
        return
    console.print(
        f"[bold green]fitted[/] {model.edition} on {fitted.cases} cases, {fitted.charges} charges: mean log likelihood"
        f" {fitted.before:.3f} before, {fitted.after:.3f} after; wrote {out}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if fitted.cases < strength:
        note = f"the log holds fewer cases than the start is worth ({strength:g}): the model stays near its start"
        console.print(note, highlight=False, soft_wrap=True)


def show_model(
    file: Annotated[Path | None, typer.Argument(help="Model file; without one, what the service plans by.")] = None,
    edition: Annotated[str, typer.Option(help="The only edition that is expected.")] = "",
    card: Annotated[bool, typer.Option("--card", help="Print the model card: origin, use, limits, prior.")] = False,
    as_json: Json = False,
) -> None:
    """Check a model file as the service does at its start; without one, say by which model the service plans.

    Exit status 1 when the model is not usable, that is when smart plans by pay days.
    """
    if file is None:
        told = call("retry", "/v1/policies")["model"]
        if as_json:
            show(told, True)
        else:
            console.print(model_line(told), highlight=False, soft_wrap=True)
        raise typer.Exit(1 if told["unusable"] else 0)
    try:
        model = admitted_model(model_text(file), edition)
    except ModelUnusable as error:
        if as_json:
            show({"usable": False, "file": str(file), "why": str(error)}, True)
        else:
            errors.print(f"[bold red]not usable[/] {file}: {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    if card:
        from dunwell_retry.planning.card import model_card

        sys.stdout.write(model_card(model))
    elif as_json:
        show({"usable": True, "file": str(file), "edition": model.edition, "name": name_of(model)}, True)
    else:
        fitted = json.dumps(model.raw.get("fitted_on"))
        console.print(f"[bold green]usable[/] {name_of(model)}, fitted on {fitted}", highlight=False, soft_wrap=True)
