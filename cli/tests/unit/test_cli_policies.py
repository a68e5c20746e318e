"""`dunwell policy`, the part that needs no service: what a document says, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dunwell_cli import policies
from dunwell_cli.main import app
from dunwell_cli.policies import totals_of
from dunwell_retry.policies import PRESETS

GOOD = "name: mine\nversion: 2\nkind: fixed\nattempts_max: 3\ndays: [1, 5, 9]\n"


def run(*arguments: str, text: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["policy", *arguments], input=text, env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, result.stdout, result.stderr


def test_every_shipped_policy_is_listed_without_any_service() -> None:
    code, out, _ = run("list", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)["shipped"]] == list(PRESETS)
    assert "advice-following" in run("list")[1]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_shipped_policy_is_valid(name: str) -> None:
    assert run("validate", name)[0] == 0


@pytest.mark.parametrize(
    ("text", "line", "path", "rule"),
    [
        (GOOD.replace("attempts_max: 3", "attempts_max: 21"), 4, "attempts_max", "Visa allows 20"),
        (GOOD.replace("[1, 5, 9]", "\n  - 1\n  - 9\n  - 5"), 8, "days[2]", "grow"),
        (GOOD + "when:\n  gateways: [stripe]\n  colour: red\n", 8, "when.colour", "no field"),
        (GOOD + "ladders:\n  default: [1]\n  expired: [3, 2]\n", 8, "ladders.expired[1]", "grow"),
        (GOOD + "floor: {attempts: 9, within_days: 14}\n", 6, "floor.attempts", "attempts_max"),
        (GOOD + "attempts_max: 5\n", 6, "attempts_max", "given twice"),
        ("name: mine\nkind: fixed\n", 1, "version", "missing"),
        ("name: mine\nversion: [\n", 3, "document", "YAML"),
        ("- a list\n", 1, "document", "mapping"),
        (GOOD + "when:\n  currency: XXQ\n", 7, "when.currency", "ISO 4217"),
        (GOOD + "when:\n  countries: [us]\n", 7, "when.countries[0]", "ISO 3166"),
        (GOOD + "holdout: {share: 0.1, policy: nosuch}\n", 6, "holdout.policy", "no policy 'nosuch' is known"),
        (GOOD + "model_edition: nosuch-1\n", 6, "model_edition", "no model that ships"),
        (GOOD.replace("name: mine", "name: ../mine"), 1, "name", "letters"),
        (GOOD.replace("name: mine", "name: smart"), 1, "name", "shipped policy of kind 'smart'"),
        (
            GOOD.replace("attempts_max: 3", "attempts_max: 12").replace(
                "[1, 5, 9]", "[0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9]"
            ),
            5,
            "days",
            "mastercard.velocity_24h",
        ),
        ("a: &a [x, x]\nb: [*a, *a]\n", 2, "document", "aliases"),
        ("[" * 70_000, None, "document", "characters"),
        ("", None, "document", "mapping"),
    ],
)
def test_a_broken_document_is_refused_with_line_field_and_rule(
    tmp_path: Path, text: str, line: int | None, path: str, rule: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    code, out, _ = run("validate", str(file), "--json")
    found = json.loads(out)
    assert (code, found["valid"], found["line"], found["path"]) == (1, False, line, path)
    assert rule in found["rule"]
    code, _, err = run("validate", str(file))
    assert code == 1
    assert f"{file}{f':{line}' if line else ''}: {path}: " in err


def test_a_json_document_on_standard_input_is_read_too() -> None:
    document = {"name": "mine", "version": 1, "kind": "uniform", "every_hours": 48}
    code, out, _ = run("validate", "-", "--json", text=json.dumps(document))
    assert (code, json.loads(out)["document"]["every_hours"]) == (0, 48)


def test_a_file_that_is_no_text_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_bytes(b"\xff\xfe\x00\x01")
    code, _, err = run("validate", str(file))
    assert (code, err.count("\n"), "is no text in UTF-8" in err) == (1, 1, True)


def test_a_holdout_may_name_a_saved_policy_where_the_service_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD + "holdout: {share: 0.1, policy: ours}\n")
    monkeypatch.setattr(policies, "call", lambda *_, **__: {"saved": [{"name": "ours"}]})
    assert (run("validate", str(file))[0], run("validate", str(file), "--saved")[0]) == (1, 0)


def test_a_file_that_is_not_there_names_the_shipped_ones() -> None:
    code, _, err = run("diff", "nothing.yaml", "smart")
    assert (code, "uniform-8" in err, "Traceback" in err) == (1, True, False)


def test_a_difference_is_told_in_words_and_as_data(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(GOOD)
    new.write_text(
        GOOD.replace("9]", "12]").replace("version: 2", "version: 3")
        + "floor: {attempts: 2, within_days: 14}\nwhen: {countries: [DE, FR]}\n"
    )
    code, out, _ = run("diff", str(old), str(new))
    assert code == 0
    assert "charges 1, 5, 12 days after the failure; before: 1, 5, 9" in out
    assert "version: 3 instead of 2" in out
    assert "promises at least 2 charges; before: none set" in out
    assert "is for methods issued in DE, FR; before: none" in out
    changes = {
        each["path"]: (each["before"], each["after"])
        for each in json.loads(run("diff", str(old), str(new), "--json")[1])
    }
    assert changes["days"] == ([1.0, 5.0, 9.0], [1.0, 5.0, 12.0])
    assert "no difference" in run("diff", str(old), str(old))[1]


@pytest.mark.parametrize(
    "command",
    [
        ["dry-run", "smart"],
        ["list", "--saved"],
        ["smart", "off"],
        ["shadow"],
        ["evaluate", "smart"],
        ["log"],
        ["save", "smart"],
    ],
)
def test_a_service_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("DUNWELL_RETRY_URL", "http://127.0.0.1:1")
    code, _, err = run(*command)
    assert (code, "does not answer" in err, "Traceback" in err) == (1, True, False)


def test_a_setting_that_is_none_is_refused_before_anybody_is_asked() -> None:
    code, _, err = run("smart", "maybe")
    assert (code, "say on or off" in err) == (1, True)


def test_the_totals_of_a_dry_run_count_each_case_once() -> None:
    def case(verdict: str, now: int, then: int) -> dict[str, Any]:
        return {"verdict": verdict, "attempts_now": now, "attempts_then": then}

    found = totals_of(
        [case("earlier", 3, 5), case("would_stop", 2, 0), case("earlier", 1, 1), case("unaffected", 4, 4)]
    )
    assert found == {
        "cases": 4,
        "changes": {"earlier": 2, "would_stop": 1, "unaffected": 1},
        "attempts_now": 10,
        "attempts_then": 10,
    }
