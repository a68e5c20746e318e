"""The plan of one case under one policy: the only way by which anything is ever scheduled.

Owns: choosing between policies with and without a model, and the common end of every plan. Pure.
Refuses: sending; whoever sends asks the rule gate again at that moment.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dunwell_retry.planning.floor import shortened, with_floor
from dunwell_retry.planning.model import Case, Plan, PlannedAttempt, Refused
from dunwell_retry.planning.parameters import Model, ModelUnusable, shipped
from dunwell_retry.planning.permits import Permits
from dunwell_retry.planning.reading import Reading
from dunwell_retry.planning.schedules import Timetable, span, timetable
from dunwell_retry.planning.smart import smart_charge, smart_plan
from dunwell_retry.policies.document import Policy
from dunwell_retry.policies.presets import preset
from dunwell_retry.rules.model import Verdict
from dunwell_retry.rules.values import maker

# A planned charge whose moment passed while nobody looked is sent when its place is not older than this.
_LATE = timedelta(minutes=1)
_planned_attempt = maker(PlannedAttempt)
_PAYER_REASONS = ("expired", "bad_credential", "dead_card", "revoked", "auth_required")


def plan(
    case: Case, policy: Policy, *, now: datetime, seed: int, permits: Permits | None = None,
    model: Model | None = None, look_ahead: int | None = None,
) -> Plan:  # fmt: skip
    """Return what to send next, and when, and why.

    Equal arguments give equal plans; `seed` only decides explorations.

    Args:
        now: Aware UTC instant of the decision; no planned instant lies more than a minute before it.
        permits: The rule gate over this case; None makes it.
        model: The scenario model of `smart` policies; None takes the shipped one.
        look_ahead: How many charges of the plan are worked out and returned; None = all. The first ones do not
            depend on it.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware")
    notes = case.oddities
    readings = case.readings
    permits = permits or Permits(case)
    if case.sent and case.sent[-1].approved:
        return _ended(case, policy, now, seed, "already recovered", notes)
    if case.fixed_at is not None:
        fixed = _after_fix(case, policy, now, seed, permits, notes)
        if fixed is not None:
            return fixed
    if policy.floor is not None:
        # What is promised is counted over the whole plan, so that a short look ahead would see too little of it.
        whole = _planned(case, policy, now, seed, permits, model, readings, notes, None)
        return shortened(with_floor(whole, case, policy, now=now, permits=permits), look_ahead)
    return _planned(case, policy, now, seed, permits, model, readings, notes, look_ahead)


def next_charge(
    case: Case, policy: Policy, *, now: datetime, seed: int, permits: Permits, model: Model | None = None
) -> PlannedAttempt | None:  # fmt: skip
    """Return the first charge of the plan that `plan` makes of the same arguments; None where that plan is empty.

    For replays, which ask for nothing else: what only people read of a plan is not worked out. The charge of a model
    may come without its sentence, and then with propensity 1.
    """
    if policy.floor is not None or case.fixed_at is not None or (case.sent and case.sent[-1].approved):
        attempts = plan(case, policy, now=now, seed=seed, permits=permits, model=model, look_ahead=1).attempts
        return attempts[0] if attempts else None
    if policy.kind == "smart":
        usable, _ = _model(policy, model)
        if usable is not None:
            return smart_charge(
                case, policy, now=now, seed=seed, permits=permits, model=usable, readings=case.readings
            )  # fmt: skip
        policy = payday_instead(policy)
    moments, place, left = _ahead(case, policy, now)
    return _first_permitted(case, moments, place, now, permits, [])[0] if left > 0 else None


def _planned(
    case: Case, policy: Policy, now: datetime, seed: int, permits: Permits, model: Model | None,
    readings: Sequence[Reading], notes: tuple[str, ...], look_ahead: int | None,
) -> Plan:  # fmt: skip
    """Return the plan of the policy's own kind."""
    if policy.kind == "smart":
        usable, note = _model(policy, model)
        if usable is not None:
            return smart_plan(
                case, policy, now=now, seed=seed, permits=permits, model=usable, readings=readings,
                look_ahead=look_ahead, notes=notes,
            )  # fmt: skip
        notes = (*notes, note)
        policy = replace(payday_instead(policy), name=policy.name, version=policy.version)
    return _scheduled(case, policy, now, seed, permits, readings, notes, look_ahead)


