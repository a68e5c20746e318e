"""The whole graph as real processes through virtual time, with services killed in the middle."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from dunwell_cli.demo.driver import Lapse
from dunwell_cli.demo.run import DemoOptions, run_demo, write_reports
from dunwell_cli.fleet import Fleet
from dunwell_kit.settings import SERVICES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]


# Leases and sessions a tenth as long, so that the dead are missed in seconds.
SHORT = {"DUNWELL_LEASE_SECONDS": "1.5", "DUNWELL_SESSION_SECONDS": "6"}


class Killer:
    """Kills one service after another with SIGKILL, each at its own step."""

    def __init__(self, every: int) -> None:
        self._every = every
        self.killed: list[str] = []

    def __call__(self, fleet: Fleet, lapse: Lapse) -> None:
        """Kill the next one when its step has come."""
        if lapse.steps and lapse.steps % self._every == 0 and len(self.killed) < len(SERVICES):
            name = SERVICES[len(self.killed)]
            fleet.supervisor.kill(name, signal.SIGKILL)
            self.killed.append(name)


async def test_every_invariant_holds_though_every_service_is_killed(tmp_path: Path) -> None:
    killer = Killer(every=12)
    options = DemoOptions(
        data_dir=tmp_path, seed=11, invoices=12, days=36, policy="uniform-8", chaos=killer, variables=SHORT
    )
    result = await run_demo(options, live=False)
    assert killer.killed == list(SERVICES)
    assert result.broken == []
    report = result.report
    assert sum(report["cases"].values()) == 12
    assert set(report["cases"]) <= {"recovered", "exhausted", "canceled"}
    assert report["recovered"]["count"] >= 1
    assert report["gateway_truth"]["double_charges"] == 0
    assert report["gateway_truth"]["applied_charges"] >= report["gateway_truth"]["succeeded_attempts"]
    data, html = write_reports(result, tmp_path)
    assert '"invariants"' in data.read_text()
    assert "What 36 days recovered" in html.read_text()
