"""What a mail server may do to a message, and what the API takes and shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dunwell.notice.v1 import notice_pb2
from dunwell_kit.app import make_app
from dunwell_kit.failpoints import arm
from dunwell_notify.api import routes

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Notify = Any


async def test_a_refused_recipient_is_a_failed_notice_and_is_not_tried_again(notify: Notify) -> None:
    notify.mailbox.mode = "refuse"
    await notify.know()
    await notify.open()
    await notify.run()
    notify.mailbox.mode = "accept"
    await notify.run_until(START + DAY)
    assert notify.mailbox.messages == []
    assert await notify.notices() == [("rec_1", "failed", "failed")]
    (told,) = await notify.emitted(notice_pb2.NoticeFailed)
    assert (told.outcome_unknown, told.reason.rule) == (False, "notify.failed")


async def test_an_address_the_server_cannot_be_told_is_a_failed_notice(notify: Notify) -> None:
    await notify.know(email="jürgen@payer.example")
    await notify.open()
    await notify.run()
    assert await notify.notices() == [("rec_1", "failed", "failed")]
    assert (await notify.database.read("SELECT count(*) AS n FROM effects WHERE state <> 'done'"))[0]["n"] == 0


async def test_a_server_that_is_busy_gets_the_message_later(notify: Notify) -> None:
    notify.mailbox.mode = "later"
    await notify.know()
    await notify.open()
    await notify.run()
    assert await notify.notices() == [("rec_1", "failed", "queued")]
    notify.mailbox.mode = "accept"
    await notify.run_until(START + HOUR)
    assert len(notify.mailbox.messages) == 1
    assert await notify.notices() == [("rec_1", "failed", "sent")]


async def test_a_server_that_stays_away_ends_as_a_failed_notice(notify: Notify) -> None:
    notify.mailbox.mode = "later"
    await notify.know()
    await notify.open()
    await notify.run_until(START + 3 * HOUR)
    assert await notify.notices() == [("rec_1", "failed", "failed")]


async def test_a_connection_lost_after_the_message_leaves_its_outcome_unknown_for_good(notify: Notify) -> None:
    notify.mailbox.mode = "die"
    await notify.know()
    await notify.open()
    await notify.run()
    notify.mailbox.mode = "accept"
    await notify.run_until(START + DAY)
    assert len(notify.mailbox.messages) == 1
    assert await notify.notices() == [("rec_1", "failed", "unknown")]
    (told,) = await notify.emitted(notice_pb2.NoticeFailed)
    assert told.outcome_unknown


@pytest.mark.parametrize(("point", "taken"), [("notify.before_send", 0), ("notify.after_send", 1)])
async def test_a_crash_around_the_hand_over_never_sends_twice(notify: Notify, point: str, taken: int) -> None:
    await notify.know()
    await notify.open()
    arm(f"{point}=raise")
    await notify.timers.turn()
    await notify.effects.turn()
    arm("")
    await notify.database.transact(lambda tx: tx.execute("UPDATE effects SET lease_until = now() - interval '1 s'"))
    await notify.run()
    assert len(notify.mailbox.messages) == taken
    assert await notify.notices() == [("rec_1", "failed", "unknown")]


async def test_a_step_is_said_at_most_once_however_often_its_timer_fires(notify: Notify) -> None:
    await notify.know()
    await notify.open()
    for _ in range(3):
        await notify.database.transact(
            lambda tx: tx.execute("UPDATE timers SET state='pending', due_at=:at WHERE step='failed'", at=START)
        )
        await notify.run()
    assert len(notify.mailbox.messages) == 1
    with pytest.raises(Exception, match="notice_steps"):
        await notify.database.transact(
            lambda tx: tx.execute("INSERT INTO notice_steps SELECT case_id, step, channel, notice_id FROM notice_steps")
        )


async def test_the_api_keeps_contacts_and_shows_notices_without_an_address(notify: Notify, serving: Any) -> None:
    app = make_app("notify", notify.database, (routes(notify.database),), {}, list)
    contact = {"gateway": "stripe", "account": "acct", "payer_id": "cus_1", "email": "ada@payer.example", "name": "Ada",
               "language": "de-DE", "timezone": "Europe/Berlin"}  # fmt: skip
    async with serving(app) as client:
        assert (await client.put("/v1/contacts", json=contact)).status_code == 204
        await notify.open()
        await notify.run()
        shown = (await client.get("/v1/notices", params={"case_id": "rec_1"})).json()
        assert [(n["step"], n["state"], n["language"]) for n in shown] == [("failed", "sent", "de")]
        assert "payer.example" not in str(shown)
        assert (await client.get("/v1/notices", params={"tenant": "other"})).json() == []
        assert (await client.get("/v1/notices/counts")).json() == {"sent": 1}


GOOD = {"gateway": "stripe", "account": "acct", "payer_id": "cus_1", "email": "ada@payer.example"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {**GOOD, "email": "not an address"},
        {**GOOD, "email": "a@b.example\r\nBcc: c@d.example"},
        {**GOOD, "timezone": "Mars/Base"},
        {**GOOD, "timezone": "../../etc/passwd"},
        {**GOOD, "payer_id": "cus\x00"},
        {**GOOD, "name": "x" * 201},
        {**GOOD, "country": "Germany"},
        {**GOOD, "opted_out": "perhaps"},
        {**GOOD, "admin": True},
    ],
)
async def test_a_bad_contact_is_a_problem_and_nothing_is_written(notify: Notify, serving: Any, body: Any) -> None:
    app = make_app("notify", notify.database, (routes(notify.database),), {}, list)
    async with serving(app) as client:
        answer = await client.put("/v1/contacts", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["type"] == "https://dunwell.dev/problems/invalid-input"
    assert (await notify.database.read("SELECT count(*) AS n FROM contacts"))[0]["n"] == 0


@pytest.mark.parametrize("path", ["/v1/notices?limit=0", "/v1/notices?tenant=%00", "/v1/notices?case_id=%00"])
async def test_a_bad_question_is_a_problem(notify: Notify, serving: Any, path: str) -> None:
    app = make_app("notify", notify.database, (routes(notify.database),), {}, list)
    async with serving(app) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["type"]) == (422, "https://dunwell.dev/problems/invalid-input")
