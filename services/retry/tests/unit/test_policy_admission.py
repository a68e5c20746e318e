"""What a policy document may not say although every field by itself could be right."""

from __future__ import annotations

import json
from datetime import date

import pytest

from dunwell_retry.governing import PolicyRefused, checked
from dunwell_retry.planning.parameters import shipped
from dunwell_retry.policies import PRESETS, PolicyInvalid, parse, policy_of
from dunwell_retry.policies.admission import admitted, parse_admitted
from dunwell_retry.policies.document import document_of
from dunwell_retry.rules import rulebook

MINE = {"name": "mine", "version": 1, "kind": "fixed", "attempts_max": 3, "days": [1, 5, 9]}
HOUR = 1 / 24


def hourly(count: int, step: float = 1) -> list[float]:
    return [round(step * HOUR * number, 9) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"attempts_max": 10, "days": hourly(10)}, "days"),
        ({"attempts_max": 20, "days": [3, *(10 + hour for hour in hourly(12))]}, "days"),
        ({"kind": "uniform", "attempts_max": 20, "every_hours": 2}, "every_hours"),
        ({"kind": "code_aware", "attempts_max": 20, "ladders": {"default": [1], "outage": hourly(15)}}, "ladders.outage"),
        ({"attempts_max": 12, "outage_ladder_hours": list(range(1, 13))}, "outage_ladder_hours"),
        (
            {"kind": "smart", "attempts_max": 12, "min_gap_hours": 1, "floor": {"attempts": 12, "within_days": 1}},
            "floor.attempts",
        ),
    ],
)  # fmt: skip
def test_a_schedule_that_alone_breaks_a_networks_day_is_refused_by_the_rules_name(changes, path) -> None:
    with pytest.raises(
        PolicyInvalid, match=r"mastercard\.velocity_24h: Mastercard allows 10 declines in 24 h"
    ) as caught:
        policy_of({**MINE, **changes})
    assert caught.value.path == path
    with pytest.raises(PolicyRefused, match="velocity_24h"):
        checked({**MINE, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"attempts_max": 9, "days": hourly(9)},
        # Those beyond attempts_max are never sent.
        {"attempts_max": 9, "days": hourly(15)},
        # Twenty-four hours later the first decline no longer counts.
        {"attempts_max": 10, "days": [*hourly(9), 1]},
        {"kind": "uniform", "attempts_max": 20, "every_hours": 3},
        {"kind": "uniform", "attempts_max": 20, "every_hours": 1, "horizon_days": 0.25, "silent_days": 0, "days": []},
    ],
)
def test_a_schedule_just_within_the_day_is_valid(changes) -> None:
    assert policy_of({**MINE, **changes}).attempts_max >= 9


def test_the_limit_is_the_rule_books() -> None:
    row = rulebook.default().find("mastercard.velocity_24h", date(2026, 11, 1))
    assert row is not None
    assert (row.number("limit"), row.number("window_hours")) == (10, 24)


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        ({"when": {"currency": "XXQ"}}, "when.currency", "ISO 4217"),
        ({"when": {"currency": "usd"}}, "when.currency", "ISO 4217"),
        ({"when": {"currency": 7}}, "when.currency", "ISO 4217"),
        ({"when": {"countries": ["DE", "ZZ"]}}, "when.countries[1]", "ISO 3166"),
        ({"when": {"countries": ["us"]}}, "when.countries[0]", "upper case"),
        ({"when": {"gateways": ["stripe", "nosuch"]}}, "when.gateways[1]", "stripe"),
        ({"name": "a/b"}, "name", "letters"),
        ({"name": "../b"}, "name", "letters"),
        ({"name": "a..b"}, "name", "letters"),
        ({"name": ".b"}, "name", "letters"),
        ({"name": "smart@3"}, "name", "letters"),
        ({"name": "mine "}, "name", "letters"),
        ({"days": [10**400]}, "days[0]", "finite"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_field_named(changes, path, rule) -> None:
    with pytest.raises(PolicyInvalid, match=rule) as caught:
        policy_of({**MINE, **changes})
    assert caught.value.path == path


def test_what_exists_is_accepted() -> None:
    when = {"currency": "JPY", "countries": ["DE", "XK"], "gateways": ["stripe", "adyen"]}
    assert policy_of({**MINE, "name": "Mine_2-eu.v1", "when": when}).when.currency == "JPY"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "smart"}, "name"),
        ({"name": "daily-20"}, "name"),
        ({"model_edition": "nosuch-1"}, "model_edition"),
    ],
)
def test_a_shipped_name_of_another_kind_and_a_model_that_does_not_ship_may_not_be_saved(changes, path) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        admitted(policy_of({**MINE, **changes}))
    assert caught.value.path == path
    with pytest.raises(PolicyRefused) as refused:
        checked({**MINE, **changes})
    assert refused.value.path == path
    with pytest.raises(PolicyInvalid) as told:
        parse_admitted(json.dumps({**MINE, **changes}, indent=1))
    assert (told.value.path, told.value.line is not None) == (path, True)


def test_every_shipped_policy_may_be_saved() -> None:
    for policy in PRESETS.values():
        assert admitted(policy) is policy
        assert checked(document_of(policy)) == policy
    assert admitted(policy_of({**MINE, "kind": "smart", "model_edition": shipped().edition})).model_edition


def test_a_holdout_names_a_shipped_or_a_saved_policy() -> None:
    text = json.dumps({**MINE, "holdout": {"share": 0.1, "policy": "nosuch"}})
    with pytest.raises(PolicyInvalid, match="no policy 'nosuch' is known") as caught:
        parse_admitted(text)
    assert caught.value.path == "holdout.policy"
    assert parse_admitted(text, ["nosuch"]).holdout is not None
    assert parse_admitted(text.replace("nosuch", "payday")).holdout is not None


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{old}, *{old}]\n" for old, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BOMB, "aliases"),
        ("name: " + "[" * 50 + "]" * 50, "nest at most"),
        ("[" * 60_000, "nest at most"),
        ("name: mine # " + "x" * 70_000, "at most 65536 characters"),
        ("name: \x00", "must be YAML"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_document_but_a_burden_is_not_read(text: str, rule: str) -> None:
    with pytest.raises(PolicyInvalid, match=rule) as caught:
        parse(text)
    assert caught.value.path == "document"
