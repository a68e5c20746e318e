"""`dunwell declines`: what it says of a code, of an unknown one, and of what the data lacks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from dunwell_cli import declines
from dunwell_cli.main import app
from dunwell_gateways.declines import Coverage, coverage


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["declines", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, result.stdout, result.stderr


def explained(*arguments: str) -> list[dict[str, Any]]:
    code, out, err = run("explain", *arguments)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_a_code_is_told_with_its_source_and_what_its_grade_means() -> None:
    (adyen,) = explained("46", "--gateway", "adyen", "--on", "2026-11-22")
    assert (adyen["source"], adyen["grade"], adyen["grade_means"]) == ("S30b", "B", "one third party's text")
    assert adyen["source_address"] == "api-evangelist/adyen:errors/adyen-decline-codes.yml"
    (stripe,) = explained("do_not_honor", "--gateway", "stripe", "--json")
    assert (stripe["grade"], stripe["source_address"]) == ("A", "stripe/stripe-go:error.go")


def test_a_day_decides_which_row_is_told() -> None:
    assert [row["hard"] for row in explained("57", "--network", "visa", "--on", "2026-10-24")] == [False]
    assert [row["hard"] for row in explained("57", "--network", "visa", "--on", "2026-10-25")] == [True]


def test_an_unknown_code_is_told_its_one_cautious_attempt() -> None:
    (found,) = explained("brand_new", "--gateway", "stripe", "--network", "visa", "--on", "2026-11-22")
    assert (found["file"], found["reason"], found["hard"]) == (None, "unknown", False)
    assert found["treatment"]["delayed_retry"] == "once"
    assert "no row of stripe and visa is in force on 2026-11-22" in found["note"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("51", "--gateway", "nosuch"), "no decline data of a gateway 'nosuch'; there is some of adyen"),
        (("51", "--on", "2026-13-01"), "--on '2026-13-01' is no day"),
        (("51", "--on", "yesterday"), "write it like 2026-10-25"),
    ],
)
def test_what_cannot_be_answered_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run("explain", *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert "Traceback" not in err


def test_coverage_tells_grades_gaps_and_files_without_a_list() -> None:
    code, out, _ = run("coverage", "--json")
    found = {each["file"]: each for each in json.loads(out)}
    assert code == 0
    assert len(found) == len(coverage())
    assert found["recurly"]["grades"] == {"A": found["recurly"]["rows"], "B": 0, "C": 0}
    assert found["networks/discover"]["named"] == 0
    table = run("coverage")[1]
    discover = next(line for line in table.splitlines() if "networks/discover" in line)
    assert discover.count("–") == 2, "no list, so neither a count nor a gap"
    assert "A/B/C: rows by grade; A the gateway's or network's own text" in table


def test_coverage_names_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = tuple(f"c{number} (codes)" for number in range(9))
    one = Coverage("stripe", "2026.11.0", "2026-11", 1, 1, 10, lacking, ("x",), {"A": 1, "B": 0, "C": 0}, ("S",))
    monkeypatch.setattr(declines.taxonomy, "coverage", lambda: (one,))
    out = run("coverage")[1]
    assert "c5 (codes) and 3" in out
    assert "none" not in out.split("named:")[0]
