"""Joining: several webhooks about one payment outcome become one fact.

A gateway may tell one refusal as an invoice event, a payment event and a charge event, in any order and any subset;
each knows another half (the invoice its attempt number, the payment the decline). How to use this module:

1. Keep every observation whose `joins(...)` is true, with the instant it was received, under `references(...)`.
   Publish the others at once. `payment_linked` observations are only kept: they feed `links`.
2. When one arrives, and when `due_at` passes, load all kept ones that share a reference (after `links` has
   replaced payment ids by invoices), published ones of the last days included, and call `partition`.
   Each part is one outcome of one attempt.
3. A part with a published member is done: mark the new members published, publish nothing.
4. `missing_link(...)` names a payment or invoice whose other half only the gateway knows; ask it
   (`ChargeClient.links`) before publishing and store the answer, an empty one too (`links[payment_id] = ""`).
5. When `ready(...)`: publish `merge(...)` once, deduped by `outcome_key(merged)`.

Owns: when facts are the same, when they are enough, and how they merge. Refuses: storage and clocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from dunwell_gateways.port import InstrumentFacts, Kind, Observation, RawDecline, Trigger

SETTLE = timedelta(seconds=2)  # gateways send the events of one outcome within about a second of each other
PATIENCE = timedelta(seconds=15)  # seven times the usual spread; what is missing then is not sent, or hours late
SAME_OUTCOME = timedelta(seconds=60)  # two tries on one invoice are hours apart, two tellings of one are seconds apart
_JOINED = (Kind.PAYMENT_FAILED, Kind.PAYMENT_SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Told:
    """One kept observation."""

    observation: Observation
    event_id: str
    received_at: datetime
    published: bool = False


def joins(observation: Observation) -> bool:
    """Return whether a fact may be told by several events and must wait for `ready`."""
    return observation.kind in _JOINED


def references(observation: Observation) -> tuple[str, ...]:
    """Return every reference under which the other halves of an outcome can be found."""
    named = (
        ("invoice", observation.invoice_id),
        ("payment", observation.payment_id),
        ("charge", observation.charge_id),
    )
    return tuple(f"{kind}:{value}" for kind, value in named if value)


def links_of(observations: Iterable[Observation]) -> dict[str, str]:
    """Return payment id -> invoice id as far as the observations tell."""
    return {each.payment_id: each.invoice_id for each in observations if each.payment_id and each.invoice_id}


def join_key(observation: Observation, links: Mapping[str, str]) -> str:
    """Return what all halves of the outcomes of one invoice or payment share.

    The invoice when known, directly or through `links`; else the payment; else the charge. Outcomes of several
    attempts share it: `partition` separates those.
    """
    invoice = observation.invoice_id or links.get(observation.payment_id, "")
    subject = invoice or observation.payment_id or observation.charge_id
    return f"{observation.kind.value}|{subject}"


def partition(told: Sequence[Told], links: Mapping[str, str]) -> tuple[tuple[Told, ...], ...]:
    """Return the outcomes in a set of observations, oldest first; order of the input does not matter."""
    known = {**links_of(each.observation for each in told), **links}
    ordered = sorted(told, key=lambda each: (each.observation.occurred_at, each.event_id, each.observation.kind))
    parts: list[list[Told]] = []
    # What names its charge anchors a part first; what names none attaches to the nearest part it does not contradict.
    for each in sorted(ordered, key=lambda each: not each.observation.charge_id):
        fitting = [part for part in parts if _fits(part, each, known)]
        if fitting:
            min(fitting, key=lambda part: _distance(part, each)).append(each)
        else:
            parts.append([each])
    joined = (tuple(sorted(part, key=ordered.index)) for part in parts)
    return tuple(sorted(joined, key=lambda part: ordered.index(part[0])))


def _distance(part: Sequence[Told], each: Told) -> timedelta:
    return min(abs(other.observation.occurred_at - each.observation.occurred_at) for other in part)


def _fits(part: Sequence[Told], each: Told, links: Mapping[str, str]) -> bool:
    mine = each.observation
    if join_key(part[0].observation, links) != join_key(mine, links):
        return False
    charges = {other.observation.charge_id for other in part if other.observation.charge_id}
    if mine.charge_id and charges:
        return mine.charge_id in charges
    counts = {other.observation.attempt_count for other in part if other.observation.attempt_count}
    if mine.attempt_count and counts:
        return mine.attempt_count in counts
    return _distance(part, each) <= SAME_OUTCOME


def missing_link(told: Sequence[Told], links: Mapping[str, str]) -> tuple[str, str] | None:
    """Return ("payment" | "invoice", id) to ask the gateway about, or None when nothing is missing.

    A failed payment without an invoice, or a failed invoice without its payment, may be half of one outcome. A
    payment in `links` with an empty invoice is known to have none.
    """
    merged = merge([each.observation for each in told])
    if merged.invoice_id and not merged.payment_id and not merged.charge_id:
        return None if merged.decline else ("invoice", merged.invoice_id)
    if merged.payment_id and not merged.invoice_id and merged.payment_id not in links:
        return "payment", merged.payment_id
    return None


def _complete(merged: Observation) -> bool:
    if merged.kind is not Kind.PAYMENT_FAILED:
        return bool(merged.invoice_id)
    return bool(merged.invoice_id and merged.attempt_count and merged.decline)


def due_at(told: Sequence[Told]) -> datetime:
    """Return when an outcome is to be published with what is known then: SETTLE after the last half, or PATIENCE."""
    received = [each.received_at for each in told]
    if _complete(merge([each.observation for each in told])):
        return min(max(received) + SETTLE, min(received) + PATIENCE)
    return min(received) + PATIENCE


def ready(told: Sequence[Told], now: datetime) -> bool:
    """Return whether an unpublished outcome is to be published now."""
    return not any(each.published for each in told) and now >= due_at(told)


def outcome_key(observation: Observation) -> str:
    """Return the natural key of a fact: two tellings of one fact share it, two facts never do.

    For a payment the payment id when known (else the invoice), the outcome, and the attempt (its charge, else its
    number, else its instant).
    """
    kind = observation.kind.value
    when = f"{observation.occurred_at.timestamp():.0f}"
    if joins(observation):
        subject = observation.payment_id or observation.invoice_id or observation.charge_id
        attempt = observation.charge_id or str(observation.attempt_count or "") or when
        return f"{subject}|{kind}|{attempt}"
    if observation.subject_id:
        phase = "withdrawn" if observation.funds_withdrawn else observation.status or when
        return f"{observation.subject_id}|{kind}|{phase}"
    if observation.kind in (Kind.INVOICE_PAID, Kind.INVOICE_VOIDED, Kind.INVOICE_OPENED, Kind.PAYER_DELETED):
        return f"{observation.invoice_id or observation.payer_id}|{kind}"
    parts = (observation.invoice_id, observation.payment_id, observation.charge_id, observation.instrument_id)
    subject = next((each for each in (*parts, observation.subscription_id, observation.payer_id) if each), "")
    return f"{subject}|{kind}|{when}"


def merge(observations: Sequence[Observation]) -> Observation:
    """Return one fact with the best of each; at least one observation, all of one outcome.

    Order does not matter. The invoice event's amount wins (what is still due), the fullest decline wins, the
    earliest instant wins, other fields are taken from whoever tells them.
    """
    ranked = sorted(observations, key=_authority)
    head = ranked[0]
    values: dict[str, object] = {}
    for each in fields(Observation):
        told = [getattr(other, each.name) for other in ranked]
        values[each.name] = next((value for value in told if value not in (None, "", 0)), getattr(head, each.name))
    values["occurred_at"] = min(each.occurred_at for each in ranked)
    values["decline"] = _best_decline([each.decline for each in ranked])
    values["instrument"] = _best_facts([each.instrument for each in ranked])
    values["trigger"] = next((each.trigger for each in ranked if each.trigger is not Trigger.UNKNOWN), head.trigger)
    off_session = [each.off_session for each in ranked if each.off_session is not None]
    values["off_session"] = off_session[0] if off_session else None
    return replace(head, **values)  # type: ignore[arg-type]  # names come from the dataclass itself


def _authority(observation: Observation) -> tuple[int, datetime, str]:
    # attempt_count is told by invoice events only: they know what is still due.
    rank = 0 if observation.attempt_count else 1 if observation.payment_id and observation.decline else 2
    return rank, observation.occurred_at, repr(observation)


def _best_decline(declines: Sequence[RawDecline]) -> RawDecline:
    def pick(name: str) -> str:
        return next((value for each in full if (value := getattr(each, name))), "")

    full = sorted(declines, key=lambda each: (-_filled(each), repr(each)))
    return RawDecline(pick("gateway_code"), pick("network_code"), pick("advice_code"), pick("message"))


def _filled(decline: RawDecline) -> int:
    return sum(map(bool, (decline.gateway_code, decline.network_code, decline.advice_code, decline.message)))


def _best_facts(facts: Sequence[InstrumentFacts]) -> InstrumentFacts:
    values = {
        each.name: next((value for fact in facts if (value := getattr(fact, each.name))), getattr(facts[0], each.name))
        for each in fields(InstrumentFacts)
    }
    return InstrumentFacts(**values)
