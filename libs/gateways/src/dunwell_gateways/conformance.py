"""The suite every gateway folder passes: what ingest and retry rely on, whatever the gateway.

A folder gives a `specimens()` beside its two halves; tests call every function of `CHECKS` with each registered
adapter. A check raises AssertionError and returns nothing.

Owns: the promises of the port. Refuses: anything true of one gateway only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dunwell_gateways.port import Adapter, ChargeIntent, Kind, Outcome, SignatureFault, SignatureInvalid, Unreadable
from dunwell_kit.money import Money

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a charge call."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Specimens:
    """Bodies and answers of one gateway's shape.

    Args:
        sign: (body, secret, at) -> headers.
        join_headers: Two signed headers in one, as sent while a secret is rotated.
        declined_reference: Payment id, gateway code and money that `declined` tells.
        impossible: Authentic bodies whose amount or currency cannot be.
    """

    now: datetime
    sign: Callable[[bytes, str, datetime], Headers]
    join_headers: Callable[[Headers, Headers], Headers]
    declined: bytes
    declined_reference: tuple[str, str, Money]
    succeeded: bytes
    unknown_type: bytes
    unreadable: tuple[bytes, ...]
    impossible: tuple[bytes, ...]
    intent: ChargeIntent
    approved: Answer
    decline: Answer
    action: Answer
    already_paid: Answer
    limited: Answer
    refused: Answer


_SECRET, _OTHER = "whsec_conformance", "whsec_other"  # made up; any text is a secret here


def _fault(adapter: Adapter, body: bytes, headers: Headers, now: datetime, *secrets: str) -> SignatureFault | None:
    try:
        adapter.webhook.verify(body, headers, secrets or (_SECRET,), now)
    except SignatureInvalid as error:
        return error.fault
    return None


def signature_decides(adapter: Adapter, given: Specimens) -> None:
    """A body is taken exactly when one of the endpoint's secrets signed these very bytes."""
    body, now = given.declined, given.now
    good = given.sign(body, _SECRET, now)
    assert _fault(adapter, body, good, now) is None
    assert _fault(adapter, body, {name.lower(): value for name, value in good.items()}, now) is None
    assert _fault(adapter, body + b" ", good, now) is SignatureFault.MISMATCH
    assert _fault(adapter, body, given.sign(body, _OTHER, now), now) is SignatureFault.MISMATCH
    assert _fault(adapter, body, {}, now) is SignatureFault.MISSING
    garbage = dict.fromkeys(good, "\N{SNOWMAN}=,;=")
    assert _fault(adapter, body, garbage, now) is SignatureFault.MALFORMED


def rotation_is_seamless(adapter: Adapter, given: Specimens) -> None:
    """While a secret is rotated, either of ours and either of theirs is enough."""
    body, now = given.declined, given.now
    both = given.join_headers(given.sign(body, _OTHER, now), given.sign(body, _SECRET, now))
    assert _fault(adapter, body, both, now) is None
    assert _fault(adapter, body, given.sign(body, _OTHER, now), now, _SECRET, _OTHER) is None


def time_window_is_two_sided(adapter: Adapter, given: Specimens) -> None:
    """Where the gateway signs a time, a replay is refused as well as a body from the future."""
    tolerance = adapter.charge.capabilities.signature_tolerance_seconds
    if tolerance is None:
        return
    body, now = given.declined, given.now
    edge, beyond = timedelta(seconds=tolerance), timedelta(seconds=tolerance + 1)
    assert _fault(adapter, body, given.sign(body, _SECRET, now - edge), now) is None
    assert _fault(adapter, body, given.sign(body, _SECRET, now + edge), now) is None
    assert _fault(adapter, body, given.sign(body, _SECRET, now - beyond), now) is SignatureFault.TOO_OLD
    assert _fault(adapter, body, given.sign(body, _SECRET, now + beyond), now) is SignatureFault.TOO_NEW


