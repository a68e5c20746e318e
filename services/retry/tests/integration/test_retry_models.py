"""A promoted model in the service on real Postgres: it plans and is named; one that is not usable is told, not guessed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dunwell_kit.settings import Environment
from dunwell_kit.testing import wait_until
from dunwell_retry.decide.inputs import replayed
from dunwell_retry.main import policy_from
from dunwell_retry.model import plan_document
from dunwell_retry.planning.logged import loads
from dunwell_retry.planning.parameters import shipped
from dunwell_retry.policies.models import ModelMissing, admitted_model
from dunwell_retry.policy import RetryPolicy
from dunwell_stack.children import free_ports

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
Retry = Any
SMART = {"name": "own", "version": 1, "kind": "smart", "attempts_max": 5}


def content(edition: str = "acme-1") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(dict(shipped().raw)))
    found["edition"] = edition
    found["prior"]["debit"] = [0.02, 0.62, 0.04, 0.05, 0.05, 0.02, 0.10, 0.06, 0.02, 0.02]
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model file that is not the shipped one."""
    path = tmp_path / "acme.json"
    path.write_text(json.dumps(content()))
    return path


def policy_with(file: Path | str, edition: str = "") -> RetryPolicy:
    """Return the policy as the service's start makes it."""
    environment = Environment(
        {
            "DUNWELL_RETRY_SECRET": "s", "DUNWELL_RETRY_HOLDOUT_SHARE": "0", "DUNWELL_RETRY_MODEL_FILE": str(file),
            "DUNWELL_RETRY_MODEL_EDITION": edition,
        }
    )  # fmt: skip
    policy = policy_from(environment)
    environment.check()
    return policy


async def plans_of(retry: Retry, case_id: str) -> list[dict[str, Any]]:
    told = (await retry.api.get(f"/v1/cases/{case_id}/why")).json()
    return [decision for decision in told["decisions"] if decision["kind"] == "plan"]


def written(file: Path, text: str) -> None:
    file.write_text(text)


def kept(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def test_a_promoted_model_plans_and_every_decision_attempt_shadow_and_trial_names_it(
    retry_with: Callable[..., Any], file: Path
) -> None:
    async with retry_with(policy=policy_with(file, "acme-1")) as retry:
        listed = (await retry.api.get("/v1/policies")).json()
        assert listed["model"] == {
            "edition": "acme-1", "source": "promoted", "unusable": "", "editions": ["acme-1", shipped().edition],
        }  # fmt: skip
        await retry.api.put("/v1/policies/shadow", json={"policy": "smart"})
        case_id = await retry.open()
        (plan,) = await plans_of(retry, case_id)
        assert (plan["rule"], plan["editions"]["model"]) == ("retry.policy.smart", "acme-1")
        assert plan["outputs"]["explanation"]["model_edition"] == "acme-1"
        assert (plan["shadow"]["verdict"], plan["shadow"]["model_edition"]) == ("same", "acme-1")
        (tried,) = (await retry.api.post("/v1/policies/dry-run", json={"document": SMART})).json()["cases"]
        assert tried["model_then"] == "acme-1"
        given = {"document": SMART, "model": content("acme-2")}
        (tried,) = (await retry.api.post("/v1/policies/dry-run", json=given)).json()["cases"]
        assert tried["model_then"] == "acme-2"
        await retry.run_until(START + 12 * DAY)
        rows = await retry.database.read("SELECT DISTINCT model_edition FROM charge_attempts")
        assert [row["model_edition"] for row in rows] == ["acme-1"]
        assert len(loads((await retry.api.get("/v1/policies/log")).text)) == 1
        found = (await retry.api.post("/v1/policies/evaluate", json={"document": SMART})).json()
        assert found["model"] == "acme-1"
        assert (await retry.api.post("/v1/policies/evaluate", json=given)).json()["model"] == "acme-2"
        for where in ("dry-run", "evaluate"):
            bad = {"document": SMART, "model": {**content("acme-2"), "schema": 99}}
            answer = await retry.api.post(f"/v1/policies/{where}", json=bad)
            assert (answer.status_code, "schema 1" in answer.json()["detail"]) == (422, True)


async def test_a_document_may_insist_on_the_promoted_or_the_shipped_edition_and_gets_it(
    retry_with: Callable[..., Any], file: Path
) -> None:
    async with retry_with(policy=policy_with(file)) as retry:
        for version, edition in enumerate(("acme-1", shipped().edition), start=1):
            document = {**SMART, "version": version, "model_edition": edition}
            assert (await retry.api.post("/v1/policies", json={"document": document})).status_code == 201
            (plan,) = await plans_of(retry, await retry.open(2 * version - 2))
            assert (plan["editions"]["model"], plan["editions"]["policy"]) == (edition, f"own@{version}")
        asked = {"document": {**SMART, "version": 3, "model_edition": "acme-0"}}
        answer = await retry.api.post("/v1/policies", json=asked)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "model_edition")
        assert (await retry.api.put("/v1/policies/shadow", json={"policy": asked["document"]})).status_code == 422


