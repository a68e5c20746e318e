"""Running the demo: start everything, drive it through virtual time, tell and check what happened."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.live import Live

from dunwell_cli.demo import page, show
from dunwell_cli.demo.bustle import Bustle
from dunwell_cli.demo.collect import EXPERIMENT, Result, collect
from dunwell_cli.demo.driver import Driver, Lapse
from dunwell_cli.demo.quiet import LISTENERS, Quiet
from dunwell_cli.fleet import Fleet, FleetOptions
from dunwell_cli.output import console, errors
from dunwell_kit.clock import ClockWriter, monotonic
from dunwell_kit.settings import SERVICES

# The virtual campaign starts on a fixed day, so that equal seeds meet equal paydays and holidays.
STARTS_AT = datetime(2026, 1, 5, tzinfo=UTC)
# Recovery lasts up to 30 days: a campaign must leave its last failures that much.
RECOVERY_DAYS = 30
# What is due within the same three hours happens in one step; finer costs steps and changes little.
GRID = timedelta(hours=float(os.environ.get("DEMO_GRID_HOURS", "3")))
FIGURES_EVERY_STEPS = 10
# Ordinary trouble, so that the promises are kept under it and not only in fair weather.
TROUBLE = {
    "DUPLICATE_RATE": "0.05",
    "DISORDER_RATE": "0.05",
    "FAULT_TIMEOUT": "0.003",
    "FAULT_ERROR": "0.006",
    "FAULT_RESET_AFTER": "0.006",
    "FAULT_RESET_BEFORE": "0.003",
    "HOLD_SECONDS": "1.5",
}


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Size and place of a demo.

    Args:
        variables: Further variables of every service.
        chaos: Called at every step with the fleet; tests kill services in it.
        kept: Called at the end with what runs still, on the documented ports; when it returns, all stops.
    """

    data_dir: Path
    seed: int = 7
    invoices: int = 300
    days: int = 60
    policy: str = "smart"
    holdout_share: float = 0.10
    quiet_seconds: float = 120
    variables: Mapping[str, str] = field(default_factory=dict)
    chaos: Callable[[Fleet, Lapse], None] | None = None
    kept: Callable[[Fleet, Result], Awaitable[None]] | None = None


def fleet_options(options: DemoOptions) -> FleetOptions:
    """Return what to start for a demo."""
    return FleetOptions(
        data_dir=options.data_dir,
        fixed_ports=options.kept is not None,
        clock_file=options.data_dir / "clock",
        seed=options.seed,
        invoices=options.invoices,
        days=max(1, options.days - RECOVERY_DAYS),
        world_start=date(STARTS_AT.year, STARTS_AT.month, STARTS_AT.day),
        sandbox=TROUBLE,
        gateway_seconds=1.0,
        variables={
            "DUNWELL_RETRY_POLICY": options.policy,
            "DUNWELL_RETRY_HOLDOUT_SHARE": str(options.holdout_share),
            "DUNWELL_RETRY_EXPERIMENT": EXPERIMENT,
            "DUNWELL_LEDGER_WRITE_OFF_EXHAUSTED": "true",
            # Every loop of a process is told of its own process's work and of the clock; polling only finds the work of the dead.
            "DUNWELL_POLL_SECONDS": "1",
            "DUNWELL_LOG_LEVEL": "WARNING",
            **options.variables,
        },
    )


async def run_demo(options: DemoOptions, *, live: bool) -> Result:
    """Run it; the result tells which invariants broke."""
    begun = monotonic()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    clock = ClockWriter(options.data_dir / "clock", STARTS_AT)
    async with contextlib.AsyncExitStack() as opened:
        opened.callback(clock.close)
        fleet = await opened.enter_async_context(Fleet(fleet_options(options), _tell))
        names = [name for name in (*SERVICES, "sandbox") if name not in LISTENERS]
        bustle = Bustle(lambda: [pid for name in names if (pid := fleet.supervisor.pid(name)) is not None])
        quiet = Quiet(fleet.postgres_dsn, fleet.kafka_bootstrap, fleet.url("sandbox"), SERVICES, bustle)
        await opened.enter_async_context(quiet)
        quiet.seconds = options.quiet_seconds
        started = monotonic()
        lapse = await _drive(options, fleet, quiet, clock, live, started)
        result = await collect(fleet, quiet, lapse, monotonic() - started)
        result.report["total_seconds"] = round(monotonic() - begun, 1)
        if options.kept is not None:
            await options.kept(fleet, result)
    return result


def _tell(text: str) -> None:
    errors.print(f"[dim]{text}[/]", highlight=False)


async def _drive(
    options: DemoOptions, fleet: Fleet, quiet: Quiet, clock: ClockWriter, live: bool, started: float
) -> Lapse:
    figures = show.LiveFigures(quiet)
    driver = Driver(clock, quiet, fleet.url("sandbox"), GRID)
    with Live(console=console, refresh_per_second=4, transient=True) if live else _Dark() as view:

        async def on_step(lapse: Lapse) -> None:
            if lapse.steps % FIGURES_EVERY_STEPS == 0:
                await figures.read()
                view.update(figures.view(lapse, monotonic() - started))
            if options.chaos is not None:
                options.chaos(fleet, lapse)

        return await driver.run(STARTS_AT + timedelta(days=options.days), on_step)


class _Dark:
    """The live view where nobody looks: nothing."""

    def __enter__(self) -> _Dark:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, _: object) -> None:
        """Show nothing."""


def write_reports(result: Result, data_dir: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html`; returns their paths."""
    data, html = data_dir / "report.json", data_dir / "report.html"
    data.write_text(json.dumps(result.report, indent=2, default=str) + "\n", encoding="utf-8")
    html.write_text(page.page(result), encoding="utf-8")
    return data, html