def payday_instead(policy: Policy) -> Policy:
    """Return the pay-day rule within the bounds of a policy that cannot plan itself."""
    return replace(
        preset("payday"), attempts_max=policy.attempts_max, horizon_days=policy.horizon_days,
        outage_ladder_hours=policy.outage_ladder_hours, silent_days=policy.silent_days, floor=policy.floor,
    )  # fmt: skip


def _model(policy: Policy, model: Model | None) -> tuple[Model | None, str]:
    """Return the model that may be used, or None and the sentence that says why not."""
    try:
        found = model or shipped()
    except (ModelUnusable, FileNotFoundError) as error:
        return None, f"model not usable ({error}): planned by the pay-day rule instead"
    if policy.model_edition is not None and policy.model_edition != found.edition:
        text = f"policy asks for model {policy.model_edition!r}, here is {found.edition!r}"
        return None, f"{text}: planned by the pay-day rule instead"
    return found, ""


def _budget(case: Case, policy: Policy) -> int:
    """Return how many charges after the refused one the policy and the tenant allow."""
    return policy.attempts_max if case.attempts_max is None else min(policy.attempts_max, case.attempts_max)


def _budget_left(case: Case, policy: Policy) -> int:
    """Return how many of them are left; the payer's own do not count."""
    return max(0, _budget(case, policy) - sum([charge.initiator == "merchant" for charge in case.sent]))


def _after_fix(
    case: Case, policy: Policy, now: datetime, seed: int, permits: Permits, notes: tuple[str, ...]
) -> Plan | None:
    """Return the immediate charge that answers a payer's fix, unless it was already sent or is not permitted."""
    fixed, method = case.fixed_at, case.methods[0]
    if fixed is None or now > case.deadline:
        return None
    if any(charge.at >= fixed and charge.instrument_id == method.instrument_id for charge in case.sent):
        return None
    # He is still there: nothing is gained by waiting.
    at = max(now, fixed)
    verdict = permits.ask(at, method.instrument_id, "payer")
    if not verdict.permit:
        return None
    attempt = PlannedAttempt(
        at, method.instrument_id, case.routes[0], 0.9, 0.9, 1.0, "the payer put the method right", verdict.rule
    )
    empty = _ended(case, policy, now, seed, None, notes)
    return replace(
        empty,
        attempts=(attempt,),
        expected=0.9,
        budget_left=_budget_left(case, policy),
        changes=_CHANGES,
        answers_fix=True,
    )


def _ended(case: Case, policy: Policy, now: datetime, seed: int, stop: str | None, notes: tuple[str, ...]) -> Plan:
    return _plan(case, policy, now, seed, stop, notes)


def _plan(
    case: Case, policy: Policy, now: datetime, seed: int, stop: str | None, notes: tuple[str, ...],
    attempts: tuple[PlannedAttempt, ...] = (), refused: tuple[Refused, ...] = (), sources: tuple[str, ...] = (),
    silent_until: datetime | None = None, payer_can_fix: bool = False,
) -> Plan:  # fmt: skip
    """Return a plan that no model had a part in."""
    return Plan(
        case_id=case.case_id,
        policy=policy.name,
        policy_version=policy.version,
        policy_kind=policy.kind,
        model_edition=None,
        made_at=now if now.tzinfo is UTC else now.astimezone(UTC),
        seed=seed,
        attempts=attempts,
        silent_until=silent_until,
        deadline=case.deadline,
        expected=None,
        posterior={},
        rhythm=None,
        budget_left=_budget_left(case, policy),
        stop=stop,
        payer_can_fix=payer_can_fix,
        refused=refused,
        sources=sources,
        changes=_CHANGES if attempts else (),
        notes=notes,
    )


