"""A demo that is kept: every command answers about its cases until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dunwell_kit.settings import PORTS
from dunwell_kit.testing import wait_until
from dunwell_stack.children import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]
DUNWELL = str(Path(sys.executable).with_name("dunwell"))


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Free ports where `up` has fixed ones, and a folder of its own."""
    names = [f"DUNWELL_{name.upper()}_HTTP_PORT" for name in (*PORTS, "sandbox", "smtp")]
    names += ["DUNWELL_KAFKA_PORT", "DUNWELL_POSTGRES_PORT"]
    ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    return {**os.environ, **ports, "DUNWELL_VAR_DIR": str(tmp_path), "DEMO_INVOICES": "6", "DEMO_DAYS": "34"}


def asked(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DUNWELL, *arguments], env=variables, capture_output=True, text=True, check=False)


@pytest.fixture
def demo(variables: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo that runs; what it says is in `said`."""
    command = [DUNWELL, "demo", "--keep"]
    with (
        (tmp_path / "said").open("wb") as said,
        subprocess.Popen(command, env=variables, stdout=said, stderr=said) as process,
    ):
        yield process
        process.terminate()


async def test_every_command_answers_about_a_kept_demo_until_it_is_stopped(
    variables: dict[str, str], demo: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    state, said = tmp_path / "up/state.json", tmp_path / "said"
    await wait_until(lambda: state.exists() or demo.poll() is not None, 150)
    assert demo.poll() is None, said.read_text()
    report = json.loads((tmp_path / "demo/report.json").read_text())
    why = asked(variables, "cases", "why", report["story_case_id"])
    assert (why.returncode, "rule retry.payment_failed" in why.stdout) == (0, True), why.stdout + why.stderr
    cases = json.loads(asked(variables, "cases", "list", "--json").stdout)
    assert len(cases) == sum(report["cases"].values())
    assert asked(variables, "doctor").returncode == 0
    # Beside the wait for its end: who is not waited for is still there for `down`.
    down = asyncio.create_task(asyncio.to_thread(asked, variables, "down"))
    assert await asyncio.to_thread(demo.wait) == 0, said.read_text()
    assert (await down).stdout.strip() == "stopped"
    assert report["story_case_id"] in said.read_text()
    assert not state.exists()
    assert asked(variables, "doctor").returncode == 1
