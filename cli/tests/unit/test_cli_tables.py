"""Lists that a person reads in 80 columns: no id is cut, nothing runs past the edge."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dunwell_cli import books, output, platform
from dunwell_cli.main import app

CASE = {
    "case_id": "rec_06bdq0v3k4h9r8m2n5p7s1t0uv", "invoice_id": "in_1OabcDEfGhIjKlMnOpQrStUv",
    "amount_minor": 1_234_567, "currency": "USD", "state": "recovered", "decline_reason": "insufficient_funds",
    "attempts": 12, "arm": "treatment", "failed_at": "2026-11-23T10:00:00Z",
}  # fmt: skip
DELIVERY = {
    "delivery_id": "dlv_06bdq0v3k4h9r8m2n5p7s1t0uv", "gateway": "stripe", "event_type": "customer.subscription.updated",
    "received_at": "2026-11-23T10:00:00Z", "detail": "data.object.amount_due is missing where the event has one",
}  # fmt: skip


def listed(monkeypatch: pytest.MonkeyPatch, module: Any, rows: list[dict[str, Any]], *arguments: str) -> str:
    paper = io.StringIO()
    monkeypatch.setattr(module, "call", lambda *_, **__: rows)
    monkeypatch.setattr(output, "console", Console(file=paper, width=80))
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return paper.getvalue()


@pytest.mark.parametrize("row", [CASE, {**CASE, "decline_reason": None, "failed_at": None}])
def test_cases_fit_80_columns_with_their_ids_whole(monkeypatch: pytest.MonkeyPatch, row: dict[str, Any]) -> None:
    text = listed(monkeypatch, books, [row, row], "cases", "list")
    assert max(len(line) for line in text.splitlines()) <= 80
    for whole in (row["case_id"], row["invoice_id"], "recovered", "12345.67 USD", " 12 "):
        assert whole in text


def test_the_quarantine_fits_80_columns_with_its_ids_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    text = listed(monkeypatch, platform, [DELIVERY], "quarantine", "list")
    assert max(len(line) for line in text.splitlines()) <= 80
    for whole in (DELIVERY["delivery_id"], DELIVERY["event_type"], "stripe", "2026-11-23", "10:00:00", "amount_due"):
        assert whole in text


def test_as_json_the_rows_are_as_the_service_gave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "call", lambda *_, **__: [CASE])
    assert json.loads(CliRunner().invoke(app, ["cases", "list", "--json"]).stdout) == [CASE]


def test_a_state_that_does_not_exist_is_refused_with_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "call", lambda *_, **__: pytest.fail("the service was asked"))
    result = CliRunner().invoke(app, ["cases", "list", "--state", "nosuch"])
    said = " ".join(result.stderr.split())
    assert (result.exit_code, "'nosuch' is no state" in said, "uncertain" in said) == (1, True, True)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["cases", "act", "rec_1", "pause"], {"json": {"by": "operator"}}),
        (
            ["cases", "act", "rec_1", "pause", "--until", "2026-12-24T09:00:00Z"],
            {"json": {"by": "operator", "until": "2026-12-24T09:00:00Z"}},
        ),
        (["aging", "--as-of", "2026-03-31"], {"params": {"tenant": "default", "as_of": "2026-03-31"}}),
        (
            ["trial-balance", "--known-at", "2026-04-02T00:00:00Z"],
            {"params": {"tenant": "default", "known_at": "2026-04-02T00:00:00Z"}},
        ),
    ],
)
def test_what_an_operator_gives_reaches_the_service(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], sent: dict[str, Any]
) -> None:
    asked: list[dict[str, Any]] = []

    def call(_: str, __: str, **more: Any) -> dict[str, Any]:
        asked.append({name: more[name] for name in sent})
        return {
            "accounts": [],
            "buckets": {},
            "as_of": "2026-03-31",
            "balanced": True,
            "totals": {},
            "known_at": "then",
        }

    monkeypatch.setattr(books, "call", call)
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, asked) == (0, [sent])
    if arguments[0] == "trial-balance":
        assert "as of 2026-03-31, as known at then" in " ".join(result.stdout.split())
