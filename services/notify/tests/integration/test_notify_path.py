"""From a plan to a message in a real mailbox, and every reason for which none arrives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dunwell.notice.v1 import notice_pb2
from dunwell.payment.v1 import payment_pb2
from dunwell.recovery.v1 import recovery_pb2
from dunwell_kit.clock import ManualClock
from dunwell_sandbox.main import make_sandbox
from dunwell_sandbox.settings import SandboxSettings

pytestmark = pytest.mark.integration
START = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WAIT = recovery_pb2.PAYER_ACTION_WAIT
Notify = Any


async def test_a_payer_who_can_fix_it_hears_at_once_and_the_message_is_told(notify: Notify) -> None:
    await notify.know()
    await notify.open()
    await notify.run()
    ((recipients, raw),) = notify.mailbox.messages
    assert recipients == ["ada@payer.example"]
    assert "https://pay.acme.example/in_1" in raw
    assert await notify.notices() == [("rec_1", "failed", "sent")]
    (sent,) = await notify.emitted(notice_pb2.NoticeSent)
    assert (sent.notice.step, sent.language, sent.template_id) == ("failed", "en", "failed/en")
    assert (sent.reason.rule, len(sent.content_sha256)) == ("notify.failed", 64)
    rows = await notify.database.read("SELECT message_id FROM notices")
    assert f"Message-ID: {rows[0]['message_id']}" in raw


async def test_no_event_holds_anything_personal(notify: Notify) -> None:
    await notify.know()
    await notify.open()
    await notify.run_until(START + 30 * DAY)
    rows = await notify.database.read("SELECT headers::text AS headers, payload FROM outbox")
    assert rows
    assert not any(b"Ada" in row["payload"] or b"payer.example" in row["payload"] for row in rows)
    assert not any("payer.example" in row["headers"] for row in rows)


async def test_time_heals_first_so_nothing_is_said_for_three_days(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    await notify.run_until(START + 3 * DAY - HOUR)
    assert notify.mailbox.messages == []
    await notify.run_until(START + 3 * DAY)
    assert len(notify.mailbox.messages) == 1


async def test_a_whole_sequence_ends_with_the_final_notice(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT, deadline_days=28)
    planned = await notify.emitted(notice_pb2.NoticePlanned)
    assert [event.notice.step for event in planned] == ["failed", "reminder-1", "reminder-2", "final"]
    await notify.run_until(START + 40 * DAY)
    assert [step for _, step, state in await notify.notices() if state == "sent"] == [
        "failed", "reminder-1", "reminder-2", "final",
    ]  # fmt: skip
    sent = await notify.emitted(notice_pb2.NoticeSent)
    assert [event.sent_at.ToDatetime(UTC) - START for event in sent] == [3 * DAY, 7 * DAY, 12 * DAY, 25 * DAY]


async def test_a_new_plan_moves_what_was_not_said_and_repeats_nothing(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    await notify.tell(notify.planned("rec_1", recovery_pb2.PAYER_ACTION_UPDATE_METHOD))
    await notify.run()
    assert await notify.notices() == [("rec_1", "failed", "sent")]
    await notify.tell(notify.planned("rec_1", recovery_pb2.PAYER_ACTION_UPDATE_METHOD))
    await notify.run_until(START + 40 * DAY)
    assert [step for _, step, _ in await notify.notices()] == ["failed", "reminder-1", "reminder-2", "final"]


async def test_a_payer_who_paid_meanwhile_is_not_written_to_and_the_payment_is_the_evidence(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    (paid,) = await notify.tell(payment_pb2.InvoicePaid(origin=notify.origin()))
    await notify.run_until(START + 3 * DAY)
    assert notify.mailbox.messages == []
    assert await notify.suppressed() == [("failed", "notify.settled", [paid])]


async def test_a_payment_between_the_decision_and_the_hand_over_still_stops_the_message(notify: Notify) -> None:
    await notify.know()
    await notify.open()
    await notify.timers.turn()
    assert await notify.notices() == [("rec_1", "failed", "queued")]
    (paid,) = await notify.tell(payment_pb2.PaymentSucceeded(origin=notify.origin()))
    await notify.run()
    assert notify.mailbox.messages == []
    assert await notify.notices() == [("rec_1", "failed", "suppressed")]
    assert await notify.suppressed() == [("failed", "notify.settled_before_dispatch", [paid])]


async def queue_a_receipt(notify: Notify, gateway: Any, email: str) -> None:
    """Write to a payer whom only the gateway knows, let him pay, and leave his receipt waiting to be handed over."""
    gateway.customers["cus_1"] = {"email": email}
    await notify.open()
    await notify.run()
    await notify.tell(recovery_pb2.RecoverySucceeded(case=notify.case()))
    await notify.timers.turn()
    assert ("rec_1", "receipt", "queued") in await notify.notices()


async def test_a_payer_who_changed_between_the_decision_and_the_hand_over_is_asked_for_anew(
    notify: Notify, gateway: Any
) -> None:
    await queue_a_receipt(notify, gateway, "old@payer.example")
    gateway.customers["cus_1"] = {"email": "new@payer.example"}
    await notify.tell(payment_pb2.PayerChanged(origin=notify.origin()))
    await notify.run()
    assert ("rec_1", "receipt", "sent") in await notify.notices()
    assert [recipients for recipients, _ in notify.mailbox.messages] == [["old@payer.example"], ["new@payer.example"]]


async def test_a_payer_who_opted_out_between_the_decision_and_the_hand_over_is_not_written_to(
    notify: Notify, gateway: Any
) -> None:
    await queue_a_receipt(notify, gateway, "ada@payer.example")
    gateway.customers["cus_1"] = {"email": "ada@payer.example", "metadata": {"opted_out": "true"}}
    await notify.tell(payment_pb2.PayerChanged(origin=notify.origin()))
    await notify.run()
    assert len(notify.mailbox.messages) == 1
    assert ("receipt", "notify.opted_out", []) in await notify.suppressed()


async def test_a_queued_message_to_a_payer_who_is_gone_says_that_there_is_no_address(
    notify: Notify, gateway: Any
) -> None:
    gateway.customers["cus_1"] = {"email": "old@payer.example"}
    await notify.open()
    await notify.effects.turn()
    await notify.timers.turn()
    await notify.effects.turn()
    await notify.timers.turn()
    assert await notify.notices() == [("rec_1", "failed", "queued")]
    gateway.customers["cus_1"] = None
    await notify.tell(payment_pb2.PayerDeleted(origin=notify.origin()))
    await notify.run()
    assert notify.mailbox.messages == []
    assert [(step, rule) for step, rule, _ in await notify.suppressed()] == [("failed", "notify.no_address")]


async def test_a_queued_message_waits_for_a_gateway_that_does_not_say_who_the_payer_is_but_not_for_ever(
    notify: Notify, gateway: Any
) -> None:
    await queue_a_receipt(notify, gateway, "ada@payer.example")
    await notify.tell(payment_pb2.PayerChanged(origin=notify.origin()))
    gateway.down = True
    await notify.run()
    assert ("rec_1", "receipt", "queued") in await notify.notices()
    await notify.run_until(START + 2 * HOUR)
    assert ("receipt", "notify.no_address", []) in await notify.suppressed()


@pytest.mark.parametrize("ended", [recovery_pb2.RecoveryExhausted, recovery_pb2.RecoveryCanceled])
async def test_the_end_of_a_case_ends_its_notices_with_the_reason(notify: Notify, ended: Any) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    (end,) = await notify.tell(ended(case=notify.case()))
    await notify.run_until(START + 40 * DAY)
    assert notify.mailbox.messages == []
    how = "exhausted" if ended is recovery_pb2.RecoveryExhausted else "canceled"
    assert await notify.suppressed() == [
        (step, f"notify.case_{how}", [end]) for step in ("failed", "reminder-1", "reminder-2", "final")
    ]


async def test_who_was_written_to_and_paid_gets_a_receipt_and_who_was_not_gets_none(notify: Notify) -> None:
    await notify.know()
    await notify.know("cus_2", "bob@payer.example")
    await notify.open()
    await notify.open("rec_2", WAIT, payer_id="cus_2")
    await notify.run()
    for number in (1, 2):
        await notify.tell(recovery_pb2.RecoverySucceeded(case=notify.case(f"rec_{number}")))
    await notify.run_until(START + DAY)
    assert [step for case, step, state in await notify.notices() if state == "sent"] == ["failed", "receipt"]
    assert [recipients for recipients, _ in notify.mailbox.messages] == [["ada@payer.example"]] * 2


async def test_a_paused_case_is_silent_and_speaks_again_when_resumed(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    await notify.tell(recovery_pb2.RecoveryPaused(case=notify.case()))
    await notify.run_until(START + 4 * DAY)
    assert notify.mailbox.messages == []
    await notify.tell(recovery_pb2.RecoveryResumed(case=notify.case()))
    await notify.run_until(START + 8 * DAY)
    assert [step for _, step, state in await notify.notices() if state == "sent"] == ["reminder-1"]


async def test_a_disputed_invoice_is_not_dunned_until_the_dispute_ends(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    (opened,) = await notify.tell(payment_pb2.DisputeOpened(origin=notify.origin(), dispute_id="dp_1"))
    await notify.run_until(START + 4 * DAY)
    assert await notify.suppressed() == [("failed", "notify.case_paused", [opened])]
    await notify.tell(payment_pb2.DisputeClosed(origin=notify.origin(), dispute_id="dp_1", won=True))
    await notify.run_until(START + 8 * DAY)
    assert len(notify.mailbox.messages) == 1


async def test_a_canceled_subscription_is_not_dunned(notify: Notify) -> None:
    await notify.know()
    await notify.open(action=WAIT)
    await notify.tell(payment_pb2.SubscriptionCanceled(origin=notify.origin(invoice_id="")))
    await notify.run_until(START + 40 * DAY)
    assert notify.mailbox.messages == []
    assert {rule for _, rule, _ in await notify.suppressed()} == {"notify.case_canceled"}


async def test_two_invoices_of_one_payer_share_one_message_even_when_they_fall_due_together(notify: Notify) -> None:
    await notify.know()
    for number in (1, 2):
        await notify.open(f"rec_{number}")
    await notify.run()
    ((_, raw),) = notify.mailbox.messages
    assert "in_1" in raw
    assert "in_2" in raw
    (sent,) = await notify.emitted(notice_pb2.NoticeSent)
    assert sorted(sent.notice.case_ids) == ["rec_1", "rec_2"]


async def test_a_step_of_another_invoice_due_within_a_day_joins_the_message(notify: Notify) -> None:
    await notify.know()
    await notify.open("rec_1", WAIT)
    notify.clock.advance(10 * HOUR)
    await notify.open("rec_2", WAIT)
    await notify.run_until(START + 6 * DAY)
    (sent,) = await notify.emitted(notice_pb2.NoticeSent)
    assert list(sent.notice.invoice_ids) == ["in_1", "in_2"]


async def test_of_two_joined_invoices_the_one_that_was_paid_is_left_out(notify: Notify) -> None:
    await notify.know()
    for number in (1, 2):
        await notify.open(f"rec_{number}")
    await notify.timers.turn()
    await notify.tell(payment_pb2.InvoicePaid(origin=notify.origin("rec_1")))
    await notify.run()
    ((_, raw),) = notify.mailbox.messages
    assert "in_2" in raw
    assert "in_1" not in raw


async def test_other_payers_get_messages_of_their_own(notify: Notify) -> None:
    await notify.know()
    await notify.know("cus_2", "bob@payer.example")
    await notify.open()
    await notify.open("rec_2", payer_id="cus_2")
    await notify.run()
    assert sorted(recipients[0] for recipients, _ in notify.mailbox.messages) == [
        "ada@payer.example",
        "bob@payer.example",
    ]


async def test_a_payer_gets_at_most_three_messages_in_seven_days(notify: Notify) -> None:
    await notify.know()
    for number in range(5):
        await notify.open(f"rec_{number}")
        await notify.run()
        notify.clock.advance(25 * HOUR)
    assert len(notify.mailbox.messages) == 3
    await notify.run_until(START + 8 * DAY)
    sent = [event.sent_at.ToDatetime(UTC) for event in await notify.emitted(notice_pb2.NoticeSent)]
    for at in sent:
        assert sum(1 for other in sent if at - 7 * DAY < other <= at) <= 3


async def test_a_message_due_at_night_waits_for_the_payers_morning(notify: Notify) -> None:
    await notify.know(zone="America/New_York")
    await notify.open()
    await notify.run_until(START + 3 * HOUR)
    assert notify.mailbox.messages == []
    await notify.run_until(START + 5 * HOUR)
    (sent,) = await notify.emitted(notice_pb2.NoticeSent)
    assert sent.sent_at.ToDatetime(UTC) == START.replace(hour=14)


async def test_an_unknown_payer_is_asked_of_the_gateway_once(notify: Notify, gateway: Any) -> None:
    gateway.customers["cus_1"] = {
        "id": "cus_1",
        "email": "eve@payer.example",
        "name": "Eve",
        "preferred_locales": ["de"],
    }
    await notify.open()
    await notify.run_until(START + 5 * DAY)
    assert gateway.asked == ["cus_1"]
    assert [recipients for recipients, _ in notify.mailbox.messages] == [["eve@payer.example"]] * 2
    assert {event.language for event in await notify.emitted(notice_pb2.NoticeSent)} == {"de"}


async def test_a_payer_nobody_knows_is_not_written_to_and_that_is_said(notify: Notify) -> None:
    await notify.open()
    await notify.run()
    assert [(step, rule) for step, rule, _ in await notify.suppressed()] == [("failed", "notify.no_address")]


async def test_a_gateway_that_is_away_is_asked_again_and_given_up_on_in_time(notify: Notify, gateway: Any) -> None:
    gateway.down = True
    await notify.open()
    await notify.run_until(START + 2 * HOUR)
    assert 2 <= len(gateway.asked) <= 8
    assert [(step, rule) for step, rule, _ in await notify.suppressed()] == [("failed", "notify.no_address")]
    rows = await notify.database.read("SELECT count(*) AS n FROM effects WHERE state <> 'done'")
    assert rows[0]["n"] == 0


async def test_a_gateway_that_comes_back_in_time_is_heard(notify: Notify, gateway: Any) -> None:
    gateway.down = True
    gateway.customers["cus_1"] = {"id": "cus_1", "email": "eve@payer.example"}
    await notify.open()
    await notify.run_until(START + timedelta(minutes=5))
    gateway.down = False
    await notify.run_until(START + HOUR)
    assert [recipients for recipients, _ in notify.mailbox.messages] == [["eve@payer.example"]]


async def test_a_hostile_address_of_the_gateway_reaches_no_mail_server(notify: Notify, gateway: Any) -> None:
    gateway.customers["cus_1"] = {"id": "cus_1", "email": "a@b.example\r\nBcc: all@b.example"}
    await notify.open()
    await notify.run()
    assert notify.mailbox.messages == []
    assert [(step, rule) for step, rule, _ in await notify.suppressed()] == [("failed", "notify.no_address")]


async def test_the_contact_comes_from_the_sandbox_on_a_miss(
    tmp_path: Path, notify_over: Callable[[httpx.AsyncClient], Notify]
) -> None:
    clock = ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
    app = make_sandbox(SandboxSettings(tmp_path, invoices=3), clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        await client.post("/_sandbox/open", json={"until": clock.now().isoformat()})
        headers = {"Authorization": "Bearer sk_test_sandbox"}
        invoice = (await client.get("/v1/invoices", headers=headers)).json()["data"][0]
        customer = (await client.get(f"/v1/customers/{invoice['customer']}", headers=headers)).json()
        notify = notify_over(client)
        await notify.open(payer_id=customer["id"])
        await notify.run_until(START + DAY)
    ((recipients, _),) = notify.mailbox.messages
    assert recipients == [customer["email"]]
    rows = await notify.database.read("SELECT source, timezone FROM contacts")
    assert [dict(row) for row in rows] == [{"source": "gateway", "timezone": customer["metadata"]["timezone"]}]


async def test_what_a_platform_told_of_a_payer_is_not_overwritten_by_the_gateway(notify: Notify, gateway: Any) -> None:
    await notify.know(email=None)
    gateway.customers["cus_1"] = {"id": "cus_1", "email": "eve@payer.example"}
    await notify.open()
    await notify.run()
    assert gateway.asked == []
    assert notify.mailbox.messages == []


async def test_a_changed_payer_is_fetched_anew_and_a_deleted_one_is_forgotten(notify: Notify, gateway: Any) -> None:
    gateway.customers["cus_1"] = {"id": "cus_1", "email": "old@payer.example"}
    await notify.open()
    await notify.run()
    gateway.customers["cus_1"] = {"id": "cus_1", "email": "new@payer.example"}
    await notify.tell(payment_pb2.PayerChanged(origin=notify.origin(invoice_id="")))
    await notify.run_until(START + 5 * DAY)
    assert [recipients[0] for recipients, _ in notify.mailbox.messages] == ["old@payer.example", "new@payer.example"]
    await notify.tell(payment_pb2.PayerDeleted(origin=notify.origin(invoice_id="")))
    assert (await notify.database.read("SELECT count(*) AS n FROM contacts"))[0]["n"] == 0
