"""What operators may do, and what a bad request is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
# The default of the policy: see dunwell_retry.policy.PAUSE_DAYS.
POLICY_PAUSE = 14 * DAY
Retry = Any


async def act(retry: Retry, case_id: str, action: str, by: str = "ada", **more: str) -> Any:
    return await retry.api.post(f"/v1/cases/{case_id}/{action}", json={"by": by, **more})


async def listed(retry: Retry, state: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = (await retry.api.get("/v1/cases", params={"state": state})).json()
    return cases


async def test_an_operator_pauses_and_resumes(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    case_id = await retry.open()
    until = retry.clock.now() + POLICY_PAUSE
    held = (await act(retry, case_id, "pause")).json()
    assert (held["state"], datetime.fromisoformat(held["held_until"])) == ("paused", until)
    (shown,) = await listed(retry, "paused")
    assert (shown["case_id"], shown["held_by"]) == (case_id, "ada")
    assert datetime.fromisoformat(shown["held_since"]) == until - POLICY_PAUSE
    assert "paused by ada since" in (await retry.api.get(f"/v1/cases/{case_id}/why")).json()["next"]
    await retry.run_until(START + 4 * DAY)
    assert await retry.truth() == []
    assert (await act(retry, case_id, "pause")).status_code == 409
    assert (await act(retry, case_id, "resume")).json()["state"] == "waiting"
    assert (await act(retry, case_id, "resume")).status_code == 409
    await retry.run_until(START + 6 * DAY)
    assert await retry.state() == "recovered"
    assert [type(e).__name__ for e in await retry.emitted(recovery_pb2.RecoveryPaused, recovery_pb2.RecoveryResumed)] == [
        "RecoveryPaused", "RecoveryResumed",
    ]  # fmt: skip


async def test_a_pause_that_nobody_ends_ends_by_itself_and_is_told(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    case_id = await retry.open()
    until = (START + 4 * DAY).isoformat()
    assert (await act(retry, case_id, "pause", until=until)).status_code == 200
    await retry.run_until(START + 4 * DAY - timedelta(seconds=1))
    assert (await retry.state(), await retry.truth()) == ("paused", [])
    await retry.run_until(START + 4 * DAY)
    assert (await retry.state(), await listed(retry, "paused")) == ("waiting", [])
    (told,) = await retry.emitted(recovery_pb2.RecoveryResumed)
    assert (told.reason.rule, told.reason.source) == ("retry.pause_ended", "retry")
    await retry.run_until(START + 6 * DAY)
    assert await retry.state() == "recovered"


async def test_a_pause_to_beyond_the_deadline_ends_the_case_when_it_ends(retry: Retry) -> None:
    case_id = await retry.open()
    await act(retry, case_id, "pause", until=(START + 60 * DAY).isoformat())
    await retry.run_until(START + 61 * DAY)
    assert (await retry.state(), await retry.truth()) == ("exhausted", [])


async def test_a_resumed_case_is_not_troubled_by_the_end_of_its_pause(retry: Retry) -> None:
    case_id = await retry.open()
    await act(retry, case_id, "pause")
    await act(retry, case_id, "resume")
    await retry.run_until(START + 16 * DAY)
    assert len(await retry.emitted(recovery_pb2.RecoveryResumed)) == 1
    assert await retry.attempts() == ["declined"] * 3


@pytest.mark.parametrize(
    ("action", "until"),
    [
        ("pause", "2026-03-01T00:00:00Z"),
        ("pause", "2028-03-01T00:00:00Z"),
        ("pause", "2026-03-20T00:00:00"),
        ("pause", "next week"),
        ("stop", "2026-03-20T00:00:00Z"),
    ],
)
async def test_an_end_of_a_pause_that_is_none_is_refused(retry: Retry, action: str, until: str) -> None:
    case_id = await retry.open()
    answer = await act(retry, case_id, action, until=until)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (422, "invalid-input")
    assert await retry.state() == "waiting"


async def test_an_operator_charges_at_once_but_the_gate_is_still_asked(retry: Retry) -> None:
    case_id = await retry.open()
    assert (await act(retry, case_id, "retry-now")).status_code == 200
    await retry.run()
    assert await retry.attempts() == ["declined"]
    told = (await retry.api.get(f"/v1/cases/{case_id}/why")).json()["decisions"]
    assert any(d["kind"] == "charge" and d["sentence"] == "An operator asked for it." for d in told)
    # The rules that permitted the charges are told with where they are written down.
    cited = {rule: sources for decision in told for rule, sources in decision["rule_sources"].items()}
    permitted = {rule for decision in told for rule in (decision["outputs"].get("explanation") or {}).get("rules", ())}
    assert permitted
    assert all(cited[rule] for rule in permitted)
    await retry.api.post("/v1/blocks", json={"kind": "legal"})
    await act(retry, case_id, "retry-now")
    await retry.run()
    assert await retry.attempts() == ["declined"]
    (skipped,) = await retry.emitted(recovery_pb2.RetrySkipped)
    assert skipped.reason.rule == "block.legal"


async def test_an_operator_stops_a_case_for_good(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    case_id = await retry.open()
    retry.clock.set(START + 3 * DAY)
    await retry.timers.turn()
    assert (await act(retry, case_id, "pause")).status_code == 409
    assert (await act(retry, case_id, "retry-now")).status_code == 409
    assert (await act(retry, case_id, "stop")).json()["state"] == "canceled"
    await retry.run()
    assert (await retry.attempts(), await retry.truth()) == (["withdrawn"], [])
    for action in ("pause", "resume", "retry-now", "stop"):
        answer = await act(retry, case_id, action)
        assert (answer.status_code, answer.json()["type"]) == (409, "https://dunwell.dev/problems/conflict")


async def test_the_lists_of_cases_are_paged_and_of_one_tenant(retry: Retry) -> None:
    for number in range(3):
        await retry.open(number)
    await retry.tell(payment_pb2.InvoiceVoided(origin=retry.origin(1)))
    first = (await retry.api.get("/v1/cases", params={"limit": 2})).json()
    rest = (await retry.api.get("/v1/cases", params={"limit": 2, "after": first[-1]["case_id"]})).json()
    assert len({case["case_id"] for case in first + rest}) == 3
    assert [c["invoice_id"] for c in (await retry.api.get("/v1/cases", params={"state": "canceled"})).json()] == [
        "in_1"
    ]
    assert (await retry.api.get("/v1/cases", params={"tenant": "other"})).json() == []
    assert (await retry.api.get("/v1/cases/counts")).json() == {"waiting": 2, "canceled": 1}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/v1/cases/rec_none", None, 404, "not-found"),
        ("GET", "/v1/cases/rec_none/why", None, 404, "not-found"),
        ("GET", "/v1/cases/%00", None, 422, "invalid-input"),
        ("GET", "/v1/cases?state=%00", None, 422, "invalid-input"),
        ("GET", "/v1/cases?state=nosuch", None, 422, "invalid-input"),
        ("GET", "/v1/cases?limit=0", None, 422, "invalid-input"),
        ("GET", "/v1/cases?limit=201", None, 422, "invalid-input"),
        ("GET", f"/v1/cases?tenant={'t' * 65}", None, 422, "invalid-input"),
        ("POST", "/v1/cases/rec_none/pause", {}, 404, "not-found"),
        ("POST", "/v1/cases/rec_none/explode", {}, 422, "invalid-input"),
        ("POST", "/v1/cases/rec_none/pause", {"by": ""}, 422, "invalid-input"),
        ("POST", "/v1/cases/rec_none/pause", {"by": "a\x00"}, 422, "invalid-input"),
        ("POST", "/v1/cases/rec_none/pause", {"by": "ada", "root": True}, 422, "invalid-input"),
        ("POST", "/v1/blocks", {"kind": "anything"}, 422, "invalid-input"),
        ("POST", "/v1/blocks", {"kind": "legal", "until": "tomorrow"}, 422, "invalid-input"),
        ("POST", "/v1/blocks", {"kind": "legal", "until": "2026-03-02T10:00:00"}, 422, "invalid-input"),
        ("POST", "/v1/blocks", {"kind": "legal", "payer_id": "\x00"}, 422, "invalid-input"),
        ("DELETE", "/v1/blocks/blk_none", None, 404, "not-found"),
        ("POST", "/v1/blocks", {"kind": "legal", "until": "2001-03-02T10:00:00Z"}, 422, "invalid-input"),
        ("POST", "/v1/rules/check", {"attempt": {}, "histroy": []}, 422, "rule-input-invalid"),
        ("POST", "/v1/rules/check", {}, 422, None),
        ("POST", "/v1/rules/check", "text", 422, None),
    ],
)
async def test_a_bad_request_is_a_problem_with_a_stable_type(
    retry: Retry, method: str, path: str, body: Any, status: int, kind: str | None
) -> None:
    answer = await retry.api.request(method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"].startswith("https://dunwell.dev/problems/")
    assert kind is None or answer.json()["type"].endswith(f"/{kind}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"attempt": {"at": 1, "at": 2}, "history": []}', "at: is given twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"", "not JSON"),
    ],
)
async def test_a_question_to_the_gate_is_read_as_it_came(retry: Retry, body: bytes, said: str) -> None:
    answer = await retry.api.post("/v1/rules/check", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said in answer.json()["detail"]


async def test_a_question_at_the_end_of_the_calendar_is_refused(retry: Retry) -> None:
    card = {"instrument_id": "pm_1", "kind": "card", "network": "visa"}
    attempt = {
        "at": "9999-12-31T23:00:00Z", "invoice_id": "in_1", "amount_minor": 1, "currency": "USD",
        "initiator": "merchant", "gateway": "stripe", "instrument": card,
    }  # fmt: skip
    answer = await retry.api.post("/v1/rules/check", json={"attempt": attempt, "history": []})
    assert (answer.status_code, "attempt.at" in answer.json()["detail"]) == (422, True)
