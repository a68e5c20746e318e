"""The gate's JSON: a question in, a verdict out; a list in, a list out.

A question is `{"attempt": {...}, "history": [...]}`. Its names are the fields of `Attempt`, `Instrument`, `Block`,
`TenantCaps` and `PastAttempt`; those with a default may be left out or null, all others and `history` must be given
(an empty list says that nothing was sent before), and a name that is none of them is refused. Instants are ISO 8601
with an offset. Codes are read as people write them: blanks around them fall away, return codes are taken in upper
case, a numeric advice gets its two digits (`3` is `03`). Countries are ISO 3166 alpha-2 in either case.

Owns: the shape that `dunwell rules check` and `POST /v1/rules/check` share. Refuses: rules, and reading files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from dunwell_kit.countries import countries
from dunwell_retry.rules.gate import Gate
from dunwell_retry.rules.model import (
    Attempt,
    Block,
    Initiator,
    Instrument,
    Origin,
    PastAttempt,
    TenantCaps,
    Verdict,
)
from dunwell_retry.rules.past import RuleInputInvalid

Json = Mapping[str, Any]
# Amounts are kept in 64 bits.
_AMOUNT_MAX = 2**63 - 1
# Instants of payments; months added to them stay in the calendar. No card is older, no window reaches so far.
_YEARS = range(1970, 2200)
# A year of hours, and more charges than anybody sends: a cap above it limits nothing.
_CAP_MAX = 8784
_CODE_FIELDS = ("network_code", "advice_code", "gateway_code")
_NAMES = {
    "": frozenset(("attempt", "history")),
    **{
        prefix: frozenset(each.name for each in fields(kind))
        for prefix, kind in (
            ("attempt.", Attempt),
            ("attempt.instrument.", Instrument),
            ("attempt.caps.", TenantCaps),
            ("blocks", Block),
            ("history", PastAttempt),
        )
    },
}
_Choice = TypeVar("_Choice", bound=StrEnum)


def check(document: Any) -> Any:
    """Return the verdict on one question, or the verdicts on a list of them, in its order.

    Raises:
        RuleInputInvalid: Naming the field, with the question's index in a list.
    """
    if isinstance(document, list):
        answers = []
        for index, each in enumerate(document):
            try:
                answers.append(_answer(each))
            except RuleInputInvalid as error:
                detail = str(error).partition(": ")[2]
                raise RuleInputInvalid(f"[{index}].{error.field_name}", detail) from None
        return answers
    return _answer(document)


def _answer(document: Any) -> dict[str, Any]:
    question = _object(document, "question")
    _known(question, "", _NAMES[""])
    attempt = attempt_of(_object(question.get("attempt"), "attempt"))
    if "history" not in question:
        raise RuleInputInvalid("history", "is missing; an empty list says that nothing was sent before")
    past = question["history"]
    if not isinstance(past, list):
        raise RuleInputInvalid("history", "is not a list")
    history = [past_of(_object(each, f"history[{index}]"), f"history[{index}]") for index, each in enumerate(past)]
    return answer_of(Gate(history).allow(attempt))


def answer_of(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON; instants end in Z."""
    fee = verdict.fee_if_sent
    return {
        "permit": verdict.permit,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "not_before": verdict.not_before.isoformat().replace("+00:00", "Z") if verdict.not_before else None,
        "fee_if_sent": {"amount_minor": fee.amount_minor, "currency": fee.currency, "reason": fee.reason}
        if fee
        else None,
        "counters": dict(verdict.counters),
        "sources": list(verdict.sources),
    }


def attempt_of(document: Json) -> Attempt:
    """Return the attempt of a question."""
    _known(document, "attempt.", _NAMES["attempt."])
    caps = _object(document.get("caps") or {}, "attempt.caps")
    _known(caps, "attempt.caps.", _NAMES["attempt.caps."])
    at, first = _instant(document.get("at"), "attempt.at"), _maybe_instant(document, "first_presented_at", "attempt.")
    if first is not None and first > at:
        raise RuleInputInvalid("attempt.first_presented_at", "lies after attempt.at")
    return Attempt(
        at=at,
        invoice_id=_text(document.get("invoice_id"), "attempt.invoice_id"),
        amount_minor=_integer(document.get("amount_minor"), "attempt.amount_minor"),
        currency=_text(document.get("currency"), "attempt.currency"),
        initiator=_choice(Initiator, document.get("initiator"), "attempt.initiator"),
        gateway=_text(document.get("gateway"), "attempt.gateway"),
        instrument=_instrument(_object(document.get("instrument"), "attempt.instrument")),
        merchant_country=_country(document, "merchant_country", "attempt."),
        authorization=_maybe(document, "authorization", "attempt."),
        notified_at=_maybe_instant(document, "notified_at", "attempt."),
        first_presented_at=first,
        high_cost_loan=_flag(document.get("high_cost_loan") or False, "attempt.high_cost_loan"),
        blocks=_blocks(document.get("blocks") or []),
        caps=TenantCaps(
            per_invoice=_maybe_count(caps, "per_invoice"),
            per_30_days=_maybe_count(caps, "per_30_days"),
            min_gap_hours=_maybe_count(caps, "min_gap_hours"),
        ),
    )


