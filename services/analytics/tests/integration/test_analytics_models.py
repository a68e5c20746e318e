"""The fact log and the read models that can be thrown away, on real Postgres."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg import PostgresError
from google.protobuf.message import Message

from dunwell.common.v1 import common_pb2
from dunwell.notice.v1 import notice_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_contracts.catalogue import by_type
from dunwell_contracts.values import stamp
from dunwell_kit.database import sqlstate

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
Analytics = Any


def case(analytics: Analytics, number: int) -> recovery_pb2.CaseRef:
    return recovery_pb2.CaseRef(
        case_id=f"rec_{analytics.tenant}_{number}", tenant_id=analytics.tenant, gateway="stripe", account="acct",
        payer_id=f"cus_{number}", invoice_id=f"in_{number}",
    )  # fmt: skip


def opened(
    ref: recovery_pb2.CaseRef, at: datetime, *, minor: int = 2000, reason: str = "insufficient_funds", arm: str = "treated",
    currency: str = "EUR",
) -> Message:  # fmt: skip
    return recovery_pb2.RecoveryOpened(
        case=ref,
        amount=common_pb2.Money(currency_code=currency, minor_units=minor),
        decline=payment_pb2.Decline(reason=reason),
        assignment=recovery_pb2.Assignment(experiment="exp", arm=arm),
        failed_at=stamp(at),
        reason=common_pb2.Reason(rule="retry.payment_failed", text="A payment failed."),
    )


async def tell_six(analytics: Analytics) -> None:
    """Six cases: recovered by retry, by the payer and too late, exhausted, canceled, open in another currency."""
    refs = [case(analytics, number) for number in range(6)]
    for number, ref in enumerate(refs):
        at = START + number * DAY
        reason = "expired" if number == 1 else "insufficient_funds"
        currency = "USD" if number == 5 else "EUR"
        await analytics.hear(opened(ref, at, minor=1000 + number, reason=reason, currency=currency), at)
        for _ in range(2):
            await analytics.hear(recovery_pb2.ChargeRequested(case=ref), at + DAY)
    by = recovery_pb2.RecoveredBy
    ends: list[tuple[int, float, Message]] = [
        (0, 3, recovery_pb2.RecoverySucceeded(case=refs[0], by=by.RECOVERED_BY_RETRY)),
        (1, 4, recovery_pb2.RecoverySucceeded(case=refs[1], by=by.RECOVERED_BY_PAYER)),
        (2, 40, recovery_pb2.RecoverySucceeded(case=refs[2], by=by.RECOVERED_BY_RETRY)),
        (3, 28, recovery_pb2.RecoveryExhausted(case=refs[3])),
        (4, 2, recovery_pb2.RecoveryCanceled(case=refs[4])),
    ]
    for number, days, message in ends:
        at = START + number * DAY + timedelta(days=days)
        if isinstance(message, recovery_pb2.RecoverySucceeded):
            message.recovered_at.CopyFrom(stamp(at))
        await analytics.hear(message, at)
    both = notice_pb2.NoticeRef(case_ids=[refs[0].case_id, refs[1].case_id], step="failed", channel="email")
    await analytics.hear(notice_pb2.NoticeSent(notice=both), START + 2 * DAY)


@pytest.mark.parametrize("name", sorted(by_type()))
async def test_every_type_of_the_catalogue_is_logged_once(analytics: Analytics, name: str) -> None:
    message = by_type()[name].message()
    event_id = await analytics.hear(message, START)
    await analytics.hear(message, START, event_id)
    (fact,) = await analytics.database.read(
        "SELECT type, payload FROM facts WHERE event_id = CAST(:id AS uuid)", id=event_id
    )
    assert (fact["type"], bytes(fact["payload"])) == (name, message.SerializeToString(deterministic=True))


@pytest.mark.parametrize("statement", ["UPDATE facts SET type='x'", "DELETE FROM facts", "TRUNCATE facts"])
async def test_the_log_cannot_be_changed_by_the_service(analytics: Analytics, statement: str) -> None:
    with pytest.raises(PostgresError) as refused:
        await analytics.database.transact(lambda tx: tx.execute(statement))
    assert sqlstate(refused.value) == "42501"


async def test_figures_are_counted_by_currency_with_their_denominators(analytics: Analytics) -> None:
    await tell_six(analytics)
    await analytics.recompute()
    found = await analytics.get("/v1/kpis", first="2026-03-01", last="2026-05-30", as_of="2026-06-01")
    rows = {row["currency"]: row for row in found["rows"]}
    assert set(rows) == {"EUR", "USD"}
    euro = rows["EUR"]
    assert euro["recovery_rate_count"] == {"value": 0.4, "numerator": 2, "denominator": 5}
    assert euro["recovered_value"]["value"] == 1000 + 1001
    assert euro["recovery_rate_value"]["denominator"] == sum(range(1000, 1005))
    assert euro["attempts_per_recovery"] == {"value": 5.0, "numerator": 10, "denominator": 2}
    assert euro["notices_per_recovery"]["numerator"] == 2
    assert (euro["exhausted_rate"]["numerator"], euro["canceled_rate"]["numerator"]) == (1, 1)
    assert (euro["share_by_retry"]["value"], euro["share_by_payer"]["value"]) == (0.5, 0.5)
    assert rows["USD"]["attempts_per_recovery"]["value"] is None
    assert all(definition["caveat"] for definition in found["definitions"].values())


async def test_figures_can_be_split_by_reason_gateway_arm_and_day(analytics: Analytics) -> None:
    await tell_six(analytics)
    await analytics.recompute()
    found = await analytics.get("/v1/kpis", by=["reason", "gateway"], first="2026-03-01", as_of="2026-06-01")
    split = {(row["currency"], row["decline_reason"]): row["opened_cases"]["value"] for row in found["rows"]}
    assert split == {("EUR", "expired"): 1, ("EUR", "insufficient_funds"): 4, ("USD", "insufficient_funds"): 1}
    by_day = await analytics.get("/v1/kpis", by="day", first="2026-03-03", last="2026-03-04", as_of="2026-06-01")
    assert [row["opened_on"] for row in by_day["rows"]] == ["2026-03-03", "2026-03-04"]


async def test_a_case_too_young_to_judge_is_in_no_rate(analytics: Analytics) -> None:
    await tell_six(analytics)
    await analytics.recompute()
    found = await analytics.get("/v1/kpis", first="2026-03-01", as_of="2026-04-03")
    euro = next(row for row in found["rows"] if row["currency"] == "EUR")
    assert euro["recovery_rate_count"]["denominator"] == 3
    assert euro["opened_cases"]["value"] == 5


async def test_what_is_told_while_its_case_is_recomputed_is_not_forgotten(analytics: Analytics) -> None:
    ref, written, may_commit = case(analytics, 1), asyncio.Event(), asyncio.Event()
    await analytics.hear(opened(ref, START), START)
    won = recovery_pb2.RecoverySucceeded(
        case=ref, by=recovery_pb2.RecoveredBy.RECOVERED_BY_RETRY, recovered_at=stamp(START + DAY)
    )
    # The case is marked as stale already, and is recomputed before the news is committed.
    telling = asyncio.ensure_future(analytics.hear(won, START + DAY, may_commit=may_commit, written=written))
    await written.wait()
    await analytics.recompute(turns=1)
    may_commit.set()
    await telling
    await analytics.recompute()
    assert [row["state"] for row in await analytics.rows("cases")] == ["recovered"]
    assert [row["recovered"] for row in await analytics.rows("cohort_days")] == [1]


async def test_thrown_away_read_models_come_back_equal(analytics: Analytics) -> None:
    await tell_six(analytics)
    await analytics.recompute()
    before = {table: await analytics.rows(table) for table in ("cases", "cohort_days")}
    assert len(before["cases"]) == 6
    for table in before:
        await analytics.database.transact(lambda tx, t=table: tx.execute(f"DELETE FROM {t}"))
    answer = await analytics.client.post("/v1/rebuild")
    assert (answer.status_code, answer.json()["cases"] >= 6) == (202, True)
    await analytics.recompute()
    assert {table: await analytics.rows(table) for table in before} == before


async def test_figures_can_be_asked_for_as_of_the_first_day_there_is(analytics: Analytics) -> None:
    assert (await analytics.get("/v1/kpis", as_of="0001-01-01"))["rows"] == []


async def test_facts_heard_in_the_wrong_order_give_the_same_rows(analytics: Analytics) -> None:
    ref = case(analytics, 1)
    won = recovery_pb2.RecoverySucceeded(
        case=ref, by=recovery_pb2.RECOVERED_BY_RETRY, recovered_at=stamp(START + 3 * DAY)
    )
    await analytics.hear(won, START + 3 * DAY)
    await analytics.recompute()
    assert await analytics.rows("cases") == []
    await analytics.hear(recovery_pb2.ChargeRequested(case=ref), START + 2 * DAY)
    await analytics.hear(opened(ref, START), START)
    await analytics.recompute()
    (row,) = await analytics.rows("cases")
    assert (row["state"], row["attempts"], row["recovered_in_window"]) == ("recovered", 1, True)
    assert await analytics.get("/v1/case-counts") == {"recovered": 1}


async def test_a_timeline_tells_a_case_in_order_with_what_gateways_told_of_its_invoice(analytics: Analytics) -> None:
    ref = case(analytics, 1)
    origin = payment_pb2.Origin(tenant_id=analytics.tenant, invoice_id="in_1", payer_id="cus_1")
    failed = payment_pb2.PaymentFailed(
        origin=origin,
        amount=common_pb2.Money(currency_code="EUR", minor_units=2000),
        decline=payment_pb2.Decline(reason="expired", gateway_code="expired_card"),
    )
    cause = await analytics.hear(failed, START)
    await analytics.hear(opened(ref, START), START + timedelta(seconds=1))
    other = payment_pb2.PaymentFailed(origin=payment_pb2.Origin(tenant_id=analytics.tenant, invoice_id="in_2"))
    await analytics.hear(other, START)
    answer = await analytics.client.get(f"/v1/cases/{ref.case_id}/timeline")
    lines = answer.json()
    assert [line["type"] for line in lines] == ["dunwell.payment.failed.v1", "dunwell.recovery.opened.v1"]
    assert lines[0]["event_id"] == cause
    assert lines[0]["what"] == "PaymentFailed · 20.00 EUR · declined: expired (expired_card)"
    assert lines[1]["reason"]["rule"] == "retry.payment_failed"


async def test_an_experiment_compares_payers_whose_cases_have_ended(analytics: Analytics) -> None:
    for number in range(24):
        ref = case(analytics, number)
        arm = "holdout" if number % 2 else "treated"
        await analytics.hear(opened(ref, START, arm=arm), START)
        end: Message = recovery_pb2.RecoveryExhausted(case=ref)
        if arm == "treated":
            end = recovery_pb2.RecoverySucceeded(
                case=ref, by=recovery_pb2.RECOVERED_BY_RETRY, recovered_at=stamp(START + DAY)
            )
        if number < 22:
            await analytics.hear(end, START + DAY)
    await analytics.recompute()
    found = await analytics.get("/v1/experiments/exp")
    assert (found["treated"], found["holdout"]) == (11, 11)
    assert (found["treated_rate"], found["holdout_rate"], found["answer"]) == (1.0, 0.0, "better")
    assert (await analytics.get("/v1/experiments/none"))["answer"] == "collecting"


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/kpis?by=payer_id", 422, "invalid-input"),
        ("/v1/kpis?by=gateway;drop", 422, "invalid-input"),
        ("/v1/kpis?first=someday", 422, "invalid-input"),
        ("/v1/kpis?as_of=2026-02-30", 422, "invalid-input"),
        (f"/v1/kpis?tenant={'t' * 65}", 422, "invalid-input"),
        ("/v1/kpis?tenant=%00", 422, "invalid-input"),
        ("/v1/cases/rec_none/timeline", 404, "not-found"),
        ("/v1/cases/%00/timeline", 422, "invalid-input"),
        ("/v1/experiments/%00", 422, "invalid-input"),
    ],
)
async def test_a_bad_question_is_a_problem_with_a_stable_type(
    analytics: Analytics, path: str, status: int, kind: str
) -> None:
    answer = await analytics.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"https://dunwell.dev/problems/{kind}"
