"""The back-test: paired, honest, and refusing what it cannot know."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dunwell_retry.backtest import run_backtest
from dunwell_retry.backtest.cases import case_of
from dunwell_retry.backtest.command import app
from dunwell_retry.backtest.docs import write_reference
from dunwell_retry.backtest.html import page
from dunwell_retry.backtest.loading import WorldUnknown, factory_of, open_world
from dunwell_retry.backtest.runner import Attempt, Settings, run_policy
from dunwell_retry.backtest.statistics import DIFFERING_MIN, PAIRS_MIN, enough, interval
from dunwell_retry.backtest.violations import judged
from dunwell_retry.planning.card import model_card
from dunwell_retry.planning.logged import Logged, dumps, loads
from dunwell_retry.planning.model import CaseInvalid, Sent
from dunwell_retry.planning.offpolicy import Choice, doubly_robust, inverse_propensity
from dunwell_retry.planning.parameters import parse, shipped
from dunwell_retry.policies import PolicyInvalid, preset
from dunwell_worlds.base import make
from dunwell_worlds.protocol import Decline, FailedInvoice
from dunwell_worlds.validate import ValidatedWorld, WorldBroken

pytestmark = pytest.mark.simulation
INVOICES, SEED = 300, 5


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return run_backtest("base", ["smart", "daily-20", "never"], ["uniform-8", "payday"], invoices=INVOICES, seed=SEED)


def test_the_report_has_the_promised_shape(report: dict[str, Any]) -> None:
    assert {"world", "seed", "invoices", "policies", "differences"} <= set(report)
    promised = {
        "recovered_rate", "recovered_value_rate", "attempts_per_invoice", "attempts_per_recovery", "median_days",
        "violations", "fees_minor_usd", "attempts",
    }  # fmt: skip
    for entry in report["policies"].values():
        assert promised <= set(entry)
        for attempt in entry["attempts"]:
            assert set(attempt) == {"invoice_id", "at", "instrument_id", "route", "initiator", "approved"}
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize("name", ["smart", "uniform-8", "daily-20"])
def test_anyone_can_check_every_charge_against_the_world(report: dict[str, Any], name: str) -> None:
    world, entry = make(SEED, INVOICES), report["policies"][name]
    won = set()
    for attempt in entry["attempts"]:
        at = datetime.fromisoformat(attempt["at"])
        result = world.attempt(
            attempt["invoice_id"], at, attempt["instrument_id"], attempt["route"], attempt["initiator"]
        )
        assert result.approved == attempt["approved"]
        if result.approved:
            won.add(attempt["invoice_id"])
    assert entry["recovered_rate"] == pytest.approx(len(won) / INVOICES)
    assert entry["attempts_per_invoice"] == pytest.approx(len(entry["attempts"]) / INVOICES)


def test_no_policy_breaks_a_rule(report: dict[str, Any]) -> None:
    assert all(entry["violations"] == 0 for entry in report["policies"].values())


@pytest.mark.parametrize(
    ("network", "code", "hours", "never", "over"),
    [
        ("visa", "51", range(24, 24 * 9, 24), 0, 0),
        ("visa", "14", (24, 48, 72), 2, 0),
        ("visa", "51", range(24, 24 * 25, 24), 0, 4),
        ("mastercard", "14", (24, 48), 0, 0),
        ("mastercard", "51", range(1, 13), 0, 3),
        ("ach", "R02", (24, 48), 2, 0),
        ("ach", "R01", (24, 48, 72, 96), 0, 2),
    ],
)
def test_the_referee_counts_what_no_rule_allows(
    network: str, code: str, hours: Sequence[int], never: int, over: int
) -> None:
    invoice = make(1, 1).failures()[0]
    card = replace(invoice.instruments[0], network=network)
    first = Decline(None, "R02" if code == "R02" else "R01" if network == "ach" else "05", None, None)
    charges = [
        Attempt(invoice.failed_at + timedelta(hours=hour), card.instrument_id, "stripe", "merchant", False, None, 6)
        for hour in hours
    ]
    asked = replace(invoice, instruments=(card,), decline=first)
    declines = [Decline(None, code, None, None)] * len(charges)
    assert judged(asked, charges, declines) == (never, over)
    # One that was approved has no decline.
    assert judged(asked, charges, declines[:-1]) == (never, over)


def test_a_policy_does_the_same_whatever_was_run_before_it() -> None:
    first = run_backtest("base", ["uniform-8", "payday"], invoices=60, seed=3)
    last = run_backtest("base", ["payday", "uniform-8"], invoices=60, seed=3)
    assert first["policies"] == last["policies"]
    assert first["oracle_bound"] == last["oracle_bound"]
    alone = run_backtest("base", [], invoices=60, seed=3)
    assert alone["policies"] == {}
    assert alone["oracle_bound"]["recovered_rate"] == first["oracle_bound"]["recovered_rate"]


def test_the_bound_lies_above_every_policy(report: dict[str, Any]) -> None:
    # A third of a point is what the bound gives away by skipping charges below one in twenty.
    best = max(entry["recovered_rate"] for entry in report["policies"].values())
    assert report["oracle_bound"]["recovered_rate"] >= best - 0.02
    assert report["oracle_bound"]["attempts_per_invoice"] < 2


def test_never_recovers_nothing_and_costs_nothing(report: dict[str, Any]) -> None:
    entry = report["policies"]["never"]
    assert entry["recovered_rate"] == 0
    assert entry["fees_minor_usd"] == 0
    assert entry["attempts"] == []


def test_differences_are_paired_and_signed(report: dict[str, Any]) -> None:
    pair = report["differences"]["smart - uniform-8"]
    smart, uniform = (report["policies"][name]["recovered_rate"] for name in ("smart", "uniform-8"))
    assert pair["recovered_rate"]["mean"] == pytest.approx(smart - uniform, abs=1e-5)
    assert pair["recovered_rate"]["low"] <= pair["recovered_rate"]["mean"] <= pair["recovered_rate"]["high"]
    assert (pair["only_policy"] - pair["only_baseline"]) / INVOICES == pytest.approx(smart - uniform, abs=1e-5)


def test_the_same_seed_gives_the_same_report() -> None:
    once, again = (run_backtest("base", ["smart"], ["payday"], invoices=60, seed=SEED, oracle=False) for _ in range(2))
    assert again["policies"]["smart"] == once["policies"]["smart"]


@pytest.mark.simulation
def test_smart_beats_its_baselines_with_no_more_charges() -> None:
    report = run_backtest(
        "base", ["smart"], ["uniform-8", "payday"], invoices=1500, seed=21, oracle=False, attempts=False
    )
    smart, uniform = report["policies"]["smart"], report["policies"]["uniform-8"]
    assert smart["recovered_rate"] >= uniform["recovered_rate"] + 0.03
    assert smart["recovered_rate"] >= report["policies"]["payday"]["recovered_rate"] + 0.01
    assert smart["attempts_per_invoice"] <= uniform["attempts_per_invoice"]


@pytest.mark.simulation
@pytest.mark.parametrize("world", ["stress_05share", "stress_nocalendar", "stress_night", "stress_outages", "foreign"])
def test_smart_holds_where_its_assumptions_fail(world: str) -> None:
    report = run_backtest(
        world, ["smart"], ["uniform-8", "payday"], invoices=500, seed=22, oracle=False, attempts=False
    )
    rates = {name: entry["recovered_rate"] for name, entry in report["policies"].items()}
    assert rates["smart"] >= rates["uniform-8"]
    assert rates["smart"] >= rates["payday"]
    assert report["policies"]["smart"]["violations"] == 0


def test_several_processes_give_the_same_outcome() -> None:
    alone = run_backtest("base", ["uniform-8"], invoices=120, seed=2, oracle=False)
    spread = run_backtest("base", ["uniform-8"], invoices=120, seed=2, oracle=False, jobs=2)
    assert alone == spread


def test_messages_add_payers_own_payments_and_count_contacts() -> None:
    mails = run_backtest("base", ["uniform-8"], invoices=400, seed=2, oracle=False, settings=Settings(emails=True))
    entry = mails["policies"]["uniform-8"]
    assert entry["contacts"] > 0
    assert entry["kept_rate"] > entry["recovered_rate"]
    assert entry["paid_by_payer_rate"] > 0


def test_an_attempt_limit_in_the_name_is_kept() -> None:
    report = run_backtest("base", ["smart@3"], invoices=200, seed=3, oracle=False)
    counts: dict[str, int] = {}
    for attempt in report["policies"]["smart@3"]["attempts"]:
        counts[attempt["invoice_id"]] = counts.get(attempt["invoice_id"], 0) + 1
    assert max(counts.values()) <= 3


@pytest.mark.parametrize(
    ("world", "error", "text"),
    [
        ("nowhere", WorldUnknown, "module:factory"),
        ("no.such.module:make", WorldUnknown, "cannot import"),
        ("dunwell_worlds.base:build", WorldUnknown, "no factory"),
        ("history:missing.jsonl", WorldUnknown, "no file"),
        ("dunwell_worlds.zones:offset_seconds", WorldBroken, "factory must take"),
    ],
)
def test_a_world_that_is_none_is_named(world: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run_backtest(world, ["never"], invoices=3)


class _Wrong:
    """A world whose failures are whatever it is given."""

    name, horizon = "wrong", timedelta(days=30)

    def __init__(self, found: Any) -> None:
        self._found, self._base = found, make(1, 4)
        self.attempt, self.deliver, self.payer_actions = (
            self._base.attempt,
            self._base.deliver,
            self._base.payer_actions,
        )

    def failures(self) -> Any:
        return self._found(list(self._base.failures()))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (lambda right: None, "failures must return a sequence, not NoneType"),
        (lambda right: iter(right), "failures must return a sequence"),
        (lambda right: ["x"], "failure 0: str has no invoice_id, payer_id"),
        (lambda right: [*right, right[1]], "its id was given to another invoice before"),
        (lambda right: [replace(right[0], amount_minor=0)], "amount_minor must be an int > 0"),
        (lambda right: [replace(right[0], timezone="Mars/North")], "unknown time zone"),
        (lambda right: [replace(right[0], failed_at=datetime(2026, 1, 1))], "failed_at must be aware UTC"),  # noqa: DTZ001
        (lambda right: [replace(right[0], history=right[0].history[::-1])], "history is not in time order"),
    ],
)
def test_a_world_that_breaks_the_protocol_is_told_where(found: Callable[[list[FailedInvoice]], Any], text: str) -> None:
    with pytest.raises(WorldBroken, match=text):
        run_policy(ValidatedWorld(_Wrong(found)), preset("uniform-8"))


def test_an_invoice_that_is_read_twice_is_the_same_invoice() -> None:
    world = ValidatedWorld(make(2, 5))
    assert list(world.failures()) == list(world.failures())
    assert world.failures()[1:4][1] == world.failures()[2]


def test_two_policies_of_one_name_are_refused_and_the_same_one_twice_is_one() -> None:
    other = replace(preset("uniform-8"), attempts_max=2)
    with pytest.raises(PolicyInvalid, match="two different policies are called 'uniform-8'"):
        run_backtest("base", ["uniform-8"], [other], invoices=1)
    assert list(run_backtest("base", ["never"], ["never"], invoices=1)["policies"]) == ["never"]


def test_an_unknown_policy_or_no_invoices_is_refused() -> None:
    with pytest.raises(PolicyInvalid, match="known"):
        run_backtest("base", ["clever"], invoices=3)
    with pytest.raises(PolicyInvalid, match="number of attempts"):
        run_backtest("base", ["smart@many"], invoices=3)
    with pytest.raises(ValueError, match="1 or more"):
        run_backtest("base", ["never"], invoices=0)


def told(decline: Decline | None) -> dict[str, str | None] | None:
    return None if decline is None else dict(vars(decline))


def log_of(invoice: FailedInvoice, attempts: list[dict[str, object]]) -> str:
    row = {
        **{name: value for name, value in vars(invoice).items() if isinstance(value, str | int)},
        "due_at": invoice.due_at.isoformat(),
        "failed_at": invoice.failed_at.isoformat(),
        "routes": list(invoice.routes),
        "decline": told(invoice.decline),
        "instruments": [dict(vars(card)) for card in invoice.instruments],
        "history": [
            {**asdict(past), "at": past.at.isoformat(), "decline": told(past.decline)} for past in invoice.history
        ],
        "attempts": attempts,
    }
    return json.dumps(row) + "\n"


def test_a_log_is_replayed_and_what_it_does_not_know_is_no_gain(tmp_path: Path) -> None:
    outcomes = run_policy(open_world(make, 3, 200), preset("uniform-8"))
    world, lines = make(3, 200), []
    for invoice, outcome in zip(world.failures(), outcomes, strict=True):
        logged = []
        for sent in outcome.attempts:
            result = world.attempt(invoice.invoice_id, sent.at, sent.instrument_id, sent.route, sent.initiator)
            entry = {"at": sent.at.isoformat(), "instrument_id": sent.instrument_id, "route": sent.route}
            logged.append({**entry, "approved": result.approved, "decline": told(result.decline)})
        lines.append(log_of(invoice, logged))
    file = tmp_path / "log.jsonl"
    file.write_text("".join(lines))
    report = run_backtest(f"history:{file}", ["uniform-8", "killbill"], invoices=200, seed=1)
    won = sum(outcome.recovered_at is not None for outcome in outcomes) / 200
    assert report["policies"]["uniform-8"]["recovered_rate"] == pytest.approx(won)
    assert report["policies"]["killbill"]["recovered_rate"] < won


def test_a_broken_log_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"invoice_id": "x"}\n')
    with pytest.raises(WorldBroken, match="line 1"):
        run_backtest(f"history:{file}", ["never"], invoices=1)


def test_the_page_and_the_reference_show_every_policy(report: dict[str, Any], tmp_path: Path) -> None:
    text = page(report)
    assert text.count("<svg") >= 5
    assert "<script" not in text
    assert all(name in text for name in report["policies"])
    out = tmp_path / "docs" / "backtest.md"
    write_reference([report], out)
    assert all(f"| {name} |" in out.read_text() for name in report["policies"])
    assert "smart - payday" in out.read_text()


def test_the_command_writes_its_files_and_names_mistakes(tmp_path: Path) -> None:
    run = CliRunner().invoke
    json_file, html_file = tmp_path / "out.json", tmp_path / "out.html"
    done = run(
        app,
        ["backtest", "--world", "dunwell_worlds.base:make", "--policy", "killbill", "--policy", "never", "--baseline",
         "uniform-8", "--invoices", "60", "--seed", "4", "--json", str(json_file), "--html", str(html_file)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert set(json.loads(json_file.read_text())["policies"]) == {"killbill", "never", "uniform-8"}
    assert html_file.read_text().startswith("<!doctype html>")
    failed = run(app, ["backtest", "--world", "nowhere", "--invoices", "5"])
    assert failed.exit_code == 2


def test_an_interval_covers_the_truth_and_knows_significance() -> None:
    rng = np.random.default_rng(1)
    clear = interval(np.array([1.0] * 60 + [0.0] * 40), rng)
    assert clear["low"] < 0.6 < clear["high"]
    assert clear["significant"]
    assert not interval(np.array([1.0, -1.0] * 50), rng)["significant"]
    assert not interval(np.array([]), rng)["significant"]


@pytest.mark.parametrize(
    ("pairs", "differing", "claimed"), [(1, 1, False), (29, 29, False), (30, 5, False), (30, 6, True), (400, 5, False)]
)
def test_few_pairs_never_make_a_difference_significant(pairs: int, differing: int, claimed: bool) -> None:
    values = np.array([1.0] * differing + [0.0] * (pairs - differing))
    found = interval(values, np.random.default_rng(2))
    assert found["significant"] is claimed
    assert enough(pairs, differing) is claimed


def test_the_command_says_when_there_are_too_few_invoices_to_tell() -> None:
    done = CliRunner().invoke(
        app, ["backtest", "--policy", "uniform-8", "--baseline", "never", "--invoices", "1", "--no-oracle"]
    )
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "too few to tell (1 pairs," in text
    assert f"{PAIRS_MIN} pairs, {DIFFERING_MIN} of them unlike, are the least" in text
    assert "significant" not in text


def random_log(count: int, seed: int) -> list[Logged]:
    """Return what a random schedule logged on a world."""
    world = open_world(make, seed, count)
    outcomes = run_policy(world, preset("random"))
    rows = []
    for invoice, outcome in zip(make(seed, count).failures(), outcomes, strict=True):
        case = case_of(invoice, world.horizon)
        charges = tuple(
            Sent(entry.at, entry.instrument_id, entry.route, entry.approved, None if entry.approved else case.decline)
            for entry in outcome.attempts
        )
        rows.append(Logged(case, charges, (1.0,) * len(charges)))
    return rows


@pytest.mark.simulation
def test_a_fit_explains_the_log_better_and_moves_less_with_fewer_cases() -> None:
    # Loaded here: a unit run, which leaves this out, need not wait for the numerics.
    from dunwell_retry.planning.fit import fit

    log = random_log(100, 31)
    fitted = fit(log, shipped(), edition="test-1", strength=50)
    assert fitted.after > fitted.before
    model = parse(fitted.text)
    assert model.edition == "test-1"
    assert model.raw["fitted_on"]["cases"] == 100
    few = parse(fit(log[:20], shipped(), edition="test-2", strength=200).text)
    start = shipped().prior["credit"]
    assert abs(few.prior["credit"] - start).sum() < abs(model.prior["credit"] - start).sum()
    with pytest.raises(ValueError, match="needs cases"):
        fit([], shipped(), edition="none")


def test_logged_decisions_survive_their_file() -> None:
    rows = random_log(20, 7)
    again = loads(dumps(rows))
    assert dumps(again) == dumps(rows)
    assert [row.sent for row in again] == [row.sent for row in rows]
    with pytest.raises(CaseInvalid, match="line 1"):
        loads('{"case": {}}')
    with pytest.raises(CaseInvalid, match="propensities"):
        replace(rows[0], propensities=(2.0,) * len(rows[0].sent) if rows[0].sent else (1.0,))


@pytest.mark.parametrize("estimate", [inverse_propensity, doubly_robust], ids=["ips", "dr"])
def test_an_estimate_recovers_the_value_of_a_policy_that_never_ran(estimate: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    choices = []
    for _ in range(4000):
        arm = int(rng.integers(0, 2))
        reward = float(rng.random() < (0.2, 0.5)[arm])
        guess = (0.3, 0.4)
        choices.append(Choice(0.5, float(arm == 1), reward, guess[arm], guess[1]))
    found = estimate(choices, seed=1)
    assert found.low < 0.5 < found.high
    assert found.mean == pytest.approx(0.5, abs=0.04)
    assert found.effective_cases == pytest.approx(2000, rel=0.1)
    with pytest.raises(ValueError, match="no decisions"):
        estimate([], seed=1)


def test_a_model_card_tells_edition_use_and_measurements(report: dict[str, Any]) -> None:
    text = model_card(shipped(), [report])
    assert shipped().edition in text
    assert "Calibration" in text
    assert "| cycle |" in text


def test_a_shipped_world_has_a_short_name() -> None:
    assert factory_of("base") is make
