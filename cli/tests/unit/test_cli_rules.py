"""`dunwell rules check`: a verdict as JSON, and one line for every question that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dunwell_cli.main import app

QUESTION = {
    "attempt": {
        "at": "2026-11-22T10:00:00Z", "invoice_id": "in_1", "amount_minor": 1000, "currency": "USD",
        "initiator": "merchant", "gateway": "stripe", "merchant_country": "US",
        "instrument": {"instrument_id": "pm_1", "kind": "card", "network": "visa"},
    },
    "history": [],
}  # fmt: skip


def run(*arguments: str, text: str | bytes | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["rules", "check", *arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("arguments", [("-",), ("-", "--json"), ("--json", "-")])
def test_a_question_on_standard_input_gives_json(arguments: tuple[str, ...]) -> None:
    code, out, _ = run(*arguments, text=json.dumps(QUESTION))
    assert (code, json.loads(out)["permit"]) == (0, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"", "is not JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"attempt": {}, "attempt": {}, "history": []}', "attempt: is given twice"),
        (json.dumps({**QUESTION, "histroy": []}).encode(), "histroy: is no field here; known: attempt, history"),
        (json.dumps({"attempt": QUESTION["attempt"]}).encode(), "history: is missing"),
        (json.dumps(QUESTION).replace("2026", "9999").encode(), "attempt.at: lies outside the years"),
        (json.dumps([QUESTION, 5]).encode(), "[1].question: is not an object"),
    ],
)
def test_what_is_no_question_is_told_in_one_line(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "question.json"
    file.write_bytes(text)
    for code, _, error in (run(str(file)), run("-", text=text)):
        assert (code, error.count("\n"), said in error) == (1, 1, True), error


def test_a_file_that_is_not_there_is_told() -> None:
    code, _, error = run("nothing.json")
    assert (code, "nothing.json: No such file" in error) == (1, True)