def _blocks(listed: Any) -> tuple[Block, ...]:
    if not isinstance(listed, list):
        raise RuleInputInvalid("attempt.blocks", "is not a list")
    found = []
    for index, each in enumerate(listed):
        name = f"attempt.blocks[{index}]"
        block = _object(each, name)
        _known(block, f"{name}.", _NAMES["blocks"])
        found.append(
            Block(
                _text(block.get("kind"), f"{name}.kind"),
                _instant(block.get("since"), f"{name}.since"),
                _maybe_instant(block, "until", f"{name}."),
            )
        )
    return tuple(found)


def _instrument(document: Json) -> Instrument:
    prefix = "attempt.instrument."
    _known(document, prefix, _NAMES[prefix])
    return Instrument(
        instrument_id=_text(document.get("instrument_id"), f"{prefix}instrument_id"),
        kind=_text(document.get("kind"), f"{prefix}kind"),
        network=_text(document.get("network") or document.get("kind"), f"{prefix}network").strip().lower(),
        funding=_maybe(document, "funding", prefix) or "none",
        country=_country(document, "country", prefix),
        account_reference=_maybe(document, "account_reference", prefix),
        token=_maybe(document, "token", prefix),
    )


def past_of(document: Json, name: str) -> PastAttempt:
    """Return one entry of a history; `name` is how errors call it."""
    prefix = f"{name}."
    _known(document, prefix, _NAMES["history"])
    network_code, advice_code, gateway_code = (_code(document, each, prefix) for each in _CODE_FIELDS)
    return PastAttempt(
        at=_instant(document.get("at"), f"{prefix}at"),
        invoice_id=_text(document.get("invoice_id"), f"{prefix}invoice_id"),
        amount_minor=_integer(document.get("amount_minor"), f"{prefix}amount_minor"),
        currency=_text(document.get("currency"), f"{prefix}currency"),
        initiator=_choice(Initiator, document.get("initiator"), f"{prefix}initiator"),
        instrument_id=_text(document.get("instrument_id"), f"{prefix}instrument_id"),
        approved=_flag(document.get("approved"), f"{prefix}approved"),
        account_reference=_maybe(document, "account_reference", prefix),
        token=_maybe(document, "token", prefix),
        origin=_choice(Origin, document.get("origin") or "us", f"{prefix}origin"),
        network_code=network_code.upper() if network_code else None,
        advice_code=_advice(advice_code),
        gateway_code=gateway_code,
        message=_maybe(document, "message", prefix),
    )


def _known(document: Json, prefix: str, names: frozenset[str]) -> None:
    """Refuse a name that means nothing: the rule it was meant for would be silent."""
    for name in document:
        if name not in names:
            raise RuleInputInvalid(f"{prefix}{name}", f"is no field here; known: {', '.join(sorted(names))}")


def _code(document: Json, name: str, prefix: str) -> str | None:
    value = _maybe(document, name, prefix)
    return value.strip() or None if value else None


def _advice(code: str | None) -> str | None:
    """Return an advice code as Mastercard writes it: two digits."""
    return code.zfill(2) if code and code.isascii() and code.isdecimal() else code.upper() if code else None


def _country(document: Json, name: str, prefix: str) -> str | None:
    value = _maybe(document, name, prefix)
    if value is None:
        return None
    code = value.strip().upper()
    if code not in countries():
        raise RuleInputInvalid(f"{prefix}{name}", f"{value!r} is no country of ISO 3166 alpha-2")
    return code


def _object(value: Any, name: str) -> Json:
    if not isinstance(value, dict):
        raise RuleInputInvalid(name, "is not an object")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise RuleInputInvalid(name, "is missing or not a text")
    return value


def _maybe(document: Json, name: str, prefix: str) -> str | None:
    value = document.get(name)
    return None if value is None or value == "" else _text(value, prefix + name)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RuleInputInvalid(name, "is not an integer of minor units")
    if abs(value) > _AMOUNT_MAX:
        raise RuleInputInvalid(name, "is past 64 bits")
    return value


def _maybe_count(document: Json, name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _CAP_MAX:
        raise RuleInputInvalid(f"attempt.caps.{name}", f"is not a count of 0 to {_CAP_MAX}")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise RuleInputInvalid(name, "is neither true nor false")
    return value


def _choice(kind: type[_Choice], value: Any, name: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise RuleInputInvalid(name, f"{value!r} is none of {', '.join(kind)}") from None


def _instant(value: Any, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(_text(value, name))
    except ValueError as error:
        if isinstance(error, RuleInputInvalid):
            raise
        raise RuleInputInvalid(name, f"{value!r} is not an ISO 8601 instant with a numeric offset or Z") from None
    if at.utcoffset() is None:
        raise RuleInputInvalid(name, "has no time zone: end it with Z or an offset")
    if at.year not in _YEARS:
        raise RuleInputInvalid(name, f"lies outside the years {_YEARS[0]} to {_YEARS[-1]}")
    return at


def _maybe_instant(document: Json, name: str, prefix: str) -> datetime | None:
    value = document.get(name)
    return None if value is None else _instant(value, prefix + name)
