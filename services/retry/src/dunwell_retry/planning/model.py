"""What the planner is told and what it answers; both are plain values that survive JSON.

Owns: the types and their JSON form. Refuses: any judgement.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from operator import lt
from typing import Any, TypeVar

from dunwell_retry.planning.local import zone
from dunwell_retry.planning.reading import Reading, one_more, readings_of
from dunwell_retry.rules.values import kept, quick

_T = TypeVar("_T")
# Looking them up on a class takes as long as half of the call.
_new, _set = object.__new__, object.__setattr__
# Amounts are kept in 64 bits.
_AMOUNT_MAX = 2**63 - 1


class CaseInvalid(ValueError):
    """A case that cannot be planned; the message names the field and the rule."""


@dataclass(frozen=True, slots=True)
class Decline:
    """What a refused charge said, verbatim."""

    gateway_code: str | None = None
    network_code: str | None = None
    advice_code: str | None = None
    message: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Method:
    """A payment method that may be charged without the payer; `expires` is (year, month)."""

    instrument_id: str
    kind: str = "card"
    network: str = "visa"
    funding: str = "none"
    country: str | None = None
    issuer_id: str | None = None
    expires: tuple[int, int] | None = None
    account_reference: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A charge of this payer before the failure."""

    at: datetime
    amount_minor: int
    approved: bool
    decline: Decline | None = None


@quick
@dataclass(frozen=True, slots=True)
class Sent:
    """A charge of this invoice, the first refused one not included."""

    at: datetime
    instrument_id: str
    route: str
    approved: bool
    decline: Decline | None = None
    initiator: str = "merchant"
    origin: str = "us"


@dataclass(frozen=True, slots=True)
class Block:
    """A reason outside the networks that forbids charging, as the rule gate knows it."""

    kind: str
    since: datetime
    until: datetime | None = None


@quick
@dataclass(frozen=True)
class Case:
    """Everything a decision may look at.

    Args:
        amount_minor: Integer minor units of `currency`, > 0.
        timezone: IANA name of the payer's zone; an unknown one is planned in UTC, and the plan says so.
        country: Merchant's country, ISO 3166 alpha-2.
        routes: The first one carried the refused charge.
        methods: The first one was refused, unless `failed_on` says otherwise.
        failed_on: The method that was refused, when the payer has given another one since.
        deadline: Aware UTC instant after which nothing is sent.
        fixed_at: When the payer put his method right, if he did.
        plan_name, segment: Labels for the selection of a policy.
        attempts_max: The tenant's own cap on charges after the first, if stricter than the policy.
    """

    case_id: str
    invoice_id: str
    payer_id: str
    tenant_id: str
    amount_minor: int
    currency: str
    timezone: str
    gateway: str
    failed_at: datetime
    deadline: datetime
    decline: Decline
    methods: tuple[Method, ...]
    routes: tuple[str, ...] = ("default",)
    sent: tuple[Sent, ...] = ()
    history: tuple[Past, ...] = ()
    country: str | None = None
    plan_name: str | None = None
    segment: str | None = None
    fixed_at: datetime | None = None
    failed_on: Method | None = None
    attempts_max: int | None = None
    min_gap_hours: int | None = None
    blocks: tuple[Block, ...] = ()
    authorization: str | None = None
    notified_at: datetime | None = None
    first_presented_at: datetime | None = None
    high_cost_loan: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.amount_minor <= _AMOUNT_MAX:
            raise CaseInvalid(f"case {self.case_id!r}: amount_minor must lie in 1..2^63-1, not {self.amount_minor}")
        if not self.methods or not self.routes:
            raise CaseInvalid(f"case {self.case_id!r}: needs the method and the route that were refused")
        if self.failed_at.tzinfo is None:
            raise CaseInvalid(f"case {self.case_id!r}: failed_at must be aware")
        if self.deadline.tzinfo is None:
            raise CaseInvalid(f"case {self.case_id!r}: deadline must be aware")

    @kept
    def oddities(self) -> tuple[str, ...]:
        """What is out of order in the case and how it is taken; worked out once, as a past of years is looked through."""
        found = []
        if zone(self.timezone) is None:
            found.append(f"unknown time zone {self.timezone!r}: planned in UTC")
        if _disordered(self.history):
            found.append("history was out of order: sorted")
        if _disordered(self.sent):
            found.append("charges were out of order: taken in the order of time")
        found.extend(
            f"impossible expiry {method.expires!r} of {method.instrument_id!r}: ignored"
            for method in self.methods
            if method.expires is not None and not 1 <= method.expires[1] <= 12
        )
        return tuple(found)

    @kept
    def readings(self) -> tuple[Reading, ...]:
        """What the first refusal means, and every later one on the first method; each is read once."""
        return readings_of(self)


