"""`dunwell cases why`: what a decision's shadow would have done stands beside what was done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from dunwell_cli import books
from dunwell_cli.main import app
from dunwell_retry.decide.choice import compared
from dunwell_retry.planning.parameters import REASONS

BASE = {"policy": "recurly-2d@1", "beside": "smart@3", "attempts": 4, "why": "every other day"}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def attempt(at: datetime, instrument_id: str = "pm_1") -> SimpleNamespace:
    return SimpleNamespace(at=at, instrument_id=instrument_id, score=0.3, why="every other day")


def plan(*attempts: SimpleNamespace) -> Any:
    return SimpleNamespace(attempts=attempts, why="every other day")


def told(mine: Any, theirs: Any) -> str:
    """Say what the service would have stored of two plans: the verdicts are its own."""
    return books.shadow_sentence({**BASE, **compared(mine, theirs)})


def test_each_verdict_of_the_service_is_a_sentence() -> None:
    ours, half_a_day = plan(attempt(NOON)), timedelta(hours=12)
    start = "shadow recurly-2d@1 (not acted on) would have "
    assert told(ours, plan(attempt(NOON - half_a_day))) == (
        f"{start}charged 12 h earlier at 2026-11-24 00:00; 4 charges planned: every other day"
    )
    assert told(ours, plan(attempt(NOON + half_a_day))).startswith(f"{start}charged 12 h later at 2026-11-25 00:00")
    assert told(ours, ours).startswith(f"{start}done the same at 2026-11-24 12:00")
    assert told(ours, plan(attempt(NOON, "pm_2"))).startswith(f"{start}charged another method at 2026-11-24 12:00")
    assert told(ours, plan()).startswith(f"{start}charged no more; 4 charges planned")
    assert told(plan(), ours).startswith(f"{start}charged where nothing was planned at 2026-11-24 12:00")


def test_a_shadow_that_failed_says_why() -> None:
    failed = {"policy": "mine@2", "beside": "smart@3", "verdict": "failed", "why": "days must grow"}
    assert books.shadow_sentence(failed) == "shadow mine@2 found no plan: days must grow"


@pytest.mark.parametrize(
    "shadow", [None, {**BASE, "verdict": "earlier", "hours": -12.0, "at": "2026-11-24T00:00:00+00:00"}]
)
def test_why_prints_the_shadow_only_where_one_was_asked(
    monkeypatch: pytest.MonkeyPatch, shadow: dict[str, Any] | None
) -> None:
    decision = {
        "at": "2026-11-23T10:00:00", "kind": "plan", "sentence": "Wait for the pay day.", "rule": "retry.smart",
        "evidence": [], "outputs": {}, "shadow": shadow,
    }  # fmt: skip
    answer = {"summary": "One invoice.", "decisions": [decision], "next": "An attempt.", "would_change": []}
    monkeypatch.setattr(books, "call", lambda *_, **__: answer)
    result = CliRunner().invoke(app, ["cases", "why", "rec_1"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    # A runner of many processes may fix 80 columns before the command is loaded: a sentence may then be broken.
    said = " ".join(result.stdout.split())
    assert "Wait for the pay day." in said
    sentence = "shadow recurly-2d@1 (not acted on) would have charged 12 h earlier at 2026-11-24 00:00"
    assert (sentence in said) is (shadow is not None)
    assert ("shadow" in said) is (shadow is not None)


def test_what_a_plan_keeps_beside_its_sentence_is_told() -> None:
    explanation = {
        "posterior": {"auth": 0.01, "line": 0.54, "cycle": 0.39, "new_cause": 0.06},
        "rules": ["visa.cap"],
        "sources": ["S4"],
        "budget_left": 0,
        "model_edition": "stated-2026.11",
        "notes": ["impossible expiry (1999, 13) of 'pm_9': ignored"],
    }
    assert books.beside(explanation) == [
        "likely behind the refusal: the credit line is used up 54%, money comes with the pay day 39%, new_cause 6%",
        "gate visa.cap · sources S4 · 0 charges left · model stated-2026.11",
        "note: impossible expiry (1999, 13) of 'pm_9': ignored",
    ]
    assert books.beside({}) == []


def test_the_rules_of_a_decision_are_told_with_their_sources() -> None:
    found = {"visa.cap": ["S1: support.checkout.com", "S2: docs.cielo.com.br"], "tenant.min_gap": ["the tenant's own"]}
    assert books.told_sources({"rule_sources": found}) == [
        "visa.cap is written in S1: support.checkout.com; S2: docs.cielo.com.br",
        "tenant.min_gap is written in the tenant's own",
    ]
    assert books.told_sources({}) == []


def test_every_cause_of_the_model_has_words() -> None:
    assert tuple(books.CAUSES) == REASONS
