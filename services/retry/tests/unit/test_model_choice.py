"""Which model plans: a promoted file, the shipped one, or none; and what a decision of the past is made again by."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from dunwell_kit.settings import Environment
from dunwell_retry.decide.choice import by_smart, planned, shadowed
from dunwell_retry.decide.inputs import replayed
from dunwell_retry.decide.outputs import Planned
from dunwell_retry.decide.planning import replan
from dunwell_retry.decide.trial import LoggedChoice, evaluated, tried
from dunwell_retry.governing import PolicyRefused, checked
from dunwell_retry.machines.case import CaseState
from dunwell_retry.main import policy_from
from dunwell_retry.model import Assignment, Case, Decline, Governing, Method, Place, Plan, Situation, plan_document
from dunwell_retry.planners import planner, planners
from dunwell_retry.planning.parameters import Model, ModelUnusable, parse, shipped
from dunwell_retry.policies import Policy, policy_of, preset
from dunwell_retry.policies.admission import admitted, parse_admitted
from dunwell_retry.policies.models import Missing, ModelMissing, Models, admitted_model, name_of, unusable
from dunwell_retry.policy import RetryPolicy
from dunwell_retry.rules import allow
from dunwell_retry.rules.model import Initiator, PastAttempt

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
POOR = Decline("insufficient_funds", "51", "", "no funds", "insufficient_funds", "edition")
VISA = Method("pm_1", "card", "visa", "debit", "US", "fp_1", 5, 2029)
NOTHING_SET = Governing()
SMART = {"name": "own", "version": 1, "kind": "smart", "attempts_max": 5}


def raw(edition: str = "acme-1") -> dict[str, Any]:
    """Return the content of a model file that is not the shipped one: most cards here are out of line, not of pay."""
    found: dict[str, Any] = json.loads(json.dumps(dict(shipped().raw)))
    found["edition"] = edition
    found["prior"]["debit"] = [0.02, 0.62, 0.04, 0.05, 0.05, 0.02, 0.10, 0.06, 0.02, 0.02]
    return found


def fitted(edition: str = "acme-1", **changes: Any) -> Model:
    return admitted_model(json.dumps({**raw(edition), **changes}))


ACME = fitted()
PROMOTED = Models(ACME)
BROKEN = unusable("acme.json: No such file")


def service(models: Models | None = None, name: str = "smart") -> RetryPolicy:
    models = models or Models()
    return RetryPolicy(
        planners=planners("US", models), main_policy=name, holdout_policy="smart", holdout_share=0.0, experiment="e",
        gate=allow, classify=lambda decline, *_: decline, idempotency_secret=b"s", merchant_country="US", models=models,
    )  # fmt: skip


def seen(governing: Governing = NOTHING_SET, **changes: Any) -> Situation:
    case = Case(
        "rec_1", Place("t", "stripe", "acct", "cus_1", "in_1"), "t:cus_1", "USD", 2000, CaseState.WAITING, AT, AT, POOR,
        VISA, Assignment(policy="smart"),
    )  # fmt: skip
    failure = PastAttempt(
        AT, "in_1", 2000, "USD", Initiator.MERCHANT, "pm_1", False, "fp_1", "pm_1", network_code="51",
        gateway_code="insufficient_funds",
    )  # fmt: skip
    return Situation(replace(case, **changes), (failure,), (VISA,), (), governing)


def decided(policy: RetryPolicy, governing: Governing = NOTHING_SET, **changes: Any) -> tuple[Plan, Planned]:
    made = replan(seen(governing, **changes), policy, now=AT, cause="c")
    (told,) = [output for output in made.outputs if isinstance(output, Planned)]
    assert made.case.plan is not None
    return made.case.plan, told


def edition_of(plan: Plan) -> str | None:
    found: str | None = plan.explanation["model_edition"]
    return found


# Which files may plan.


def test_a_file_with_other_numbers_and_the_shipped_file_itself_may_plan() -> None:
    assert ACME.edition == "acme-1"
    assert name_of(admitted_model(json.dumps(dict(shipped().raw)))) == name_of(shipped())
    assert admitted_model(json.dumps(raw()), "acme-1").edition == "acme-1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(schema=2), "schema 1"),
        (lambda m: m.pop("prior"), "prior"),
        (lambda m: m.pop("line"), "line: is missing"),
        (lambda m: m["risk"].pop("repeat"), r"risk\.repeat: is missing"),
        (lambda m: m["funds"].update(open=1.5), r"funds\.open: is a chance"),
        (lambda m: m["risk"].update(levels=[3.0] * 6), r"risk\.levels: is a chance"),
        (lambda m: m["outage"].update(shut=-0.1), r"outage\.shut: must be a number of at least 0"),
        (lambda m: m["limit"].update(midnight=True), r"limit\.midnight: must be a number"),
        (lambda m: m["prior"].update(debit=[1.0]), r"prior\.debit: must be a list of 10"),
        (lambda m: m["expired"].update(weights=[0.1]), r"expired\.weights: must be a list of 5"),
        (lambda m: m["funds"].update(open=float("nan")), "NaN"),
        (lambda m: m["costs"].update(attempt_minor_usd=float("inf")), "Infinity"),
        (lambda m: m["costs"].update(delay_per_day=1e300), "no charge for any usual case"),
        (lambda m: m.update(edition=""), "edition: must be"),
        (lambda m: m.update(edition="a b"), "edition: must be"),
        (lambda m: m.update(edition=5), "edition: must be"),
        (lambda m: m.update(edition=shipped().edition), "the shipped model's, and the numbers are others"),
    ],
)
def test_a_file_that_cannot_plan_or_bears_another_models_name_is_refused_with_the_place(
    change: Callable[[dict[str, Any]], object], said: str
) -> None:
    content = raw()
    change(content)
    with pytest.raises(ModelUnusable, match=said):
        admitted_model(json.dumps(content))


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"schema": 1, "schema": 1}', "[" * 100_000, " " * 1_000_001, "\x00"]
)
def test_a_text_that_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ModelUnusable):
        admitted_model(text)


def test_a_file_of_another_edition_than_the_expected_one_is_refused() -> None:
    with pytest.raises(ModelUnusable, match="edition 'acme-1' is not the expected 'acme-2'"):
        admitted_model(json.dumps(raw()), "acme-2")


# Who plans.


def wanting(edition: str | None) -> Policy:
    return policy_of({**SMART, "model_edition": edition})


def test_the_promoted_model_plans_where_a_document_does_not_ask_for_another() -> None:
    assert Models().of(wanting(None)) == (shipped(), "")
    assert PROMOTED.of(wanting(None)) == (ACME, "")
    assert PROMOTED.of(wanting("acme-1")) == (ACME, "")
    assert PROMOTED.of(wanting(shipped().edition)) == (shipped(), "")
    assert PROMOTED.editions() == ("acme-1", shipped().edition)


def test_a_model_that_is_not_here_is_never_replaced_by_another() -> None:
    model, why = PROMOTED.of(wanting("acme-0"))
    assert (model, "asks for model 'acme-0', here is 'acme-1' and 'stated" in why) == (None, True)
    assert BROKEN.of(wanting(None)) == (None, "model not usable (acme.json: No such file)")
    model, why = BROKEN.of(wanting("acme-1"))
    assert (model, why.endswith("acme.json: No such file")) == (None, True)
    assert BROKEN.of(wanting(shipped().edition)) == (shipped(), "")


def test_every_way_to_a_plan_of_smart_takes_the_promoted_model_and_names_its_edition() -> None:
    service_plan, told = decided(service(PROMOTED))
    before, _ = decided(service())
    assert (edition_of(service_plan), edition_of(before)) == ("acme-1", shipped().edition)
    assert [a.score for a in service_plan.attempts] != [a.score for a in before.attempts]
    assert told.inputs["models"] == {"shipped": name_of(shipped()), "promoted": name_of(ACME)}
    own = policy_of(SMART)
    assert edition_of(planned(seen(Governing((own,))), service(PROMOTED), AT)) == "acme-1"
    held = seen(assignment=Assignment("e", 1, "holdout", 0.1, "smart"))
    assert edition_of(planned(held, service(PROMOTED, "payday"), AT)) == "acme-1"
    by_document = policy_of({**SMART, "kind": "fixed", "days": [3], "holdout": {"share": 0.5, "policy": "smart"}})
    arms = [
        planned(seen(Governing((by_document,)), place=Place("t", "stripe", "a", f"cus_{n}", "in_1")), service(PROMOTED), AT)
        for n in range(20)
    ]  # fmt: skip
    assert {(plan.policy, edition_of(plan)) for plan in arms} == {("own@1", None), ("smart@1", "acme-1")}
    situation = seen(Governing((), shadow=preset("smart")))
    beside = shadowed(situation, planned(situation, service(PROMOTED), AT), service(PROMOTED), AT)
    assert beside is not None
    assert (beside["verdict"], beside["model_edition"]) == ("same", "acme-1")
    armed = seen(plan=before)
    assert tried(armed, own, service(PROMOTED), now=AT)["model_then"] == "acme-1"
    assert tried(armed, own, service(), now=AT)["model_then"] == shipped().edition
    assert tried(armed, own, service(), now=AT, models=PROMOTED)["model_then"] == "acme-1"


def test_an_estimate_says_by_which_model_it_was_made() -> None:
    plan, told = decided(service())
    first = plan.attempts[0]
    row = LoggedChoice("rec_1", "pm_1", first.at, first.at, 0.5, None, True, told.inputs)
    assert evaluated([row], preset("smart"))["model"] == shipped().edition
    assert evaluated([row], preset("smart"), models=PROMOTED)["model"] == "acme-1"
    assert evaluated([row], preset("smart"), models=BROKEN)["model"].startswith("model not usable")
    assert evaluated([row], preset("payday"), models=PROMOTED)["model"] == ""


# When the configured model may not plan.


@pytest.mark.parametrize(("models", "edition"), [(BROKEN, None), (PROMOTED, "acme-0")])
def test_smart_without_its_model_plans_by_pay_days_within_its_bounds_and_says_why(
    models: Models, edition: str | None
) -> None:
    document = policy_of({**SMART, "attempts_max": 3, "model_edition": edition})
    plan, _ = decided(service(models), Governing((document,)))
    by_payday = planner(replace(preset("payday"), attempts_max=3))(seen(), AT)
    assert [a.at for a in plan.attempts] == [a.at for a in by_payday.attempts]
    assert plan.rule == "retry.model_unusable"
    _, why = models.of(document)
    assert plan.why.startswith(f"{why}: pay days are used instead.")
    assert plan.explanation["notes"] == [f"{why}: planned by the pay-day rule instead"]
    assert (edition_of(plan), plan.policy, by_smart(plan)) == (None, "own@1", False)


def test_a_broken_file_changes_nothing_for_policies_without_a_model_nor_for_a_payer_who_put_it_right() -> None:
    mine = policy_of({"name": "mine", "version": 1, "kind": "fixed", "attempts_max": 2, "days": [2, 4]})
    plan, _ = decided(service(BROKEN), Governing((mine,)))
    assert (plan.rule, plan.explanation["notes"]) == ("retry.policy.mine", [])
    fixed, _ = decided(service(BROKEN), fixed_at=AT, payer_fixed=True)
    assert fixed.rule == "retry.payer_fixed"


def test_the_off_switch_says_so_also_where_the_model_is_unusable() -> None:
    plan, _ = decided(service(BROKEN), Governing(smart_off="smart is switched off by ada"))
    assert plan.rule == "retry.smart_off"


# Made again.


@pytest.mark.parametrize(
    "models", [Models(), PROMOTED, BROKEN, Models(ACME, "acme.json: no"), unusable("edition 'x' is not 'y'")]
)
@pytest.mark.parametrize(
    "document", [SMART, {**SMART, "model_edition": "stated-2026.11"}, {**SMART, "model_edition": "acme-1"}]
)
@pytest.mark.parametrize("later", [Models(), PROMOTED, BROKEN])
def test_a_decision_is_made_again_under_any_later_model_when_the_one_of_then_is_given(
    models: Models, document: dict[str, Any], later: Models
) -> None:
    plan, told = decided(service(models), Governing((policy_of(document),)))
    kept = json.loads(json.dumps(told.inputs))
    assert plan_document(replayed(kept, service(later), [ACME])) == plan_document(plan)


def test_a_decision_by_a_model_that_is_gone_is_not_made_again_by_another() -> None:
    plan, told = decided(service(PROMOTED))
    again = fitted("acme-1", persistence=0.5)
    for policy, files in ((service(), []), (service(BROKEN), []), (service(Models(again)), []), (service(), [again])):
        with pytest.raises(ModelMissing, match=f"made by model '{name_of(ACME)}', which is not here"):
            replayed(told.inputs, policy, files)
    assert plan_document(replayed(told.inputs, service(Models(fitted("acme-2"))), [ACME])) == plan_document(plan)


def test_a_decision_by_a_shipped_model_of_before_needs_that_model() -> None:
    before = admitted_model(json.dumps(raw("stated-2025.01")))
    _, told = decided(service())
    kept = {**told.inputs, "models": {"shipped": name_of(before)}}
    with pytest.raises(ModelMissing, match=r"stated-2025\.01#"):
        replayed(kept, service())
    assert edition_of(replayed(kept, service(), [before])) == "stated-2025.01"
    payday, told = decided(service(name="payday"), assignment=Assignment(policy="payday"))
    kept = {**told.inputs, "models": {"shipped": name_of(before)}}
    assert plan_document(replayed(kept, service(name="payday"))) == plan_document(payday)


def test_what_was_kept_before_models_could_be_promoted_was_planned_by_the_shipped_one() -> None:
    plan, told = decided(service())
    old = {name: value for name, value in told.inputs.items() if name != "models"}
    assert plan_document(replayed(old, service(PROMOTED))) == plan_document(plan)


def test_a_model_is_named_by_its_content_and_a_missing_one_by_what_was_kept() -> None:
    assert name_of(parse(json.dumps(raw(), indent=3))) == name_of(ACME)
    assert name_of(fitted("acme-1", persistence=0.5)) != name_of(ACME)
    assert name_of(Missing("a", "a#1")) == "a#1"


# Documents.


def test_a_document_may_ask_for_the_promoted_and_for_the_shipped_edition_and_for_no_other() -> None:
    for edition in ("acme-1", shipped().edition):
        asked = {**SMART, "model_edition": edition}
        assert checked(asked, PROMOTED).model_edition == edition
        assert parse_admitted(json.dumps(asked), (), ["acme-1"]).model_edition == edition
    with pytest.raises(PolicyRefused, match=r"'stated-2026\.11' ships, 'acme-1' is promoted"):
        checked({**SMART, "model_edition": "acme-0"}, PROMOTED)
    for models in (Models(), BROKEN):
        with pytest.raises(PolicyRefused, match="model_edition"):
            checked({**SMART, "model_edition": "acme-1"}, models)
    assert admitted(policy_of(SMART), ["acme-1"]).model_edition is None


# The setting.


def started(tmp_path: Path, content: str | bytes | None, **more: str) -> tuple[RetryPolicy, list[Any]]:
    file = tmp_path / "acme.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    variables = {"DUNWELL_RETRY_SECRET": "s", "DUNWELL_RETRY_MODEL_FILE": str(file)}
    environment = Environment({**variables, **more})
    with capture_logs() as logs:
        policy = policy_from(environment)
    environment.check()
    return policy, logs


def metric(edition: str) -> float | None:
    """What operations see of one edition; None = nothing."""
    return REGISTRY.get_sample_value("dunwell_retry_model_usable", {"edition": edition})


def test_a_start_with_a_file_plans_by_it_and_says_so(tmp_path: Path) -> None:
    policy, logs = started(tmp_path, json.dumps(raw()), DUNWELL_RETRY_MODEL_EDITION="acme-1")
    assert policy.models.told() == {
        "edition": "acme-1", "source": "promoted", "unusable": "", "editions": ["acme-1", shipped().edition],
    }  # fmt: skip
    assert [(line["log_level"], line["event"], line["how"]) for line in logs] == [
        ("info", "promoted model plans", "acme-1")
    ]
    assert edition_of(policy.planners["smart"](seen(), AT)) == "acme-1"
    assert metric("acme-1") == 1


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (None, {}, "No such file"),
        ("", {}, "not JSON"),
        (b"\xff\xfe", {}, "utf-8"),
        (json.dumps({**raw(), "schema": 99}), {}, "schema 1"),
        (json.dumps(raw()), {"DUNWELL_RETRY_MODEL_EDITION": "acme-2"}, "not the expected 'acme-2'"),
        (json.dumps(raw()), {"DUNWELL_RETRY_MODEL_FILE": "/"}, "directory"),
        (None, {"DUNWELL_RETRY_MODEL_FILE": "", "DUNWELL_RETRY_MODEL_EDITION": "acme-1"}, "not the expected 'acme-1'"),
        (None, {"DUNWELL_RETRY_MODEL_FILE": "a\x00b"}, "null"),
    ],
)
def test_a_start_with_a_file_that_is_not_usable_goes_on_by_pay_days_and_says_why(
    tmp_path: Path, content: str | bytes | None, more: dict[str, str], said: str
) -> None:
    policy, logs = started(tmp_path, content, **more)
    assert said in policy.models.unusable
    assert "\n" not in policy.models.unusable and len(policy.models.unusable) <= 200
    (line,) = logs
    assert (line["log_level"], line["reason"]) == ("error", policy.models.unusable)
    assert line["event"] == "model not usable: smart plans by pay days until the next start"
    told = policy.models.told()
    assert (told["edition"], told["source"], told["editions"]) == (None, "none", [shipped().edition])
    plan = policy.planners["smart"](seen(), AT)
    assert (plan.rule, edition_of(plan), said in plan.why) == ("retry.model_unusable", None, True)
    assert metric("") == 0


@pytest.mark.parametrize("edition", ["", shipped().edition])
def test_a_start_without_a_file_plans_by_the_shipped_model(tmp_path: Path, edition: str) -> None:
    more = {"DUNWELL_RETRY_MODEL_FILE": " ", "DUNWELL_RETRY_MODEL_EDITION": edition}
    policy, logs = started(tmp_path, None, **more)
    assert (policy.models, logs) == (Models(), [])
    assert policy.models.told()["source"] == "shipped"
