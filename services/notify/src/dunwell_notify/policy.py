"""A tenant's settings of notices, and the arithmetic of sequences and quiet hours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from dunwell_notify.model import PAYER_FIXES, CaseView, PlannedStep, Step, Tone


@dataclass(frozen=True, slots=True)
class NotifyPolicy:
    """When and how often a payer may be written to.

    Args:
        quiet_from_hour, quiet_until_hour: Messages go out from `quiet_until_hour` (inclusive) to `quiet_from_hour`
            (exclusive) in the payer's zone.
        cap, cap_window: At most so many messages to one payer in any such window.
        silent_days: Silence after a decline that time may heal, unless retry says otherwise.
        reminder_days: Days after the first notice at which reminders follow.
        final_days_before: Days before the deadline at which the final notice goes out.
        consolidate_within: Steps of the payer's other invoices due so soon join the message.
    """

    quiet_until_hour: int = 9
    quiet_from_hour: int = 19
    cap: int = 3
    cap_window: timedelta = timedelta(days=7)
    silent_days: int = 3
    reminder_days: tuple[int, ...] = (4, 9)
    final_days_before: int = 3
    consolidate_within: timedelta = timedelta(hours=24)


def sequence(case: CaseView, policy: NotifyPolicy, now: datetime) -> list[PlannedStep]:
    """Plan the notices of a case around its attempts; empty when there is no time left for any.

    The first notice waits while time may heal the decline, and goes out at once when only the payer can.
    """
    if case.payer_action in PAYER_FIXES:
        first, rule, why = now, "notify.payer_can_fix", "Only the payer can fix this, so silence would cost days."
    else:
        silent = case.silent_until or case.failed_at + timedelta(days=policy.silent_days)
        first, rule = max(now, silent), "notify.silent_phase"
        why = "The decline may heal by itself, so the payer is left in peace first."
    steps = [PlannedStep(Step.FAILED, Tone.FRIENDLY, first, rule, why)]
    for step, days in zip((Step.REMINDER_1, Step.REMINDER_2), policy.reminder_days, strict=False):
        tone = Tone.FRIENDLY if step is Step.REMINDER_1 else Tone.FIRM
        at = first + timedelta(days=days)
        steps.append(
            PlannedStep(step, tone, at, "notify.reminder", f"Still unpaid {days} days after the first notice.")
        )
    if case.deadline_at is None:
        return steps
    final_at = case.deadline_at - timedelta(days=policy.final_days_before)
    # A reminder that would crowd the final notice is left out: the last word must stand alone.
    kept = [s for s in steps if s.due_at < final_at - timedelta(days=1)]
    if final_at <= now:
        return kept
    why = f"Recovery ends on {case.deadline_at:%Y-%m-%d}; the payer is told before."
    return [*kept, PlannedStep(Step.FINAL, Tone.FINAL, final_at, "notify.final_before_deadline", why)]


def allowed_at(at: datetime, timezone: str, policy: NotifyPolicy) -> datetime:
    """Return the first instant from `at` on that is outside the payer's quiet hours; aware UTC in, aware UTC out."""
    zone = ZoneInfo(timezone)
    local = at.astimezone(zone)
    if policy.quiet_until_hour <= local.hour < policy.quiet_from_hour:
        return at
    day = local.date() if local.hour < policy.quiet_until_hour else local.date() + timedelta(days=1)
    opening = datetime.combine(day, time(policy.quiet_until_hour), zone)
    return opening.astimezone(at.tzinfo)


def below_cap_at(sent: Sequence[datetime], at: datetime, policy: NotifyPolicy) -> datetime:
    """Return the first instant from `at` on at which one more message keeps to the cap.

    Args:
        sent: When messages to this payer went out, in any order.
    """
    recent = sorted(s for s in sent if at - s < policy.cap_window)
    if len(recent) < policy.cap:
        return at
    # The message that must leave the window first so that one place is free.
    return recent[len(recent) - policy.cap] + policy.cap_window
