"""`python -m bench`: run the metrics, tell, write."""

from __future__ import annotations

import importlib
import logging
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import results
from bench.contest import Metric
from bench.cores import Cores, pinned
from bench.load import Refused
from bench.machine import machine
from bench.pairs import run_pairs
from bench.parts import Parts
from dunwell_kit.clock import SystemClock, monotonic
from dunwell_stack import StackUnavailable

MODULES = (
    "p1_ingest_cpu", "p3_durable_ack", "p4_group_commit", "p7_consumer_cpu", "p9_relay_cpu", "p13_webhook_to_event",
    "p17_decisions", "p19_backtest",
)  # fmt: skip
FOLDER = Path("var/bench").resolve()
_HELP = """Measure Dunwell against anchors on real Kafka and Postgres, and judge the ratios.

Each metric runs a subject (our code) and an anchor (the least that does the job) in alternating slices; the gate
is on the median ratio, and only fails when three quarters of the pairs breach it. After the slices every accepted
id is looked for downstream: a run that lost one fails, however fast it was.

\b
  python -m bench                         everything, about five minutes
  python -m bench --only P1,P7 --pairs 5  a quick look
  python -m bench --publish               also write bench/results/<date>.json and the README's table

Exit status: 0 measured; 1 an accepted id was lost or doubled, or --strict and a gate is breached; 2 cannot run.
"""
app = typer.Typer(add_completion=False)
console = Console()


def metrics() -> dict[str, Metric]:
    """Return the metrics by id, in the order of the table."""
    found = [importlib.import_module(f"bench.{name}").METRIC for name in MODULES]
    return {metric.id: metric for metric in found}


def chosen(only: str) -> list[Metric]:
    """Return the metrics named in a comma-separated list, all for an empty one."""
    known = metrics()
    names = [name.strip().upper() for name in only.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise typer.BadParameter(f"no metric {', '.join(wrong)}; there are {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


async def _measure(metric: Metric, parts: Parts, pairs: int, slice_seconds: float, progress: Progress) -> Any:
    task = progress.add_task(f"{metric.id} {metric.title[:48]}", total=pairs + 1)
    async with metric.opened(parts) as contest:
        found = await run_pairs(contest.subject, contest.anchor, pairs, slice_seconds, lambda: progress.advance(task))
        verified = await contest.verify() if contest.verify else None
    return results.result_of(metric, found, verified, contest.extra)


async def _run(wanted: list[Metric], pairs: int, slice_seconds: float) -> dict[str, Any]:
    begun, cores = monotonic(), Cores.of_machine()
    shutil.rmtree(FOLDER / "logs", ignore_errors=True)
    parts = Parts(FOLDER, cores)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with pinned(cores.others), Progress(*columns, console=console, refresh_per_second=2) as progress:
            found = [await _measure(metric, parts, pairs, slice_seconds, progress) for metric in wanted]
            told = await machine(parts)
    finally:
        parts.close()
    return {
        "made_on": SystemClock().now().date().isoformat(),
        "machine": told,
        "options": {"pairs": pairs, "slice_seconds": slice_seconds},
        "wall_seconds": round(monotonic() - begun),
        "metrics": found,
    }


@app.command(help=_HELP)
def main(
    only: Annotated[str, typer.Option(help="Metrics to run, e.g. P1,P4; all when empty.")] = "",
    pairs: Annotated[int, typer.Option(min=3, max=200, help="Pairs that count; one more warms up.")] = 15,
    slice_seconds: Annotated[float, typer.Option(min=0.1, max=1.0, help="Length (or size) of a slice.")] = 0.8,
    json_path: Annotated[Path, typer.Option("--json", help="Where the result goes.")] = FOLDER / "result.json",
    publish: Annotated[bool, typer.Option(help="Write bench/results/<date>.json and the README's table.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit with 1 when a gate is breached.")] = False,
) -> None:
    """Run the bench."""
    wanted = chosen(only)
    if publish and only:
        raise typer.BadParameter("--publish needs all metrics: leave --only away")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        document = uvloop.run(_run(wanted, pairs, slice_seconds))
    except (StackUnavailable, Refused) as error:
        console.print(f"bench: {error}", style="red", markup=False)
        raise typer.Exit(2) from error
    results.write_json(document, json_path)
    console.print(results.table_of(document))
    console.print(f"written: {json_path}")
    if publish:
        results.write_json(document, results.RESULTS / f"{document['made_on']}.json")
        block = results.readme_block(document)
        results.README.write_text(results.with_block(results.README.read_text(), block), encoding="utf-8")
        console.print(f"published: {results.README}")
    breached = strict and any(r["verdict"] == "breached" for r in document["metrics"])
    if breached or not all(results.lossless(r) for r in document["metrics"]):
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m bench")