async def test_with_a_broken_file_smart_plans_by_pay_days_and_says_why_until_the_file_is_mended(
    retry_with: Callable[..., Any], file: Path
) -> None:
    whole = json.dumps(content())
    written(file, whole[: len(whole) // 2])
    async with retry_with(policy=policy_with(file)) as retry:
        told = (await retry.api.get("/v1/policies")).json()["model"]
        assert (told["edition"], told["source"]) == (None, "none")
        assert told["unusable"].startswith("acme.json: ")
        case_id = await retry.open()
        (plan,) = await plans_of(retry, case_id)
        assert (plan["rule"], plan["editions"]["model"]) == ("retry.model_unusable", None)
        assert plan["sentence"].startswith(f"model not usable ({told['unusable']}): pay days are used instead.")
        assert plan["outputs"]["explanation"]["policy_kind"] == "payday"
        assert plan["outputs"]["attempts"]
    written(file, whole)
    async with retry_with(policy=policy_with(file)) as retry:
        # The armed plan stays until its next decision, or until somebody asks.
        assert len(await plans_of(retry, case_id)) == 1
        assert (await retry.api.put("/v1/policies/smart", json={"on": True, "by": "ada"})).status_code == 200
        await retry.run()
        _, again = await plans_of(retry, case_id)
        assert (again["rule"], again["editions"]["model"]) == ("retry.policy.smart", "acme-1")
        await _all_made_again(retry, policy_with(file))
        # Under the shipped model too, as long as the file of then is given; else it says what is missing.
        rows = await retry.database.read("SELECT inputs, outputs FROM decisions WHERE kind='plan' ORDER BY seq")
        later, (first, second) = policy_with(""), [kept(row["inputs"]) for row in rows]
        assert plan_document(replayed(first, later)) == kept(rows[0]["outputs"])
        assert plan_document(replayed(second, later, [admitted_model(whole)])) == kept(rows[1]["outputs"])
        with pytest.raises(ModelMissing, match="acme-1#"):
            replayed(second, later)


async def _all_made_again(retry: Retry, policy: RetryPolicy) -> None:
    rows = await retry.database.read("SELECT inputs, outputs FROM decisions WHERE kind='plan'")
    assert len(rows) > 1
    for row in rows:
        assert plan_document(replayed(kept(row["inputs"]), policy)) == kept(row["outputs"])


@asynccontextmanager
async def _process(database_url: str, log: Path, **variables: str) -> AsyncIterator[str]:
    """Run the service as a process that serves its API only, which needs no Kafka; yields its address."""
    (port,) = free_ports(1)
    environment = {
        **os.environ, "DUNWELL_RETRY_DATABASE_URL": database_url, "DUNWELL_KAFKA_BOOTSTRAP": "nowhere:9092",
        "DUNWELL_RETRY_HTTP_PORT": str(port), "DUNWELL_RETRY_SECRET": "s", "DUNWELL_ROLES": "api", **variables,
    }  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dunwell_retry", env=environment, stdout=written, stderr=written
        )
        try:
            await wait_until(lambda: process.returncode is not None or _answers(url), seconds=30)
            yield url
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
    assert process.returncode == 0


async def _dunwell(url: str, *arguments: str) -> tuple[int | None, str]:
    """Return (exit status, what it printed) of a command against the service at a URL."""
    # No stack that runs on this machine is meant.
    environment = {**os.environ, "DUNWELL_RETRY_URL": url, "DUNWELL_VAR_DIR": "/nowhere", "DUNWELL_POSTGRES_DSN": ""}
    command = str(Path(sys.executable).with_name("dunwell"))
    done = await asyncio.create_subprocess_exec(command, *arguments, env=environment, stdout=asyncio.subprocess.PIPE)
    printed, _ = await done.communicate()
    return done.returncode, printed.decode()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("good", [True, False], ids=["fitted", "missing"])
async def test_the_process_starts_with_either_file_and_logs_and_tells_which_model_plans(
    retry_urls: tuple[str, str], file: Path, tmp_path: Path, good: bool
) -> None:
    log, name = tmp_path / "log", file if good else file.with_name("gone.json")
    async with _process(retry_urls[0], log, DUNWELL_RETRY_MODEL_FILE=str(name)) as url:
        told = json.loads((await _dunwell(url, "policy", "model", "--json"))[1])
        status, printed = await _dunwell(url, "policy", "model")
        _, doctor = await _dunwell(url, "doctor", "--json")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    found = [line for line in lines if "model" in line["event"]]
    if good:
        assert (told["edition"], status, printed) == ("acme-1", 0, "model acme-1, promoted\n")
        assert [(line["level"], line["event"], line["how"]) for line in found] == [
            ("info", "promoted model plans", "acme-1")
        ]
    else:
        why = "gone.json: No such file or directory"
        assert (told["edition"], told["unusable"], status) == (None, why, 1)
        assert printed == f"model not usable ({why}): smart plans by pay days\n"
        assert [(line["level"], line["reason"]) for line in found] == [("error", why)]
    (part,) = [part for part in json.loads(doctor)["parts"] if part["part"] == "retry's model"]
    assert (part["state"], part["what"]) == ("ok" if good else "unwell", printed.strip())
