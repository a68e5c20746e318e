"""`dunwell policy fit` and `policy model`, the part that needs no service: from a log to a file that may plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dunwell_cli.main import app
from dunwell_cli.models import asked_with, model_line
from dunwell_kit.errors import Invalid
from dunwell_retry.planning.parameters import shipped

POOR = {"gateway_code": "insufficient_funds", "network_code": "51"}


def line(number: int) -> str:
    """Return one case of a log as the service prints it."""
    case = {
        "case_id": f"rec_{number}", "invoice_id": f"in_{number}", "payer_id": f"cus_{number}", "tenant_id": "default",
        "amount_minor": 4900, "currency": "USD", "timezone": "America/New_York", "gateway": "stripe",
        "failed_at": f"2026-03-{2 + number:02}T09:00:00Z", "deadline": "2026-04-20T09:00:00Z", "decline": POOR,
        "methods": [{"instrument_id": "pm_1", "network": "visa", "funding": "debit", "country": "US"}],
    }  # fmt: skip
    sent = {"at": f"2026-03-{6 + number:02}T14:00:00Z", "instrument_id": "pm_1", "route": "default"}
    return json.dumps({"case": case, "sent": [{**sent, "approved": False, "decline": POOR}], "propensities": [0.5]})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(line(number) for number in range(4)) + "\n")
    return path


def run(*arguments: Any, text: str | None = None) -> tuple[int, str, str]:
    words = ["policy", *(str(each) for each in arguments)]
    result = CliRunner().invoke(app, words, input=text, env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.simulation
def test_a_model_is_fitted_to_a_log_and_says_what_it_was_fitted_to(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "acme.json"
    code, told, _ = run("fit", log, "--edition", "acme-1", "--out", out, "--strength", "2")
    assert (code, "fitted acme-1 on 4 cases, 4 charges" in told, "stays near" in told) == (0, True, False)
    again = tmp_path / "again.json"
    assert run("fit", "-", "--edition", "acme-1", "--out", again, "--strength", "2", text=log.read_text())[0] == 0
    assert again.read_text() == out.read_text()
    assert json.loads(out.read_text())["fitted_on"] == {
        "cases": 4, "charges": 4, "from": "2026-03-02", "to": "2026-03-05", "start": shipped().edition,
    }  # fmt: skip
    code, told, _ = run("model", out)
    assert (code, told.startswith("usable acme-1#")) == (0, True)
    assert json.loads(run("model", out, "--json")[1])["edition"] == "acme-1"
    assert "# Model card: retry timing, edition `acme-1`" in run("model", out, "--card")[1]
    third = tmp_path / "third.json"
    told = run("fit", log, "--edition", "acme-2", "--out", third, "--start", out, "--json")[1]
    assert json.loads(told)["name"].startswith("acme-2#")
    assert json.loads(third.read_text())["fitted_on"]["start"] == "acme-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--edition", "a b"), "edition: must be 1 to 64"),
        (("--edition", "stated-2026.11"), "has a model already"),
        (("--edition", "acme-1", "--start", "gone.json"), "gone.json: No such file"),
        (("--edition", "acme-1", "--out", "/nowhere/acme.json"), "is no folder"),
    ],
)
def test_a_fit_that_could_not_be_promoted_is_refused_before_it_begins(
    arguments: tuple[str, ...], said: str, log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "acme.json"
    code, told, wrong = run("fit", log, "--out", out, *arguments)
    assert (code, said in wrong, told, out.exists()) == (1, True, "", False)


@pytest.mark.parametrize(
    ("text", "said"), [("", "a fit needs cases"), ("{}\n", "line 1: 'sent'"), ("nothing\n", "line 1: ")]
)
def test_a_log_that_is_none_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    out = tmp_path / "acme.json"
    code, _, wrong = run("fit", "-", "--edition", "acme-1", "--out", out, text=text)
    assert (code, said in wrong, out.exists()) == (1, True, False)


def test_a_file_that_may_not_plan_ends_with_status_1_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "acme.json"
    file.write_text(json.dumps({**shipped().raw, "edition": "acme-1", "persistence": 7}))
    code, told, wrong = run("model", file)
    assert (code, told, "persistence: is a chance" in wrong) == (1, "", True)
    code, told, _ = run("model", file, "--json")
    assert (code, json.loads(told)["usable"]) == (1, False)
    assert "No such file" in run("model", tmp_path / "gone.json")[2]
    file.write_bytes(b"\xff")
    assert "no text in UTF-8" in run("model", file)[2]
    for command in ("dry-run", "evaluate"):
        code, _, wrong = run(command, "smart", "--model", file)
        assert (code, "no text in UTF-8" in wrong) == (1, True)


def test_a_request_carries_the_file_that_was_checked_and_nothing_without_one(tmp_path: Path) -> None:
    file = tmp_path / "acme.json"
    file.write_text(json.dumps({**shipped().raw, "edition": "acme-1"}))
    assert asked_with(None) == {}
    assert asked_with(file)["model"]["edition"] == "acme-1"
    file.write_text("{}")
    with pytest.raises(Invalid, match="schema 1"):
        asked_with(file)


def test_which_model_plans_is_told_in_a_line() -> None:
    assert model_line({"edition": "acme-1", "source": "promoted", "unusable": ""}) == "model acme-1, promoted"
    gone = model_line({"edition": None, "source": "none", "unusable": "acme.json: gone"})
    assert gone == "model not usable (acme.json: gone): smart plans by pay days"