def _scheduled(
    case: Case, policy: Policy, now: datetime, seed: int, permits: Permits, readings: Sequence[Reading],
    notes: tuple[str, ...], look_ahead: int | None,
) -> Plan:  # fmt: skip
    """Plan by a schedule: every instant of it that is still ahead and that the gate permits."""
    moments, place, left = _ahead(case, policy, now)
    budget = min(left, look_ahead or len(moments[0]))
    attempts, refused, sources = permitted(case, moments, place, budget, now, permits)
    observed = readings[-1].observed if readings else "unknown"
    stop = None
    if not attempts:
        stop = refused[0].reason if refused else "the policy has no attempt left"
    fixable = observed in _PAYER_REASONS
    return _plan(
        case, policy, now, seed, stop, notes, attempts, refused[:8], sources,
        None if fixable else _silence(case, policy, attempts), fixable,
    )  # fmt: skip


def _ahead(case: Case, policy: Policy, now: datetime) -> tuple[Timetable, int, int]:
    """Return a schedule, the number of its first instant that is still ahead, and the budget that is left."""
    left, last = _budget(case, policy), now - _LATE
    # One walk for both: a replay asks after every charge.
    for charge in case.sent:
        left -= charge.initiator == "merchant"
        if charge.at > last:
            last = charge.at
    moments = timetable(policy, case)
    return moments, bisect_right(moments[0], last), left


_CHANGES = (
    "an approval, a payment or a cancellation ends the plan",
    "a refusal with another code or advice replans it",
    "a new or repaired payment method is charged at once",
)


def _silence(case: Case, policy: Policy, attempts: Sequence[PlannedAttempt]) -> datetime | None:
    """Return until when time alone may solve it, at most the policy's silent days."""
    if not attempts:
        return None
    limit = case.failed_at + span(policy.silent_days)
    return limit if attempts[0].at <= limit else None


def permitted(
    case: Case, moments: Timetable, number: int, budget: int, now: datetime, permits: Permits
) -> tuple[tuple[PlannedAttempt, ...], tuple[Refused, ...], tuple[str, ...]]:
    """Return the charges that the gate permits, each supposed to be refused before the next is asked about.

    Args:
        number: Of the first instant to be looked at.
    """
    attempts: list[PlannedAttempt] = []
    turned_down: list[tuple[datetime, Verdict]] = []
    while len(attempts) < budget:
        attempt, number = _first_permitted(case, moments, number, now, permits, turned_down)
        if attempt is None:
            break
        attempts.append(attempt)
        if len(attempts) < budget:
            permits = permits.supposing(attempt.at, attempt.instrument_id)
    method, route = case.methods[0].instrument_id, case.routes[0]
    refused = [
        Refused(at, method, route, None, None, f"{verdict.rule}: {verdict.reason}") for at, verdict in turned_down
    ]
    sources = dict.fromkeys(source for _, verdict in turned_down for source in verdict.sources)
    return tuple(attempts), tuple(refused), tuple(sources)


def _first_permitted(
    case: Case, moments: Timetable, number: int, now: datetime, permits: Permits,
    turned_down: list[tuple[datetime, Verdict]],
) -> tuple[PlannedAttempt | None, int]:  # fmt: skip
    """Return the first charge that the gate permits, None when there is none, and the number of the instant after it.

    A charge that may only be sent later is moved there when the next one of the schedule is not due by then.

    Args:
        number: Of the first instant to be looked at.
        turned_down: Takes the instants that the gate refused, with its answers.
    """
    method = case.methods[0].instrument_id
    times, reasons = moments
    for place in range(number, len(times)):
        at = times[place]
        if at < now:
            at = now
        verdict, reason = permits.ask(at, method), reasons[place]
        if not verdict.permit:
            turned_down.append((at, verdict))
            later = verdict.not_before
            following = times[place + 1] if place + 1 < len(times) else case.deadline
            if later is None:
                break
            if not at < later < following or later > case.deadline:
                continue
            at, verdict = later, permits.ask(later, method)
            if not verdict.permit:
                continue
            reason = f"{reason}, moved to the first permitted instant"
        return _planned_attempt(at, method, case.routes[0], None, None, 1.0, reason, verdict.rule), place + 1
    return None, len(times)
