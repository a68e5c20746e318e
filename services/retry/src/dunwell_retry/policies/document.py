"""One policy document: its shape and every rule that it must keep.

Owns: parsing and validation; a broken document is refused with the path and the rule. Refuses: storage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import yaml

from dunwell_gateways import registry
from dunwell_gateways.decline_tables import tables
from dunwell_kit.countries import countries
from dunwell_kit.money import EXPONENTS
from dunwell_retry.policies.crowding import crowded
from dunwell_retry.policies.lines import line_of, outgrown, repeated

KINDS = ("fixed", "uniform", "code_aware", "payday", "advice_following", "smart", "random", "never")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Most reattempts that Visa allows in 30 days. Source: support.checkout.com/hc/en-us/articles/25482040901394.
_NETWORK_CAP_30_DAYS = 20
# No scheme gives a longer window; the oldest authorisations and mandates end here.
_HORIZON_DAYS_MAX = 60
_HOURS_PER_DAY = 24
# Amounts are kept in 64 bits.
_AMOUNT_MAX = 2**63 - 1
# Versions are kept in 32 bits.
_VERSION_MAX = 2**31 - 1
# Names stand in addresses, file names and `NAME@N`.
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_NAME_RULE = "must be made of letters a to z, digits, - and _, with single dots between"


class PolicyInvalid(ValueError):
    """A policy document that breaks a rule; `path` names the field, `rule` what it must be, `line` (from 1) where."""

    def __init__(self, path: str, rule: str, line: int | None = None) -> None:
        super().__init__(f"{path}: {rule}")
        self.path, self.rule, self.line = path, rule, line


@dataclass(frozen=True, slots=True)
class Selector:
    """Which cases a policy is for; an empty field fits all. Amounts are minor units of `currency`, inclusive."""

    tenants: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    currency: str | None = None
    amount_from: int | None = None
    amount_to: int | None = None


@dataclass(frozen=True, slots=True)
class Holdout:
    """A sticky share of payers, 0 to 0.5, that another policy handles for good."""

    share: float
    policy: str


@dataclass(frozen=True, slots=True)
class Floor:
    """What a tenant promised: at least so many charges within so many days of the failure, the rules permitting."""

    attempts: int
    within_days: float


@dataclass(frozen=True, slots=True)
class Policy:
    """How to retry.

    Args:
        attempts_max: Charges after the first refused one, 0 to 20.
        horizon_days: Nothing is sent later than this after the failure.
        days: `fixed`: days after the failure, strictly increasing.
        every_hours: `uniform`: the gap.
        ladders: `code_aware`, `advice_following`: canonical reason to days; `default` for all others.
        pay_days: `payday`: days of the month (0 = the last) and names of weekdays.
        hour: `payday`: local hour of the day.
        min_gap_hours: `smart`: least distance of two charges.
        gain_min: `smart`: least chance that a charge must add.
        outage_ladder_hours: Hours after an outage answer at which the charge is sent again.
        silent_days: The payer is not told before, while time alone may solve it.
        exploration: `smart`: share of decisions that try a nearly as good instant, 0 to 0.2.
        model_edition: `smart`: the only edition that may be used; None takes what the service plans by.
        floor: A promised schedule that no policy stops short of; the rule gate still has the last word.
    """

    name: str
    version: int
    kind: str
    attempts_max: int = 8
    horizon_days: float = 30.0
    days: tuple[float, ...] = ()
    every_hours: float | None = None
    ladders: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    pay_days: tuple[int | str, ...] = ()
    hour: float = 9.0
    min_gap_hours: float = 22.0
    gain_min: float = 0.004
    outage_ladder_hours: tuple[float, ...] = ()
    silent_days: float = 3.0
    exploration: float = 0.0
    model_edition: str | None = None
    when: Selector = Selector()
    holdout: Holdout | None = None
    floor: Floor | None = None


_FIELDS = {entry.name for entry in fields(Policy)}
_NEEDS = {
    "fixed": "days",
    "uniform": "every_hours",
    "code_aware": "ladders",
    "payday": "pay_days",
    "advice_following": "ladders",
}


def parse(text: str) -> Policy:
    """Return the policy of a YAML or JSON document; PolicyInvalid names what is wrong, and the line."""
    try:
        if (much := outgrown(text)) is not None:
            raise PolicyInvalid("document", *much)
        document = yaml.safe_load(text)
        twice = repeated(text)
    except PolicyInvalid:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        rule = f"must be YAML or JSON ({error.__class__.__name__})"
        raise PolicyInvalid("document", rule, mark.line + 1 if mark else None) from error
    if twice is not None:
        raise PolicyInvalid(twice[0], "is given twice", twice[1])
    try:
        return policy_of(document)
    except PolicyInvalid as error:
        raise PolicyInvalid(error.path, error.rule, line_of(text, error.path)) from error


def policy_of(document: object) -> Policy:
    """Return the policy of a decoded document.

    Raises:
        PolicyInvalid: A field is unknown, missing, of the wrong type, out of bounds, or against a network's rule.
    """
    if not isinstance(document, Mapping):
        raise PolicyInvalid("document", "must be a mapping")
    for name in document:
        _need(name in _FIELDS, str(name), "is no field of a policy")
    for name in ("name", "version", "kind"):
        _need(name in document, name, "is missing")
    values = {name: _value(name, value) for name, value in document.items()}
    policy = Policy(**values)
    _check(policy)
    return policy


def document_of(policy: Policy) -> dict[str, Any]:
    """Return the document of a policy, JSON types only; `policy_of` gives the same policy back."""
    found = asdict(policy)
    found["days"], found["pay_days"] = list(policy.days), list(policy.pay_days)
    found["outage_ladder_hours"] = list(policy.outage_ladder_hours)
    found["ladders"] = {reason: list(ladder) for reason, ladder in policy.ladders.items()}
    found["when"] = {name: list(value) if isinstance(value, tuple) else value for name, value in found["when"].items()}
    return found


def _need(holds: bool, path: str, rule: str) -> None:
    if not holds:
        raise PolicyInvalid(path, rule)


def _number(path: str, value: object) -> float:
    _need(isinstance(value, int | float) and not isinstance(value, bool), path, "must be a number")
    assert isinstance(value, int | float)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    _need(math.isfinite(found), path, "must be finite")
    return found


def _whole(path: str, value: object) -> int:
    _need(isinstance(value, int) and not isinstance(value, bool), path, "must be a whole number")
    assert isinstance(value, int)
    return value


def _amount(path: str, value: object) -> int:
    found = _whole(path, value)
    _need(0 <= found <= _AMOUNT_MAX, path, f"must lie in 0..{_AMOUNT_MAX} minor units")
    return found


def _text(path: str, value: object) -> str:
    _need(isinstance(value, str) and 0 < len(value) <= 80, path, "must be a text of 1 to 80 characters")
    assert isinstance(value, str)
    _need(value.isprintable(), path, "must hold no control characters")
    return value


def _list(path: str, value: object) -> list[Any]:
    _need(isinstance(value, list | tuple), path, "must be a list")
    assert isinstance(value, list | tuple)
    return list(value)


def _numbers(path: str, value: object) -> tuple[float, ...]:
    return tuple(_number(f"{path}[{at}]", item) for at, item in enumerate(_list(path, value)))


def _value(name: str, value: object) -> Any:
    if name in ("name", "kind"):
        return _text(name, value)
    if name in ("version", "attempts_max"):
        return _whole(name, value)
    if name in ("days", "outage_ladder_hours"):
        return _numbers(name, value)
    if name == "ladders":
        _need(isinstance(value, Mapping), name, "must map a reason to days")
        assert isinstance(value, Mapping)
        return {str(reason): _numbers(f"ladders.{reason}", days) for reason, days in value.items()}
    if name == "pay_days":
        return tuple(_pay_day(f"pay_days[{at}]", day) for at, day in enumerate(_list(name, value)))
    if name == "when":
        return _selector(value)
    if name == "holdout":
        return None if value is None else _holdout(value)
    if name == "floor":
        return None if value is None else _floor(value)
    if name == "model_edition":
        return None if value is None else _text(name, value)
    if name == "every_hours" and value is None:
        return None
    return _number(name, value)


def _pay_day(path: str, value: object) -> int | str:
    if isinstance(value, str):
        _need(value.lower() in WEEKDAYS, path, f"must be a day of the month or one of {', '.join(WEEKDAYS)}")
        return value.lower()
    day = _whole(path, value)
    _need(0 <= day <= 31, path, "must lie in 0..31, where 0 is the last day")
    return day


def _selector(value: object) -> Selector:
    _need(isinstance(value, Mapping), "when", "must be a mapping")
    assert isinstance(value, Mapping)
    known = {entry.name for entry in fields(Selector)}
    found: dict[str, Any] = {}
    for name, item in value.items():
        path = f"when.{name}"
        _need(name in known, path, "is no field of a selection")
        if name == "currency":
            _need(item is None or item in EXPONENTS, path, "must be an ISO 4217 code, upper case")
            found[name] = item
        elif name.startswith("amount"):
            found[name] = None if item is None else _amount(path, item)
        else:
            found[name] = tuple(_text(f"{path}[{at}]", part) for at, part in enumerate(_list(path, item)))
            _exist(name, path, found[name])
    selector = Selector(**found)
    if selector.amount_from is not None or selector.amount_to is not None:
        _need(selector.currency is not None, "when.currency", "must be given with an amount")
    low, high = selector.amount_from or 0, selector.amount_to
    _need(high is None or high >= low, "when.amount_to", "must not be below amount_from")
    return selector


def _exist(name: str, path: str, chosen: tuple[str, ...]) -> None:
    """A selection of what does not exist would silently select nothing."""
    if name == "countries":
        for at, code in enumerate(chosen):
            _need(code in countries(), f"{path}[{at}]", "must be an ISO 3166 alpha-2 code, upper case")
    if name == "gateways" and chosen:
        known = {*registry.names(), *(table for table in tables() if "/" not in table)}
        for at, gateway in enumerate(chosen):
            _need(gateway in known, f"{path}[{at}]", f"must be one of {', '.join(sorted(known))}")


def _holdout(value: object) -> Holdout:
    _need(isinstance(value, Mapping) and set(value) == {"share", "policy"}, "holdout", "needs share and policy")
    assert isinstance(value, Mapping)
    share = _number("holdout.share", value["share"])
    _need(0 <= share <= 0.5, "holdout.share", "must lie in 0..0.5")
    return Holdout(share, _text("holdout.policy", value["policy"]))


def _floor(value: object) -> Floor:
    _need(
        isinstance(value, Mapping) and set(value) == {"attempts", "within_days"},
        "floor",
        "needs attempts and within_days",
    )
    assert isinstance(value, Mapping)
    return Floor(_whole("floor.attempts", value["attempts"]), _number("floor.within_days", value["within_days"]))


def _check_floor(floor: Floor, policy: Policy) -> None:
    most = f"must lie in 1..attempts_max ({policy.attempts_max}): more cannot be promised than may be sent"
    _need(1 <= floor.attempts <= policy.attempts_max, "floor.attempts", most)
    within = f"must lie in (0, horizon_days ({policy.horizon_days:g})]"
    _need(0 < floor.within_days <= policy.horizon_days, "floor.within_days", within)
    gaps = floor.attempts * policy.min_gap_hours / _HOURS_PER_DAY
    _need(gaps <= floor.within_days, "floor.within_days", f"is too short: min_gap_hours needs {gaps:g} days for them")


def _check(policy: Policy) -> None:
    _need(_NAME.fullmatch(policy.name) is not None, "name", _NAME_RULE)
    _need(policy.kind in KINDS, "kind", f"must be one of {', '.join(KINDS)}")
    _need(1 <= policy.version <= _VERSION_MAX, "version", f"must be >= 1 and <= {_VERSION_MAX}")
    cap = f"must lie in 0..{_NETWORK_CAP_30_DAYS}: Visa allows {_NETWORK_CAP_30_DAYS} reattempts in 30 days"
    _need(0 <= policy.attempts_max <= _NETWORK_CAP_30_DAYS, "attempts_max", cap)
    _need(0 < policy.horizon_days <= _HORIZON_DAYS_MAX, "horizon_days", f"must lie in (0, {_HORIZON_DAYS_MAX}]")
    needed = _NEEDS.get(policy.kind)
    if needed is not None:
        _need(bool(getattr(policy, needed)), needed, f"is what kind {policy.kind!r} needs")
    _increasing("days", policy.days, policy.horizon_days)
    _increasing("outage_ladder_hours", policy.outage_ladder_hours, policy.horizon_days * _HOURS_PER_DAY)
    for reason, ladder in policy.ladders.items():
        _increasing(f"ladders.{reason}", ladder, policy.horizon_days)
    if policy.ladders:
        _need("default" in policy.ladders, "ladders.default", "is missing: every reason needs an answer")
    if policy.every_hours is not None:
        _need(policy.every_hours >= 1, "every_hours", "must be >= 1: issuers treat a faster row as an attack")
    _need(0 <= policy.hour < _HOURS_PER_DAY, "hour", "must lie in [0, 24)")
    _need(policy.min_gap_hours >= 1, "min_gap_hours", "must be >= 1")
    _need(0 <= policy.gain_min < 1, "gain_min", "must lie in [0, 1)")
    _need(0 <= policy.silent_days <= policy.horizon_days, "silent_days", "must lie in 0..horizon_days")
    _need(0 <= policy.exploration <= 0.2, "exploration", "must lie in 0..0.2")
    if policy.floor is not None:
        _check_floor(policy.floor, policy)
    if (broken := crowded(policy)) is not None:
        raise PolicyInvalid(*broken)


def _increasing(path: str, values: tuple[float, ...], most: float) -> None:
    before = 0.0
    for at, value in enumerate(values):
        _need(value > before, f"{path}[{at}]", "must be > 0 and grow from entry to entry")
        _need(value <= most, f"{path}[{at}]", "lies past the horizon")
        before = value
