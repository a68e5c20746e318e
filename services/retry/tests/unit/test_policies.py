"""Policy documents: what is accepted, what is refused and why, and what a change changes."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dunwell_retry.planning import Case, Decline, Method, plan
from dunwell_retry.policies import PRESETS, Policy, PolicyInvalid, parse, policy_of, preset
from dunwell_retry.policies.changes import diff, dry_run
from dunwell_retry.policies.document import document_of
from dunwell_retry.policies.selection import select

FAILED = datetime(2026, 2, 3, 10, tzinfo=UTC)
NOW = FAILED + timedelta(minutes=1)
NAMES = {
    "smart", "uniform-8", "payday", "code-aware", "stripe-legacy", "killbill", "shopify", "yuno", "recurly-2d",
    "daily-20", "exponential", "advice-following", "random", "never",
}  # fmt: skip


def a_case(code: str = "51", gateway_code: str = "insufficient_funds", **changes: object) -> Case:
    base = Case(
        "rec_1", "in_1", "pay_1", "ten_1", 2900, "USD", "Europe/Berlin", "stripe", FAILED, FAILED + timedelta(days=30),
        Decline(gateway_code, code), (Method("pm_1", "card", "visa", "debit", "DE"),), ("stripe",),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def days_of(policy: Policy, case: Case | None = None) -> list[float]:
    case = case or a_case()
    made = plan(case, policy, now=NOW, seed=1)
    return [round((attempt.at - FAILED) / timedelta(days=1), 2) for attempt in made.attempts]


def test_every_promised_policy_is_shipped() -> None:
    assert set(PRESETS) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_shipped_policy_survives_its_document(name: str) -> None:
    policy = preset(name)
    assert policy_of(document_of(policy)) == policy
    assert parse(json.dumps(document_of(policy))) == policy


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("stripe-legacy", [3, 8, 15]),
        ("killbill", [8, 16, 24]),
        ("shopify", [7, 14, 21]),
        ("recurly-2d", [2, 4, 6, 8, 10, 12, 14]),
        ("uniform-8", [1.75, 3.5, 5.25, 7, 8.75, 10.5, 12.25, 14]),
        ("code-aware", [2, 6, 12, 26]),
        ("never", []),
    ],
)
def test_a_schedule_charges_on_its_days(name: str, days: list[float]) -> None:
    assert days_of(preset(name)) == days


def test_pay_days_are_the_common_ones_at_nine_local_time() -> None:
    made = plan(a_case(), preset("payday"), now=NOW, seed=1)
    assert [attempt.at.strftime("%m-%d %H:%M") for attempt in made.attempts[:5]] == [
        "02-06 08:00",
        "02-13 08:00",
        "02-15 08:00",
        "02-20 08:00",
        "02-27 08:00",
    ]


def test_advice_is_followed_when_there_is_any() -> None:
    card = (Method("pm_1", "card", "mastercard", "debit", "DE"),)
    advised = a_case(methods=card, decline=Decline("insufficient_funds", "51", "26"))
    assert days_of(preset("advice-following"), advised)[0] == 2
    assert days_of(preset("advice-following"))[0] == 3


def test_a_random_schedule_is_the_same_for_the_same_case_and_differs_between_cases() -> None:
    assert days_of(preset("random")) == days_of(preset("random"))
    assert days_of(preset("random")) != days_of(preset("random"), a_case(invoice_id="in_2"))


def test_an_outage_ladder_comes_before_the_schedule() -> None:
    outage = a_case("91", "issuer_not_available")
    hours = [day * 24 for day in days_of(preset("code-aware"), outage)]
    assert hours[:3] == pytest.approx([1, 4, 12], abs=0.5)


def test_a_hard_decline_stops_every_policy() -> None:
    for name in NAMES:
        made = plan(a_case("41", "lost_card"), preset(name), now=NOW, seed=1)
        assert made.attempts == ()
        assert made.stop


VALID = {"name": "mine", "version": 1, "kind": "fixed", "attempts_max": 3, "days": [1, 5, 9]}


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        ({"kind": "guess"}, "kind", "one of"),
        ({"version": 0}, "version", ">= 1"),
        ({"version": "1"}, "version", "whole number"),
        ({"attempts_max": 21}, "attempts_max", "Visa allows 20"),
        ({"attempts_max": True}, "attempts_max", "whole number"),
        ({"days": []}, "days", "kind 'fixed' needs"),
        ({"days": [5, 3]}, "days[1]", "grow"),
        ({"days": [1, 45]}, "days[1]", "past the horizon"),
        ({"days": [float("nan")]}, "days[0]", "finite"),
        ({"days": "1"}, "days", "list"),
        ({"horizon_days": 90}, "horizon_days", "60"),
        ({"typo": 1}, "typo", "no field"),
        ({"kind": "payday"}, "pay_days", "needs"),
        ({"kind": "payday", "pay_days": ["freitag"]}, "pay_days[0]", "monday"),
        ({"kind": "payday", "pay_days": [32]}, "pay_days[0]", "0..31"),
        ({"kind": "uniform", "every_hours": 0.1}, "every_hours", ">= 1"),
        ({"kind": "code_aware", "ladders": {"outage": [1]}}, "ladders.default", "missing"),
        ({"kind": "smart", "exploration": 0.9}, "exploration", "0.2"),
        ({"when": {"amount_from": 5}}, "when.currency", "amount"),
        ({"when": {"colour": ["red"]}}, "when.colour", "no field"),
        ({"when": {"currency": "USD", "amount_from": 9, "amount_to": 5}}, "when.amount_to", "below"),
        ({"holdout": {"share": 0.9, "policy": "payday"}}, "holdout.share", "0.5"),
        ({"holdout": {"share": 0.1}}, "holdout", "share and policy"),
        ({"outage_ladder_hours": [4, 1]}, "outage_ladder_hours[1]", "grow"),
    ],
)
def test_a_broken_document_is_refused_with_the_rule(change: dict[str, object], path: str, rule: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        policy_of({**VALID, **change})
    assert caught.value.path == path
    assert rule in caught.value.rule


@pytest.mark.parametrize("text", ["- a list", "{unclosed: [", "", "just text"])
def test_what_is_no_mapping_is_no_policy(text: str) -> None:
    with pytest.raises(PolicyInvalid, match="document"):
        parse(text)


@pytest.mark.parametrize("missing", ["name", "version", "kind"])
def test_a_document_needs_a_name_a_version_and_a_kind(missing: str) -> None:
    with pytest.raises(PolicyInvalid, match=f"{missing}: is missing"):
        policy_of({name: value for name, value in VALID.items() if name != missing})


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(PolicyInvalid, match="uniform-8"):
        preset("best-ever")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.05, 29.9), min_size=1, max_size=12, unique=True).map(sorted), st.integers(1, 12))
def test_any_valid_fixed_schedule_is_planned_as_written(days: list[float], most: int) -> None:
    policy = policy_of({**VALID, "days": days, "attempts_max": most})
    made = plan(a_case(), policy, now=NOW, seed=1)
    allowed = [FAILED + timedelta(days=day) for day in days][:most]
    assert [attempt.at for attempt in made.attempts] == allowed


def test_the_narrowest_fitting_policy_is_selected() -> None:
    wide = policy_of({**VALID, "name": "wide", "when": {"tenants": ["ten_1"]}})
    narrow = policy_of(
        {**VALID, "name": "narrow", "when": {"tenants": ["ten_1"], "currency": "USD", "amount_from": 1000}}
    )
    other = policy_of({**VALID, "name": "other", "when": {"countries": ["FR"], "gateways": ["adyen"]}})
    default = preset("payday")
    assert select([wide, narrow, other], a_case(), default).name == "narrow"
    assert select([wide, narrow, other], a_case(amount_minor=900), default).name == "wide"
    assert select([other], a_case(), default) is default
    assert select([wide], a_case(tenant_id="ten_2"), default) is default


def test_a_diff_names_every_field_that_changed() -> None:
    before = policy_of(VALID)
    after = policy_of({**VALID, "version": 2, "days": [1, 5, 10], "when": {"plans": ["gold"]}})
    assert [(change.path, change.before, change.after) for change in diff(before, after)] == [
        ("days", [1.0, 5.0, 9.0], [1.0, 5.0, 10.0]),
        ("version", 1, 2),
        ("when.plans", [], ["gold"]),
    ]
    assert diff(before, before) == ()


def test_a_dry_run_tells_what_would_change_for_open_cases() -> None:
    cases = [a_case(case_id=f"rec_{number}") for number in range(3)] + [a_case("41", "lost_card", case_id="rec_dead")]
    run = dry_run(cases, preset("uniform-8"), preset("never"), now=NOW)
    assert run.totals() == {
        "cases": 4,
        "moved": 3,
        "stopped": 3,
        "revived": 0,
        "charges_before": 24,
        "charges_after": 0,
    }
    same = dry_run(cases, preset("killbill"), preset("killbill"), now=NOW)
    assert same.totals()["moved"] == 0
