"""Results as data, and the two ways people read them: a table in the terminal and one in the README.

The README's block is made from the JSON alone, so that the two cannot differ; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.contest import Metric, Verified
from bench.pairs import Pair, Quartiles, Verdict

HERE = Path(__file__).resolve().parent
README, RESULTS = HERE / "README.md", HERE / "results"
BEGIN, END = "<!-- figures: made by `python -m bench --publish`, do not edit -->", "<!-- end of figures -->"
_COLOURS = {"holds": "green", "edge": "yellow", "breached": "red"}
Result = dict[str, Any]


def result_of(metric: Metric, pairs: Sequence[Pair], verified: Verified | None, extra: Mapping[str, Any]) -> Result:
    """Return one metric's result."""
    ratio = Quartiles.of([pair.ratio for pair in pairs])
    gate = metric.gate
    return {
        "id": metric.id,
        "title": metric.title,
        "subject": metric.subject,
        "anchor": metric.anchor,
        "unit": metric.unit,
        "gate": {
            "ratio": gate.bound,
            "at_least": gate.at_least,
            "stretch": gate.stretch,
            "subject_at_most": gate.figure_max,
        },
        "verdict": gate.judged(pairs).value,
        "ratio": {"lower": round(ratio.lower, 3), "median": round(ratio.median, 3), "upper": round(ratio.upper, 3)},
        "subject_median": round(Quartiles.of([pair.subject.figure for pair in pairs]).median, 2),
        "anchor_median": round(Quartiles.of([pair.anchor.figure for pair in pairs]).median, 2),
        "operations": sum(pair.subject.operations for pair in pairs),
        "verified": None
        if verified is None
        else {"accepted": verified.accepted, "lost": verified.lost, "doubled": verified.doubled},
        "extra": dict(extra),
        "pairs": [[round(pair.subject.figure, 3), round(pair.anchor.figure, 3)] for pair in pairs],
    }


def lossless(result: Result) -> bool:
    """True when nothing accepted was lost or doubled, or nothing is stored."""
    told = result["verified"]
    return told is None or (told["accepted"] > 0 and not told["lost"] and not told["doubled"])


def gate_text(gate: Mapping[str, Any], unit: str) -> str:
    """Spell a gate."""
    told = []
    if gate["ratio"] is not None:
        told.append(f"{_sign(gate)} {gate['ratio']:g}x")
    if gate["subject_at_most"] is not None:
        told.append(f"<= {gate['subject_at_most']:g} {unit}")
    return ", ".join(told)


def stretch_text(gate: Mapping[str, Any], unit: str) -> str:
    """Spell what we would like."""
    return f"{_sign(gate)} {gate['stretch']:g}{'x' if gate['ratio'] is not None else ' ' + unit}"


def _sign(gate: Mapping[str, Any]) -> str:
    return ">=" if gate["at_least"] else "<="


def _figure(value: float, unit: str) -> str:
    return f"{value:,.4g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def _cells(result: Result) -> list[str]:
    ratio, told, unit = result["ratio"], result["verified"], result["unit"]
    return [
        result["id"],
        result["title"],
        _figure(result["subject_median"], unit),
        _figure(result["anchor_median"], unit),
        f"{ratio['median']:.2f}x ({ratio['lower']:.2f}-{ratio['upper']:.2f})",
        gate_text(result["gate"], unit),
        stretch_text(result["gate"], unit),
        result["verdict"],
        "stores nothing"
        if told is None
        else f"{told['accepted']:,} in, {told['lost']} lost, {told['doubled']} doubled",
    ]


_HEADS = ["", "metric", "subject", "anchor", "ratio (quartiles)", "gate", "stretch", "verdict", "accepted ids"]


def table_of(document: Mapping[str, Any]) -> Table:
    """Return the table for the terminal."""
    table = Table(title="Dunwell bench", caption=_made(document), title_justify="left", caption_justify="left")
    for head in _HEADS:
        table.add_column(head)
    for result in document["metrics"]:
        *cells, verdict, kept = _cells(result)
        bad = "" if lossless(result) else "bold red"
        table.add_row(*cells, f"[{_COLOURS[verdict]}]{verdict}[/]", f"[{bad}]{kept}[/]" if bad else kept)
    return table


def _made(document: Mapping[str, Any]) -> str:
    machine, options = document["machine"], document["options"]
    parts = [f"Python {machine['python']}"]
    parts += [f"{name.capitalize()} {machine[name]}" for name in ("postgres", "kafka") if name in machine]
    pinned = "subject on a core of its own" if machine["pinned_apart"] else "subject and load share the core"
    return (
        f"{document['made_on']}; {machine['cores']} cores, {pinned}; {', '.join(parts)}; "
        f"{options['pairs']} pairs of slices of {options['slice_seconds']:g} s, {document['wall_seconds']} s in all"
    )


def readme_block(document: Mapping[str, Any]) -> str:
    """Return what stands between the README's markers."""
    rows = [_cells(result) for result in document["metrics"]]
    lines = [_made(document) + ".", "", f"| {' | '.join(_HEADS)} |", f"|{'---|' * len(_HEADS)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *_failing(document["metrics"]), ""]
    for result in document["metrics"]:
        if result["extra"]:
            told = ", ".join(f"{name} {value:,}" for name, value in result["extra"].items())
            lines.append(f"- {result['id']} further: {told}.")
    libraries = ", ".join(f"{name} {number}" for name, number in document["machine"]["libraries"].items())
    return "\n".join([*lines, f"- Libraries: {libraries}.", ""])


def _failing(results: Sequence[Result]) -> list[str]:
    bad = [r for r in results if r["verdict"] != Verdict.HOLDS.value]
    lost = [r["id"] for r in results if not lossless(r)]
    told = (
        [f"- **{', '.join(lost)}: accepted ids were lost or doubled; the figures count for nothing.**"] if lost else []
    )
    if not bad:
        return [*told, "Every gate holds."]
    for result in bad:
        word = "does not hold" if result["verdict"] == Verdict.BREACHED.value else "is on the edge"
        measured = f"{result['ratio']['median']:.2f}x, {_figure(result['subject_median'], result['unit'])}"
        told.append(
            f"- **{result['id']} {word}**: {measured}; the gate is {gate_text(result['gate'], result['unit'])}."
        )
    return told


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write a result file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def newest_published() -> Path:
    """Return the newest committed result."""
    return max(RESULTS.glob("*.json"))


def with_block(readme: str, block: str) -> str:
    """Return the README with another block; ValueError when its markers are gone."""
    head, found, rest = readme.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the README has lost its markers {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n{block}{END}{tail}"