def _disordered(rows: Sequence[Past] | Sequence[Sent]) -> bool:
    if len(rows) < 2:
        return False
    times = [row.at for row in rows]
    return any(map(lt, times[1:], times))


def after_charge(case: Case, charge: Sent) -> Case:
    """Return the case after one more charge; a replay asks for it far too often for `dataclasses.replace`."""
    values = case.__dict__.copy()
    values["sent"] = (*case.sent, charge)
    # What the case has worked out about itself stays true, or is carried on.
    if case.sent and charge.at < case.sent[-1].at:
        values.pop("oddities", None)
    if "readings" in values:
        before = case.sent[-1] if case.sent else None
        first = case.methods[0].instrument_id
        if before is None and case.failed_on is None:
            values["readings"] = one_more(case.readings, case, case.decline, charge)
        elif before is not None and before.instrument_id == first and not before.approved:
            values["readings"] = one_more(case.readings, case, before.decline, charge)
        else:
            del values["readings"]
    following = _new(Case)
    _set(following, "__dict__", values)
    return following


@quick
@dataclass(frozen=True, slots=True)
class PlannedAttempt:
    """One charge of the plan.

    Args:
        at: Aware UTC instant.
        chance: P(approve) as the model sees it now; None where the policy has no model.
        gain: What this charge adds to the whole plan, as a probability.
        propensity: Chance that this instant was chosen, for later estimates; 1 without exploration.
        reason: One sentence for a support agent.
        rule: Id of the rule that permits it.
    """

    at: datetime
    instrument_id: str
    route: str
    chance: float | None
    gain: float | None
    propensity: float
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An alternative that was looked at and not chosen."""

    at: datetime
    instrument_id: str
    route: str
    chance: float | None
    gain: float | None
    reason: str


@quick
@dataclass(frozen=True, slots=True)
class Plan:
    """The answer: what to send and when, and why.

    Args:
        attempts: Future charges in time order; empty means stop.
        silent_until: Before this instant the payer need not be told.
        posterior: Hidden reason to probability; empty where the policy has no model.
        stop: Why nothing more is planned; None while something is.
        payer_can_fix: True when only the payer can bring this payment about.
        budget_left: Charges that the policy still allows, planned ones included.
        changes: What would change the plan.
        notes: What was out of order in the inputs and how it was taken.
        answers_fix: True when the only charge is the one that answers a payer who put his method right.
    """

    case_id: str
    policy: str
    policy_version: int
    policy_kind: str
    model_edition: str | None
    made_at: datetime
    seed: int
    attempts: tuple[PlannedAttempt, ...]
    silent_until: datetime | None
    deadline: datetime
    expected: float | None
    posterior: Mapping[str, float]
    rhythm: str | None
    budget_left: int
    stop: str | None
    payer_can_fix: bool
    refused: tuple[Refused, ...] = ()
    sources: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    answers_fix: bool = False


def as_json(value: Any) -> Any:
    """Return a value of this module as JSON types; instants become ISO 8601 in UTC."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(item) for item in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def from_json(kind: type[_T], value: Any) -> _T:
    """Return a value of this module from its JSON form; CaseInvalid names what does not fit."""
    try:
        return typing.cast(_T, _read(kind, value))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CaseInvalid(f"{kind.__name__}: {error}") from error


def _read(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _read(next(part for part in typing.get_args(kind) if part is not type(None)), value)
    if origin is tuple:
        parts = typing.get_args(kind)
        return tuple(_read(parts[0], item) for item in value)
    if origin is Mapping:
        return dict(value)
    if kind is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError(f"{value!r} is naive")
        return at.astimezone(UTC)
    if is_dataclass(kind) and isinstance(kind, type):
        known = {field.name for field in fields(kind)}
        if unknown := set(value) - known:
            raise ValueError(f"unknown field {min(unknown)!r}")
        hints = _hints(kind)
        return kind(**{name: _read(hints[name], item) for name, item in value.items()})
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{value!r} is not {kind.__name__}")
    return value
