"""What a person sees while the time-lapse runs, and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dunwell_cli.demo.collect import Result
from dunwell_cli.demo.driver import Lapse
from dunwell_cli.demo.quiet import Quiet
from dunwell_cli.output import console
from dunwell_kit.money import Money

STATES = ("waiting", "charging", "uncertain", "paused", "recovered", "exhausted", "canceled")
_COLOURS = {"recovered": "green", "exhausted": "red", "canceled": "yellow", "uncertain": "magenta"}


class LiveFigures:
    """The figures of the live view, read every few steps."""

    def __init__(self, quiet: Quiet) -> None:
        self._quiet = quiet
        self.states: dict[str, int] = {}
        self.money: list[tuple[str, int]] = []
        self.sent = 0

    async def read(self) -> None:
        """Read them anew."""
        rows = await self._quiet.fetch("retry", "SELECT state, count(*) AS n FROM cases GROUP BY 1")
        self.states = {row["state"]: row["n"] for row in rows}
        money = await self._quiet.fetch(
            "retry",
            "SELECT currency, sum(amount_minor)::bigint AS n FROM cases WHERE state='recovered' GROUP BY 1 ORDER BY 1",
        )
        self.money = [(row["currency"], row["n"]) for row in money]
        sent = await self._quiet.fetch("notify", "SELECT count(*) AS n FROM notices WHERE state='sent'")
        self.sent = sent[0]["n"]

    def view(self, lapse: Lapse, seconds: float) -> RenderableType:
        """Return the view of this moment."""
        table = Table.grid(padding=(0, 2))
        table.add_row(
            "virtual date", f"[bold]{lapse.now:%a %Y-%m-%d %H:%M} UTC[/]", f"step {lapse.steps}", f"{seconds:.0f} s"
        )
        states = Text()
        for state in STATES:
            if self.states.get(state):
                states.append(f"{state} {self.states[state]}   ", style=_COLOURS.get(state, "cyan"))
        money = "   ".join(str(Money(currency, minor)) for currency, minor in self.money) or "–"
        rows = Table.grid(padding=(0, 2))
        rows.add_row("cases", states)
        rows.add_row("recovered", f"[bold green]{money}[/]")
        rows.add_row("messages", f"{self.sent} sent")
        rows.add_row("pipeline", "quiet at every step: lag 0, outbox empty")
        return Panel(Group(table, ProgressBar(total=1.0, completed=lapse.share), rows), title="Dunwell time-lapse")


def summary(result: Result) -> None:
    """Print the table, the story of one case and the verdict."""
    report = result.report
    table = Table(title="What happened", header_style="bold", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _lines(report):
        table.add_row(name, value)
    console.print(table)
    _story(result.story, report["story_case_id"])
    verdicts = Table("invariant", "verdict", title="Invariants", title_justify="left", header_style="bold")
    for name, said in report["invariants"].items():
        verdicts.add_row(name, f"[green]{said}[/]" if said == "holds" else f"[bold red]{said}[/]")
    console.print(verdicts)


def _lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    recovered, by = report["recovered"], report["recovered"]["by"]
    lines = [
        ("failed invoices", str(report["invoices"])),
        ("recovered", f"{recovered['count']} ({recovered['rate']:.1%})"),
        (
            "… by retry / payer / gateway / self-cured",
            " / ".join(str(by[n]) for n in ("retry", "payer", "gateway", "self_cured")),
        ),
    ]
    for line in report["money"]:
        currency = line["currency"]
        lines.append(
            (
                f"money failed → recovered ({currency})",
                f"{Money(currency, line['failed_minor'])} → {Money(currency, line['recovered_minor'])}",
            )
        )
    holdout = report["holdout"]
    lines += [
        ("attempts (per recovery)", f"{report['attempts']} ({report['attempts_per_recovery']})"),
        ("messages sent / suppressed", f"{report['notices']['sent']} / {report['notices']['suppressed']}"),
        (
            "webhooks posted / duplicates / rejected",
            f"{report['webhooks']['posted']} / {report['webhooks']['duplicates']} / {report['webhooks']['rejected']}",
        ),
        ("journals / unbalanced", f"{report['ledger']['journals']} / {report['ledger']['unbalanced']}"),
        ("charges applied twice", str(report["gateway_truth"]["double_charges"])),
        (
            f"treated {holdout['treated']} v holdout {holdout['holdout']} payers",
            f"{holdout['difference']:+.1%} [{holdout['low']:+.1%}, {holdout['high']:+.1%}]: {holdout['answer']}",
        ),
        ("wall time", f"{report['wall_seconds']} s for {report['days']} days"),
    ]
    return lines


def _story(story: Sequence[dict[str, Any]], case_id: str) -> None:
    console.print(f"\n[bold]The story of {case_id}[/]")
    for line in story:
        console.print(f"  [dim]{line['at'][:16].replace('T', ' ')}[/] {line['what']}", highlight=False)
        if line["reason"].get("rule"):
            console.print(f"      [dim]because {line['reason']['rule']}[/]", highlight=False)
    console.print()
