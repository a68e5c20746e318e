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
Retry = Any


async def act(retry: Retry, case_id: str, action: str, by: str = "ada") -> Any:
    return await retry.api.post(f"/v1/cases/{case_id}/{action}", json={"by": by})


async def test_an_operator_pauses_and_resumes(retry: Retry) -> None:
    retry.world.approves_from["in_0"] = START
    case_id = await retry.open()
    assert (await act(retry, case_id, "pause")).json() == {"case_id": case_id, "state": "paused"}
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


async def test_an_operator_charges_at_once_but_the_gate_is_still_asked(retry: Retry) -> None:
    case_id = await retry.open()
    assert (await act(retry, case_id, "retry-now")).status_code == 200
    await retry.run()
    assert await retry.attempts() == ["declined"]
    told = (await retry.api.get(f"/v1/cases/{case_id}/why")).json()["decisions"]
    assert any(d["kind"] == "charge" and d["sentence"] == "An operator asked for it." for d in told)
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
