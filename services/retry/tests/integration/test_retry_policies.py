"""Policies in the running service: saved, selected, switched off, shadowed, tried and evaluated; and nothing is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg import PostgresError

from dunwell.payment.v1 import payment_pb2
from dunwell_kit.database import sqlstate
from dunwell_retry.decide.inputs import replayed
from dunwell_retry.handlers import Recovery
from dunwell_retry.main import classified
from dunwell_retry.model import Decline, Method, plan_document
from dunwell_retry.planners import planners
from dunwell_retry.planning.logged import loads
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.profiles import PayerTold
from dunwell_retry.rules import allow

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
Retry = Any
SMART = RetryPolicy(
    planners=planners(), main_policy="smart", holdout_policy="uniform-8", holdout_share=0.0, experiment="e", gate=allow,
    classify=classified, idempotency_secret=b"secret", merchant_country="US",
)  # fmt: skip
MINE = {"name": "mine", "version": 1, "kind": "fixed", "attempts_max": 3, "days": [2, 4, 6]}


@pytest.fixture
async def smart(retry_with: Callable[..., Any]) -> AsyncIterator[Retry]:
    """The service as it ships: `smart` plans."""
    async with retry_with(policy=SMART) as made:
        yield made


async def save(retry: Retry, document: dict[str, Any], **more: Any) -> Any:
    return await retry.api.post("/v1/policies", json={"document": document, "by": "ada", **more})


async def policy_of_case(retry: Retry, number: int = 0) -> str:
    row = await retry.row("SELECT plan->>'policy' AS policy FROM cases WHERE invoice_id=:i", i=f"in_{number}")
    return str(row["policy"])


async def plans_of(retry: Retry, case_id: str) -> list[dict[str, Any]]:
    told = (await retry.api.get(f"/v1/cases/{case_id}/why")).json()
    return [decision for decision in told["decisions"] if decision["kind"] == "plan"]


async def test_a_saved_policy_plans_the_next_decision_and_only_for_its_tenant(smart: Retry) -> None:
    assert (await save(smart, MINE)).status_code == 201
    assert (await save(smart, {**MINE, "name": "theirs"}, tenant_id="other")).status_code == 201
    await smart.open()
    assert await policy_of_case(smart) == "mine@1"
    due = await smart.row("SELECT due_at FROM timers WHERE kind='attempt'")
    assert due["due_at"] == START + 2 * DAY
    listed = (await smart.api.get("/v1/policies")).json()
    assert [(p["name"], p["active"], p["saved_by"]) for p in listed["saved"]] == [("mine", True, "ada")]
    assert (listed["default"], len(listed["shipped"])) == ("smart", 14)


async def test_versions_are_only_added_and_the_newest_whose_time_has_come_plans(smart: Retry) -> None:
    await save(smart, MINE)
    assert (await save(smart, MINE)).status_code == 201
    clash = await save(smart, {**MINE, "days": [3, 5]})
    assert (clash.status_code, clash.json()["type"]) == (409, "https://dunwell.dev/problems/conflict")
    assert "save a change as 2" in clash.json()["detail"]
    later = START + 5 * DAY
    assert (await save(smart, {**MINE, "version": 2, "days": [10]}, active_at=later.isoformat())).status_code == 201
    await smart.open()
    assert await policy_of_case(smart) == "mine@1"
    smart.clock.set(later)
    await smart.open(2)
    assert await policy_of_case(smart, 2) == "mine@2"
    assert (await smart.api.post("/v1/policies/mine/retire", json={"by": "ada"})).json()["version"] == 2
    await smart.open(1)
    assert await policy_of_case(smart, 1) == "smart@1"
    assert (await save(smart, {**MINE, "version": 3})).status_code == 201
    states = {p["version"]: (p["active"], p["retired"]) for p in (await smart.api.get("/v1/policies")).json()["saved"]}
    assert states == {1: (False, True), 2: (False, True), 3: (True, False)}
    assert (await smart.api.post("/v1/policies/none/retire", json={})).status_code == 404


@pytest.mark.parametrize(
    ("document", "path", "rule"),
    [
        ({**MINE, "attempts_max": 21}, "attempts_max", "Visa allows 20"),
        ({**MINE, "typo": 1}, "typo", "no field"),
        ({**MINE, "version": 2**40}, "version", "2147483647"),
        ({**MINE, "name": "a\u0000"}, "name", "control"),
        ({**MINE, "when": {"currency": "USD", "amount_from": 2**63}}, "when.amount_from", "minor units"),
        ({**MINE, "floor": {"attempts": 9, "within_days": 14}}, "floor.attempts", "attempts_max"),
        ({**MINE, "floor": {"attempts": 3, "within_days": 1}}, "floor.within_days", "too short"),
        ({**MINE, "holdout": {"share": 0.1, "policy": "nobody"}}, "holdout.policy", "shipped or saved"),
        ({}, "name", "missing"),
    ],
)
async def test_a_bad_document_is_refused_with_the_rule_and_nothing_is_saved(
    smart: Retry, document: dict[str, Any], path: str, rule: str
) -> None:
    answer = await save(smart, document)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == "https://dunwell.dev/problems/policy-invalid"
    (error,) = problem["errors"]
    assert error["path"] == path
    assert rule in error["rule"]
    assert (await smart.row("SELECT count(*) AS n FROM policy_documents"))["n"] == 0
    for where in ("dry-run", "evaluate"):
        if path != "holdout.policy":
            assert (await smart.api.post(f"/v1/policies/{where}", json={"document": document})).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/policies", {"document": []}),
        ("POST", "/v1/policies", {"document": MINE, "tenant_id": ""}),
        ("POST", "/v1/policies", {"document": MINE, "active_at": "2026-03-02T10:00:00"}),
        ("POST", "/v1/policies", {"document": MINE, "by": "a\x00"}),
        ("PUT", "/v1/policies/smart", {}),
        ("PUT", "/v1/policies/smart", {"on": False, "root": True}),
        ("PUT", "/v1/policies/shadow", {"policy": "best-ever"}),
        ("PUT", "/v1/policies/shadow", {"policy": {"name": "x"}}),
        ("GET", "/v1/policies/shadow?days=0", None),
        ("POST", "/v1/policies/dry-run", {"document": MINE, "limit": 501}),
        ("POST", "/v1/policies/evaluate", {"document": MINE, "days": 0}),
        ("GET", "/v1/policies/log?days=9999", None),
    ],
)
async def test_a_bad_request_about_policies_is_a_problem(smart: Retry, method: str, path: str, body: Any) -> None:
    answer = await smart.api.request(method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def switch(retry: Retry, on: bool, tenant: str = "*") -> None:
    body = {"on": on, "tenant_id": tenant, "by": "ada", "reason": "drift"}
    assert (await retry.api.put("/v1/policies/smart", json=body)).status_code == 200


async def test_the_off_switch_replans_what_waits_at_once_and_says_why(smart: Retry) -> None:
    case_id = await smart.open()
    assert await policy_of_case(smart) == "smart@1"
    await switch(smart, False)
    await smart.run()
    assert await policy_of_case(smart) == "payday@1"
    *_, last = await plans_of(smart, case_id)
    assert last["rule"] == "retry.smart_off"
    assert last["sentence"].startswith("smart is switched off by ada: drift")
    await switch(smart, True)
    await smart.run()
    assert await policy_of_case(smart) == "smart@1"
    assert len(await plans_of(smart, case_id)) == 3


async def test_one_tenants_switch_leaves_the_others_alone_and_off_for_all_beats_on_for_one(smart: Retry) -> None:
    await switch(smart, False, "other")
    await smart.open()
    assert await policy_of_case(smart) == "smart@1"
    await switch(smart, True, "default")
    await switch(smart, False, "*")
    await smart.run()
    assert await policy_of_case(smart) == "payday@1"


async def test_an_attempt_that_smart_planned_is_not_sent_though_no_replan_came_before_it(smart: Retry) -> None:
    case_id = await smart.open()
    due = await smart.row("SELECT due_at FROM timers WHERE kind='attempt'")
    body = """INSERT INTO policy_switches (tenant_id, kind, value, set_by, at) VALUES ('*', 'smart', '{"on": false}', 'ada', now())"""
    await smart.database.transact(lambda tx: tx.execute(body))
    smart.clock.set(due["due_at"])
    await smart.timers.turn()
    assert await smart.attempts() == []
    kinds = [d["kind"] for d in (await smart.api.get(f"/v1/cases/{case_id}/why")).json()["decisions"]]
    assert kinds[-2:] == ["skipped", "plan"]


async def test_a_shadow_is_kept_beside_each_decision_and_never_acted_on(smart: Retry) -> None:
    await save(smart, MINE)
    answer = await smart.api.put("/v1/policies/shadow", json={"policy": "killbill", "by": "ada"})
    assert answer.json()["shadow"] == "killbill@1"
    case_id = await smart.open()
    (first,) = await plans_of(smart, case_id)
    assert (first["shadow"]["policy"], first["shadow"]["verdict"], first["shadow"]["hours"]) == (
        "killbill@1",
        "later",
        144,
    )
    assert first["shadow"]["beside"] == "mine@1"
    await smart.run_until(START + 7 * DAY)
    assert len(await smart.attempts()) == 3
    (summary,) = (await smart.api.get("/v1/policies/shadow")).json()
    assert summary["policy"] == "killbill@1"
    assert summary["decisions"] == 4
    assert (summary["later"], summary["would_charge"], summary["agreement"]) == (3, 0, 0.25)
    await smart.api.put("/v1/policies/shadow", json={"policy": None})
    await smart.open(2)
    assert (await smart.row("SELECT count(*) AS n FROM decisions WHERE shadow IS NOT NULL"))["n"] == 4
    assert (await smart.api.get("/v1/policies/shadow", params={"tenant": "other"})).json() == []


async def test_a_dry_run_tells_each_open_case_and_changes_nothing(smart: Retry) -> None:
    for number in range(3):
        await smart.open(number)
    await smart.tell(payment_pb2.InvoiceVoided(origin=smart.origin(1)))
    rows = (
        "SELECT (SELECT count(*) FROM decisions) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM timers) AS n"
    )
    before = (await smart.row(rows))["n"]
    first = (await smart.api.post("/v1/policies/dry-run", json={"document": MINE, "limit": 1})).json()
    rest = (
        await smart.api.post("/v1/policies/dry-run", json={"document": MINE, "limit": 2, "after": first["next"]})
    ).json()
    found = first["cases"] + rest["cases"]
    assert sorted(case["invoice_id"] for case in found) == ["in_0", "in_2"]
    assert rest["next"] is None
    armed = await smart.row(
        "SELECT due_at FROM timers t JOIN cases c USING (case_id) WHERE t.kind='attempt' AND t.state='pending' AND c.invoice_id='in_0'"
    )
    of_first = next(case for case in found if case["invoice_id"] == "in_0")
    assert datetime.fromisoformat(of_first["next_now"]) == armed["due_at"]
    assert datetime.fromisoformat(of_first["next_then"]) == START + 2 * DAY
    assert (of_first["policy_then"], of_first["attempts_then"]) == ("mine@1", 3)
    assert (await smart.row(rows))["n"] == before
    other = (await smart.api.post("/v1/policies/dry-run", json={"document": MINE, "tenant_id": "other"})).json()
    assert other == {"cases": [], "next": None}


async def test_each_attempt_keeps_how_it_was_chosen_and_the_log_gives_it_back(smart: Retry) -> None:
    await smart.open(0)
    await smart.open(2)
    await smart.run_until(START + 12 * DAY)
    rows = await smart.database.read("SELECT * FROM charge_attempts ORDER BY case_id, attempt_number")
    assert len(rows) >= 2
    for row in rows:
        assert 0 < row["propensity"] <= 1
        assert 0 <= row["score"] <= 1
        assert (row["policy"], row["arm"] in ("treated", "explore")) == ("smart@1", True)
        assert row["model_edition"]
    answer = await smart.api.get("/v1/policies/log")
    cases = loads(answer.text)
    assert [len(case.sent) for case in cases] == [
        len([row for row in rows if row["case_id"] == case.case.case_id]) for case in cases
    ]
    assert [share for case in cases for share in case.propensities] == [row["propensity"] for row in rows]
    assert all(sent.decline is not None and sent.decline.network_code == "51" for case in cases for sent in case.sent)
    found = (
        await smart.api.post("/v1/policies/evaluate", json={"document": {**MINE, "kind": "smart", "days": []}})
    ).json()
    assert found["decisions"] == len(rows)
    assert found["logged_rate"] == 0


async def test_an_operators_attempt_has_no_propensity_and_is_not_learned_from(smart: Retry) -> None:
    case_id = await smart.open()
    await smart.api.post(f"/v1/cases/{case_id}/retry-now", json={"by": "ada"})
    await smart.run()
    row = await smart.row("SELECT propensity, arm FROM charge_attempts")
    assert (row["propensity"], row["arm"]) == (None, "operator")
    assert (await smart.row("SELECT count(*) AS n FROM logged_choices"))["n"] == 0


async def test_how_an_attempt_was_chosen_must_be_a_chance(smart: Retry) -> None:
    await smart.open()
    await smart.run_until(START + 6 * DAY)
    for change in ("propensity = 1.5", "propensity = 0", "score = -1", "arm = 'other'"):
        with pytest.raises(PostgresError, match="check"):
            await smart.database.transact(lambda tx, c=change: tx.execute(f"UPDATE charge_attempts SET {c}"))


@pytest.mark.parametrize("table", ["policy_documents", "policy_switches"])
async def test_what_was_saved_and_switched_cannot_be_changed(smart: Retry, table: str) -> None:
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET tenant_id = 'x'"):
        with pytest.raises(PostgresError) as caught:
            await smart.database.transact(lambda tx, s=statement: tx.execute(s))
        assert sqlstate(caught.value) == "42501"


async def test_decisions_under_documents_switches_and_shadows_can_be_made_again(smart: Retry) -> None:
    selected = {**MINE, "kind": "smart", "days": [], "attempts_max": 8, "floor": {"attempts": 4, "within_days": 14}}
    await save(smart, {**selected, "when": {"segments": ["vip"]}, "holdout": {"share": 0.5, "policy": "payday"}})
    await smart.api.put("/v1/policies/shadow", json={"policy": "uniform-8"})
    await smart.tell(smart.failed(0), smart.failed(2))
    recovery = Recovery(SMART)
    told = PayerTold("America/New_York", "US", (), segment="vip", plan_name="gold")
    for row in await smart.database.read("SELECT case_id FROM cases"):
        await smart.database.transact(lambda tx, c=row["case_id"]: recovery.on_payer_known(tx, c, told))
    await smart.run_until(START + 6 * DAY)
    await switch(smart, False)
    await smart.run_until(START + 9 * DAY)
    replaced = payment_pb2.InstrumentReplaced(origin=smart.origin(0, invoice_id="", instrument_id="pm_new"))
    replaced.instrument.CopyFrom(smart.failed(0).instrument)
    await smart.tell(replaced)
    await smart.run_until(START + 20 * DAY)
    rows = await smart.database.read("SELECT inputs, outputs, rule FROM decisions WHERE kind='plan'")
    assert {row["rule"] for row in rows} >= {"retry.policy.mine", "retry.smart_off", "retry.payer_fixed"}
    assert len(rows) > 8
    for row in rows:
        inputs, outputs = (json.loads(row[n]) if isinstance(row[n], str) else row[n] for n in ("inputs", "outputs"))
        assert inputs["case"]["segment"] == "vip"
        assert plan_document(replayed(inputs, SMART)) == outputs


async def test_a_new_card_that_is_refused_is_tried_again_though_the_old_one_was_stolen(smart: Retry) -> None:
    stolen = smart.failed(0, reason="dead_card", instrument_id="pm_old")
    stolen.decline.gateway_code, stolen.decline.network_code = "stolen_card", "43"
    await smart.tell(stolen)
    await smart.run()
    assert (await smart.row("SELECT count(*) AS n FROM timers WHERE kind='attempt' AND state='pending'"))["n"] == 0
    smart.clock.set(START + DAY)
    given = payment_pb2.InstrumentReplaced(origin=smart.origin(0, invoice_id="", instrument_id="pm_a"))
    given.instrument.CopyFrom(smart.failed(0).instrument)
    given.instrument.account_reference = "fp_new"
    await smart.tell(given)
    await smart.run()
    first = await smart.row("SELECT initiator, sent_at, state, arm FROM charge_attempts")
    assert (first["initiator"], first["sent_at"], first["state"]) == ("payer", START + DAY, "declined")
    case = await smart.row("SELECT fixed_at, payer_fixed, plan->'attempts'->0->>'at' AS at FROM cases")
    assert (case["fixed_at"], case["payer_fixed"]) == (None, False)
    assert datetime.fromisoformat(case["at"]) > START + DAY


def test_the_issuers_country_is_asked_when_a_refusal_is_read() -> None:
    # In the EEA, Mastercard's 65 asks for the payer himself; elsewhere a limit is exceeded.
    refused = Decline("", "65")
    german, american = (Method("m", "card", "mastercard", "debit", country) for country in ("DE", "US"))
    reasons = [classified(refused, "stripe", method, START).reason for method in (german, american)]
    assert reasons == ["auth_required", "limit_velocity"]


async def test_two_writers_of_one_version_cannot_both_win(smart: Retry) -> None:
    answers = await asyncio.gather(*(save(smart, {**MINE, "days": [day]}) for day in range(1, 7)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]


async def test_a_saved_document_that_breaks_a_rule_of_today_is_left_aside_and_the_why_says_so(smart: Retry) -> None:
    old = json.dumps({**MINE, "name": "old", "attempts_max": 99})
    await smart.database.transact(
        lambda tx: tx.execute(
            """INSERT INTO policy_documents VALUES ('default', 'old', 1, CAST(:document AS jsonb), 'ada', :at, :at)""",
            document=old,
            at=START,
        )
    )
    case_id = await smart.open()
    assert await policy_of_case(smart) == "smart@1"
    (plan,) = await plans_of(smart, case_id)
    assert any("'old' breaks a rule of today" in note for note in plan["outputs"]["explanation"]["notes"])
