"""When a payer may be written to: sequences, quiet hours, the cap, and what stops a step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_notify.contacts import address_or_none, contact_of, zone_or_utc
from dunwell_notify.decide import may_send
from dunwell_notify.model import PAYER_FIXES, CaseView, Contact, Later, Payer, PayerAction, Send, Step, Suppress, Tone
from dunwell_notify.policy import NotifyPolicy, allowed_at, below_cap_at, sequence

POLICY = NotifyPolicy()
FAILED = datetime(2026, 3, 2, 10, tzinfo=UTC)
CONTACT = Contact("payer@example.com", "Ada", "en", "UTC", "DE")
CASE = CaseView(
    "rec_1", Payer("t", "stripe", "acct", "cus_1"), "in_1", "EUR", 2000, FAILED, "t:cus_1", "insufficient_funds"
)
DAY = timedelta(days=1)
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns", "UTC"]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "at", "allowed"),
    [
        ("Europe/Berlin", "2026-02-10 08:00", "2026-02-10 08:00"),
        ("Europe/Berlin", "2026-02-10 07:59", "2026-02-10 08:00"),
        ("Europe/Berlin", "2026-02-10 17:59", "2026-02-10 17:59"),
        ("Europe/Berlin", "2026-02-10 18:00", "2026-02-11 08:00"),
        # 2026-03-29: clocks go forward, nine o'clock is an hour earlier in UTC.
        ("Europe/Berlin", "2026-03-28 19:00", "2026-03-29 07:00"),
        ("Europe/Berlin", "2026-03-29 01:30", "2026-03-29 07:00"),
        # 2026-10-25: clocks go back.
        ("Europe/Berlin", "2026-10-24 20:00", "2026-10-25 08:00"),
        ("America/New_York", "2026-03-08 06:30", "2026-03-08 13:00"),
        ("America/New_York", "2026-03-07 23:30", "2026-03-07 23:30"),
        ("America/New_York", "2026-03-08 00:30", "2026-03-08 13:00"),
        ("America/New_York", "2026-11-01 05:30", "2026-11-01 14:00"),
    ],
)
def test_a_message_waits_for_nine_oclock_where_the_payer_lives(zone: str, at: str, allowed: str) -> None:
    assert allowed_at(utc(at), zone, POLICY) == utc(allowed)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 3 * 365 * 24 * 60), st.sampled_from(ZONES))
def test_an_allowed_instant_is_never_in_quiet_hours_and_stays_where_it_is(minutes: int, zone: str) -> None:
    at = FAILED - 365 * DAY + timedelta(minutes=minutes)
    allowed = allowed_at(at, zone, POLICY)
    assert POLICY.quiet_until_hour <= allowed.astimezone(ZoneInfo(zone)).hour < POLICY.quiet_from_hour
    assert allowed_at(allowed, zone, POLICY) == allowed
    assert timedelta(0) <= allowed - at <= timedelta(hours=15)


def test_the_fourth_message_waits_until_the_first_leaves_the_window() -> None:
    sent = [FAILED, FAILED + DAY, FAILED + 2 * DAY]
    assert below_cap_at(sent[:2], FAILED + 3 * DAY, POLICY) == FAILED + 3 * DAY
    assert below_cap_at(sent, FAILED + 3 * DAY, POLICY) == FAILED + 7 * DAY
    assert below_cap_at(sent, FAILED + 7 * DAY, POLICY) == FAILED + 7 * DAY


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=8), st.integers(0, 400))
def test_no_window_ever_holds_more_messages_than_the_cap(hours: list[int], asked: int) -> None:
    sent: list[datetime] = []
    for hour in sorted(hours):
        at = FAILED + timedelta(hours=hour)
        if below_cap_at(sent, at, POLICY) == at:
            sent.append(at)
    now = FAILED + timedelta(hours=max([*hours, asked]))
    sent.append(below_cap_at(sent, now, POLICY))
    for last in sent:
        assert sum(1 for s in sent if last - POLICY.cap_window < s <= last) <= POLICY.cap


def test_a_decline_that_time_may_heal_is_met_with_silence_first() -> None:
    steps = sequence(CASE, POLICY, FAILED)
    assert [step.step for step in steps] == [Step.FAILED, Step.REMINDER_1, Step.REMINDER_2]
    assert (steps[0].due_at, steps[0].rule) == (FAILED + 3 * DAY, "notify.silent_phase")
    assert [step.due_at - steps[0].due_at for step in steps[1:]] == [4 * DAY, 9 * DAY]


def test_retry_may_say_how_long_the_silence_lasts() -> None:
    assert sequence(replace(CASE, silent_until=FAILED + DAY), POLICY, FAILED)[0].due_at == FAILED + DAY


@pytest.mark.parametrize("action", sorted(PAYER_FIXES))
def test_a_payer_who_can_fix_it_is_told_at_once(action: PayerAction) -> None:
    first = sequence(replace(CASE, payer_action=action), POLICY, FAILED)[0]
    assert (first.step, first.due_at, first.rule) == (Step.FAILED, FAILED, "notify.payer_can_fix")


def test_the_final_notice_comes_three_days_before_the_end_and_stands_alone() -> None:
    steps = sequence(replace(CASE, deadline_at=FAILED + 16 * DAY), POLICY, FAILED)
    assert [(step.step, step.tone, step.due_at) for step in steps] == [
        (Step.FAILED, Tone.FRIENDLY, FAILED + 3 * DAY),
        (Step.REMINDER_1, Tone.FRIENDLY, FAILED + 7 * DAY),
        (Step.FINAL, Tone.FINAL, FAILED + 13 * DAY),
    ]


def test_a_final_notice_whose_day_has_passed_is_not_planned() -> None:
    steps = sequence(replace(CASE, deadline_at=FAILED + 10 * DAY), POLICY, FAILED + 8 * DAY)
    assert Step.FINAL not in [step.step for step in steps]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PayerAction), st.integers(0, 40), st.integers(1, 60))
def test_a_sequence_is_in_time_order_with_each_step_once_and_before_the_end(
    action: PayerAction, late: int, deadline: int
) -> None:
    case = replace(CASE, payer_action=action, deadline_at=FAILED + deadline * DAY)
    now = FAILED + late * DAY
    steps = sequence(case, POLICY, now)
    dues = [step.due_at for step in steps]
    assert dues == sorted(set(dues))
    assert len({step.step for step in steps}) == len(steps)
    assert all(now <= due for due in dues)
    assert all(case.deadline_at and due < case.deadline_at for due in dues)
    assert all(step.rule and step.why for step in steps)


def test_a_due_step_of_an_open_case_is_sent() -> None:
    assert may_send(CASE, Step.FAILED, CONTACT, [], "", POLICY, FAILED) == Send()


def test_a_settled_invoice_is_never_dunned_and_the_settling_event_is_named() -> None:
    verdict = may_send(CASE, Step.REMINDER_1, CONTACT, [], "evt_paid", POLICY, FAILED)
    assert isinstance(verdict, Suppress)
    assert (verdict.rule, verdict.evidence) == ("notify.settled", "evt_paid")


@pytest.mark.parametrize(
    ("state", "closed_by", "rule"),
    [("paused", "", "notify.case_paused"), ("closed", "canceled", "notify.case_canceled"), ("closed", "", "notify.case_closed")],
)  # fmt: skip
def test_a_case_that_is_not_open_is_silent(state: str, closed_by: str, rule: str) -> None:
    case = replace(CASE, state=state, closed_by=closed_by, evidence="evt_end")
    verdict = may_send(case, Step.FAILED, CONTACT, [], "", POLICY, FAILED)
    assert isinstance(verdict, Suppress)
    assert (verdict.rule, verdict.evidence) == (rule, "evt_end")


@pytest.mark.parametrize("contact", [None, replace(CONTACT, email=None), replace(CONTACT, email="")])
def test_nobody_is_written_to_without_an_address(contact: Contact | None) -> None:
    verdict = may_send(CASE, Step.FAILED, contact, [], "", POLICY, FAILED)
    assert isinstance(verdict, Suppress)
    assert verdict.rule == "notify.no_address"


def test_a_payer_who_opted_out_hears_only_the_final_notice() -> None:
    out = replace(CONTACT, opted_out=True)
    verdict = may_send(CASE, Step.REMINDER_2, out, [], "", POLICY, FAILED)
    assert isinstance(verdict, Suppress)
    assert verdict.rule == "notify.opted_out"
    assert may_send(CASE, Step.FINAL, out, [], "", POLICY, FAILED) == Send()


def test_a_step_due_at_night_moves_to_the_morning() -> None:
    night = FAILED.replace(hour=23)
    verdict = may_send(CASE, Step.FAILED, CONTACT, [], "", POLICY, night)
    assert verdict == Later(night.replace(hour=9) + DAY, "notify.quiet_hours")


def test_a_step_past_the_cap_moves_to_the_first_allowed_hour() -> None:
    sent = [FAILED - timedelta(hours=13), FAILED - DAY, FAILED - 2 * DAY]
    verdict = may_send(CASE, Step.FAILED, CONTACT, sent, "", POLICY, FAILED)
    assert verdict == Later(FAILED + 5 * DAY, "notify.cap")


def test_a_step_that_the_cap_moves_past_the_end_is_not_sent() -> None:
    case = replace(CASE, deadline_at=FAILED + 2 * DAY)
    verdict = may_send(case, Step.FINAL, CONTACT, [FAILED - timedelta(hours=n) for n in (1, 2, 3)], "", POLICY, FAILED)
    assert isinstance(verdict, Suppress)
    assert verdict.rule == "notify.cap"


def test_a_receipt_goes_out_although_the_case_has_ended_and_the_cap_is_full() -> None:
    closed = replace(CASE, state="closed", closed_by="recovered")
    assert may_send(closed, Step.RECEIPT, CONTACT, [FAILED] * 5, "evt_paid", POLICY, FAILED) == Send()


def test_a_contact_is_read_from_the_gateways_customer() -> None:
    customer = {
        "email": "a@example.com", "name": "Ada", "preferred_locales": ["de-AT"], "address": {"country": "AT"},
        "metadata": {"timezone": "Europe/Vienna", "opted_out": "true"},
    }  # fmt: skip
    assert contact_of(customer) == Contact("a@example.com", "Ada", "de", "Europe/Vienna", "AT", opted_out=True)
    assert contact_of({"id": "cus_1", "deleted": True}) == Contact(None, "", "en", "UTC", "")


@pytest.mark.parametrize(
    "address",
    ["", "nobody", "@example.com", "a@", "a@b\r\nBcc: all@example.com", "a b@example.com", "a@b@c", "<a@b>", "a@b,c@d", 7,
     "x" * 250 + "@e.com"],
)  # fmt: skip
def test_what_cannot_be_an_address_is_none(address: object) -> None:
    assert address_or_none(address) is None


@pytest.mark.parametrize("name", [None, "", "Mars/Base", "../etc/passwd", 5])
def test_an_unknown_zone_reads_as_utc(name: object) -> None:
    assert zone_or_utc(name) == "UTC"
