"""The tutorial, followed command by command on a real stack of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from doc_shell import Shell, run_page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "tutorial/first-recovery.md"
# A page that is followed while the tutorial's stack still runs, and the tutorial's heading before which it is.
BESIDE = DOCS / "howto/subscribe-to-recovery-events.md"
BEFORE = "## 8. "
PORTS = {
    "DUNWELL_KAFKA_PORT",
    "DUNWELL_POSTGRES_PORT",
    *(f"DUNWELL_{n}_HTTP_PORT" for n in ("INGEST", "RETRY", "NOTIFY", "LEDGER", "ANALYTICS", "SANDBOX", "SMTP")),
}
# The start migrates five databases; on two busy cores that takes most of a minute.
UP_SECONDS = 150
# A failure of which only half is told waits 15 s for the rest (dunwell_gateways.join.PATIENCE).
PATIENCE_SECONDS = 40


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago."""
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in opened]
    for each in opened:
        each.close()
    return ports


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    ports = dict(zip(sorted(PORTS), map(str, free_ports(len(PORTS))), strict=True))
    environment = {**ports, "DUNWELL_VAR_DIR": str(tmp_path / "var")}
    state = tmp_path / "var/up/state.json"
    with Shell(tmp_path, environment) as shell:
        try:
            first, heading, last_part = PAGE.read_text(encoding="utf-8").partition(BEFORE)
            ran = [
                run_page(text, {"stack"}, shell, tmp_path, seconds=UP_SECONDS, patience=PATIENCE_SECONDS)
                for text in (first, BESIDE.read_text(encoding="utf-8"), heading + last_part)
            ]
            assert ran[0] >= 10 and ran[1] >= 1 and ran[2] >= 4
            assert not state.exists(), "the page leaves something running"
        finally:
            if state.exists():
                with Shell(tmp_path, environment) as last:
                    last.run("dunwell down", 60)
