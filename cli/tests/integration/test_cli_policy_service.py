"""`dunwell policy` against the running service's API, over real Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner

from dunwell_cli.main import app
from dunwell_kit.app import make_app
from dunwell_kit.clock import ManualClock
from dunwell_kit.database import Database
from dunwell_kit.ids import RandomIds
from dunwell_kit.testing import emptied, migrated, wait_until
from dunwell_retry import store
from dunwell_retry.api import routes
from dunwell_retry.apply import apply
from dunwell_retry.decide import failures
from dunwell_retry.decide.planning import replan
from dunwell_retry.handlers import Recovery
from dunwell_retry.main import classified
from dunwell_retry.model import Decline, Method, Place
from dunwell_retry.planners import planners
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules import allow
from dunwell_stack.children import free_ports

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
POLICY = RetryPolicy(
    planners=planners(), main_policy="smart", holdout_policy="uniform-8", holdout_share=0.0, experiment="e", gate=allow,
    classify=classified, idempotency_secret=b"secret", merchant_country="US",
)  # fmt: skip


async def open_case(database: Database, number: int) -> None:
    """Let one failed invoice be a planned case."""
    place = Place("default", "stripe", "acct", f"cus_{number}", f"in_{number}")
    poor = Decline("insufficient_funds", "51", "", "no funds", "insufficient_funds", "edition")
    method = Method(f"pm_{number}", "card", "visa", "debit", "US", f"fp_{number}")

    async def work(tx: store.Tx) -> None:
        opened = failures.opened(
            tx.ids.new("rec"), place, f"default:cus_{number}", ("USD", 2000), poor, method, POLICY, failed_at=START,
            now=tx.now, cause="evt",
        )  # fmt: skip
        case = await apply(tx, opened, POLICY)
        await apply(tx, replan(await store.situation(tx, case), POLICY, now=tx.now, cause="evt"), POLICY)

    await database.transact(work)


@pytest.fixture
async def url(postgres_dsn: str) -> AsyncIterator[str]:
    """The address of retry's API with three open cases."""
    async with migrated(postgres_dsn, "retry") as urls:
        await emptied(urls[1])
        clock = ManualClock(START + timedelta(minutes=1))
        database = Database(urls[0], service="retry", clock=clock, ids=RandomIds(clock))
        for number in range(3):
            await open_case(database, number)
        (port,) = free_ports(1)
        served = make_app("retry", database, (routes(database, Recovery(POLICY)),), {}, list)
        server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="error", timeout_graceful_shutdown=1))
        task = asyncio.ensure_future(server.serve())
        await wait_until(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        await task
        await database.close()


async def policy(url: str, *arguments: str) -> tuple[int, str, str]:
    environment = {"DUNWELL_RETRY_URL": url, "COLUMNS": "220", "TERM": "dumb", "DUNWELL_OPERATOR": "ada"}
    # The command waits for the service, which runs on this loop.
    result = await asyncio.to_thread(CliRunner().invoke, app, ["policy", *arguments], env=environment)
    return result.exit_code, result.stdout, result.stderr


async def test_a_document_is_tried_saved_listed_and_retired(url: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nversion: 1\nkind: fixed\nattempts_max: 2\ndays: [20, 25]\n")
    code, out, err = await policy(url, "dry-run", str(file), "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["totals"]["cases"] == 3
    assert found["totals"]["changes"] == {"later": 3}
    assert found["totals"]["attempts_then"] == 6
    code, out, _ = await policy(url, "dry-run", str(file))
    assert code == 0
    assert "2026-03-22 06:00" in out
    assert "later 3" in out
    code, out, _ = await policy(url, "save", str(file))
    assert (code, "saved mine@1 for default" in out) == (0, True)
    code, _, err = await policy(url, "save", str(file), "--active-at", "never")
    assert (code, "active_at" in err) == (1, True)
    saved = json.loads((await policy(url, "list", "--saved", "--json"))[1])["saved"]
    assert [(each["name"], each["saved_by"], each["active"]) for each in saved] == [("mine", "ada", True)]
    assert "where none fits: smart" in (await policy(url, "list", "--saved"))[1]
    assert (await policy(url, "retire", "mine"))[0] == 0
    code, _, err = await policy(url, "retire", "nobody")
    assert (code, "no saved policy" in err) == (1, True)


async def test_smart_is_switched_and_a_shadow_is_set(url: str) -> None:
    code, out, _ = await policy(url, "smart", "off", "--reason", "drift")
    assert (code, "smart is off for everybody" in out) == (0, True)
    (row,) = json.loads((await policy(url, "list", "--saved", "--json"))[1])["switches"]
    assert (row["set_by"], row["reason"], row["value"]) == ("ada", "drift", {"on": False})
    assert json.loads((await policy(url, "shadow", "--ask", "killbill", "--json"))[1])["shadow"] == "killbill@1"
    assert "nothing to show" in (await policy(url, "shadow"))[1]
    assert json.loads((await policy(url, "shadow", "--ask", "none", "--json"))[1])["shadow"] is None
    found = json.loads((await policy(url, "evaluate", "smart", "--json"))[1])
    assert (found["decisions"], found["estimates"]) == (0, [])
    assert (await policy(url, "log"))[:2] == (0, "")