def unreadable_is_said(adapter: Adapter, given: Specimens) -> None:
    """What is not the gateway's shape raises Unreadable and nothing else, however broken."""
    deep = b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for body in (*given.unreadable, deep, b"\xff", b'{"a":NaN}', b'{"a":"\\u0000"}', given.declined[:-20]):
        try:
            adapter.webhook.translate(body)
        except Unreadable:
            continue
        raise AssertionError(f"{body[:60]!r} was read")
    for body in given.impossible:
        adapter.webhook.delivery(body)
        try:
            adapter.webhook.translate(body)
        except Unreadable:
            continue
        raise AssertionError(f"{body[:60]!r} was believed")


def unknown_types_are_quiet(adapter: Adapter, given: Specimens) -> None:
    """A type we do not know has a head and tells nothing."""
    assert adapter.webhook.delivery(given.unknown_type).event_type
    assert list(adapter.webhook.translate(given.unknown_type)) == []


def outcomes_are_told(adapter: Adapter, given: Specimens) -> None:
    """A refusal keeps its raw code and its money; a success is a success."""
    failed = adapter.webhook.translate(given.declined)[0]
    payment, code, money = given.declined_reference
    assert (failed.kind, failed.payment_id) == (Kind.PAYMENT_FAILED, payment)
    assert (failed.decline.gateway_code, failed.money) == (code, money)
    assert failed.occurred_at.utcoffset() == timedelta(0)
    assert Kind.PAYMENT_SUCCEEDED in [each.kind for each in adapter.webhook.translate(given.succeeded)]


def requests_are_exact(adapter: Adapter, given: Specimens) -> None:
    """Equal intents give equal bytes, with the key where the gateway takes one and never the secret."""
    first, again = adapter.charge.build(given.intent), adapter.charge.build(given.intent)
    assert first == again
    header = adapter.charge.capabilities.idempotency_header
    assert header is None or first.headers[header] == given.intent.idem_key
    assert set(adapter.charge.authorize("secret")).isdisjoint(first.headers)
    assert adapter.charge.build(replace(given.intent, instrument_id="other")).body != first.body
    assert adapter.charge.look_up(given.intent).method == "GET"


def answers_are_read(adapter: Adapter, given: Specimens) -> None:
    """Each answer style comes to the one result type; doubt is UNKNOWN."""

    def outcome(answer: Answer) -> Outcome:
        return adapter.charge.interpret(answer.status, answer.headers, answer.body).outcome

    assert outcome(given.approved) is Outcome.APPROVED
    assert outcome(given.decline) is Outcome.DECLINED
    assert adapter.charge.interpret(given.decline.status, {}, given.decline.body).decline
    assert outcome(given.action) is Outcome.ACTION_REQUIRED
    assert outcome(given.already_paid) is Outcome.ALREADY_PAID
    assert outcome(given.refused) is Outcome.REFUSED
    limited = Outcome.RATE_LIMITED if adapter.charge.capabilities.safe_on_429 else Outcome.UNKNOWN
    assert outcome(given.limited) is limited
    for status in (200, 302, 409, 500, 502, 503, 504):
        for body in (b"", b"<html>", b"{}", b"[]"):
            assert outcome(Answer(status, {}, body)) is Outcome.UNKNOWN, (status, body)
    for status in (100, 200, 302, 404, 409, 500):
        look = adapter.charge.interpret_look_up(given.intent, status, {}, b"{}").outcome
        assert look is Outcome.UNKNOWN, f"an empty look-up with {status} was believed"


def capabilities_are_complete(adapter: Adapter, given: Specimens) -> None:
    """The record is consistent and says where it comes from."""
    record = adapter.charge.capabilities
    assert record.sources and record.look_up_by
    assert (record.key_window_hours > 0) == (record.idempotency_header is not None)
    assert given.intent.idem_key


CHECKS: tuple[Callable[[Adapter, Specimens], None], ...] = (
    signature_decides,
    rotation_is_seamless,
    time_window_is_two_sided,
    unreadable_is_said,
    unknown_types_are_quiet,
    outcomes_are_told,
    requests_are_exact,
    answers_are_read,
    capabilities_are_complete,
)
