"""`dunwell backtest`: what it is given wrong is told in one line, before the run, with an exit status that is not 0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dunwell_retry.backtest import command
from dunwell_retry.backtest.loading import WorldUnknown, factory_of, open_world
from dunwell_retry.backtest.runner import run_policy
from dunwell_retry.policies.presets import preset
from dunwell_worlds.validate import WorldBroken


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command.app, ["backtest", "--invoices", "4", "--policy", "never", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    """Write a module that can be imported in this test, and return its factory's address."""
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    return f"{name}:make"


BASE = "from dunwell_worlds import base\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("odd_syntax", "def make(:\n", "cannot import 'odd_syntax': SyntaxError"),
        ("odd_import", "import no.such.module\n", "cannot import 'odd_import': ModuleNotFoundError"),
        ("odd_raise", "raise RuntimeError('no data')\n", "cannot import 'odd_raise': RuntimeError: no data"),
        ("odd_exit", "raise SystemExit(0)\n", "cannot import 'odd_exit': SystemExit"),
        ("odd_factory", "def make(seed, invoices):\n    return [][1]\n", "the factory failed: IndexError"),
        ("odd_takes", "def make(seed):\n    return None\n", "the factory must take (seed, invoices)"),
        ("odd_none", "def make(seed, invoices):\n    return None\n", "world NoneType: has no method 'failures'"),
        (
            "odd_short",
            BASE + "class Short(base.BaseWorld):\n"
            "    def failures(self):\n"
            "        whole = super().failures()\n"
            "        class Seq(list):\n"
            "            def __getitem__(self, at):\n"
            "                if at == 2: raise IndexError('lost')\n"
            "                return whole[at]\n"
            "        return Seq(range(len(whole)))\n"
            "def make(seed, invoices):\n    return Short(seed, invoices)\n",
            "failures()[2] raised IndexError: lost",
        ),
        (
            "odd_attempt",
            BASE + "class Odd(base.BaseWorld):\n"
            "    def payer_actions(self, *_):\n        return None\n"
            "def make(seed, invoices):\n    return Odd(seed, invoices)\n",
            "payer_actions must return a sequence",
        ),
        (
            "odd_money",
            BASE + "from dataclasses import replace\n"
            "class Odd(base.BaseWorld):\n"
            "    def failures(self):\n        return [replace(each, currency='XXQ') for each in super().failures()]\n"
            "def make(seed, invoices):\n    return Odd(seed, invoices)\n",
            "currency 'XXQ' is not in ISO 4217",
        ),
    ],
)
def test_a_broken_world_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    code, _, error = run("--world", written(tmp_path, monkeypatch, name, text), "--baseline", "uniform-8")
    lines = [line for line in error.splitlines() if line.strip()]
    assert (code, len(lines), said in lines[0]) == (2, 1, True), error


def test_an_index_error_in_a_world_does_not_end_the_run_as_if_that_were_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(list[object]):
        def __getitem__(self, at: object) -> object:
            raise IndexError("lost")

    world = open_world(factory_of("base"), 1, 4)
    monkeypatch.setattr(world, "inner", type("Odd", (), {"failures": staticmethod(lambda: Lost([1, 2, 3]))})())
    with pytest.raises(WorldBroken, match="IndexError: lost"):
        run_policy(world, preset("never"))


def test_a_world_that_has_fewer_or_more_than_asked_for_is_played_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = written(tmp_path, monkeypatch, "odd_few", BASE + "def make(seed, invoices):\n    return base.make(seed, 3)\n")
    code, out, error = run("--world", few)
    assert (code, "4 invoices were asked for, 3 are what the world has" in error) == (0, True)
    many = written(
        tmp_path, monkeypatch, "odd_many", BASE + "def make(seed, invoices):\n    return base.make(seed, 9)\n"
    )
    file = tmp_path / "report.json"
    code, out, error = run("--world", many, "--json", str(file))
    assert (code, "asked for" in error, json.loads(file.read_text())["invoices"]) == (0, False, 4)
    assert "4 invoices" in out


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--model", "cannot read model file"),
        ("--world=history:", "cannot read"),
        ("--policy", "no text in UTF-8"),
        ("--baseline", "no text in UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_told_in_one_line(tmp_path: Path, option: str, said: str) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\x00\x01")
    code, _, error = run(*([f"{option}{file}"] if option.endswith(":") else [option, str(file)]))
    lines = [line for line in error.splitlines() if line.strip()]
    assert (code, len(lines), said in lines[0]) == (2, 1, True), error


def test_an_empty_log_holds_no_invoice(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text("\n \n")
    code, _, error = run("--world", f"history:{file}")
    assert (code, "holds no invoice" in error) == (2, True)
    file.write_text("[" * 100_000)
    code, _, error = run("--world", f"history:{file}")
    assert (code, "history line 1: RecursionError" in error) == (2, True)
    with pytest.raises(WorldUnknown, match="no file"):
        factory_of(f"history:{tmp_path}")


@pytest.mark.parametrize("option", ["--json", "--html"])
@pytest.mark.parametrize("place", ["missing/report", "."])
def test_a_report_that_cannot_be_written_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, place: str
) -> None:
    monkeypatch.setattr(command, "run_backtest", lambda *_, **__: pytest.fail("the run began"))
    code, _, error = run(option, str(tmp_path / place))
    assert (code, "cannot write" in error) == (2, True)


@pytest.mark.parametrize("arguments", [("--seed", "-1"), ("--seed", str(2**63)), ("--policy", "smart@0")])
def test_a_number_that_cannot_be_meant_is_told(arguments: tuple[str, str]) -> None:
    code, _, error = run(*arguments)
    assert (code, "Traceback" in error) == (2, False)
    assert "--seed" in error or "a number of attempts, 1 or more" in error


def test_a_broken_policy_file_is_told_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nversion: 1\nkind: nosuch\n")
    code, _, error = run("--policy", str(file))
    assert (code, f"{file}: kind: must be one of" in error) == (2, True)


ROW = {
    "invoice_id": "in_1", "payer_id": "cus_1", "tenant_id": "default", "amount_minor": 4900, "currency": "USD",
    "timezone": "America/New_York", "due_at": "2026-03-02T04:00:00-05:00", "failed_at": "2026-03-02T09:00:00Z",
    "gateway": "stripe", "routes": ["main"], "decline": {"network_code": "51"},
    "instruments": [{"instrument_id": "pm_1", "kind": "card", "network": "visa", "funding": "debit",
                     "issuer_id": "bank-1", "country": "US", "expires": [2029, 5]}],
    "history": [{"at": "2026-02-02T10:00:00+01:00", "amount_minor": 4900, "approved": True}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"due_at": "2026-03-02T09:00:00"}, "invoice 'in_1': due_at must be aware UTC"),
        ({"routes": "main"}, "history line 1: TypeError('routes must be a list')"),
        ({"decline": ["51"]}, "history line 1: AttributeError"),
        ({"decline": {"network_code": 51}}, "invoice 'in_1': network_code must be a text or None"),
        ({"history": [{"at": "2026-02-02T10:00:00Z", "amount_minor": 4900, "approved": 1}]}, "must be True or False"),
        ({"due_at": "0001-01-01T00:00:00+10:00"}, "history line 1: OverflowError"),
    ],
)
def test_a_log_may_write_its_instants_in_any_zone_and_is_told_what_is_wrong(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(json.dumps({**ROW, **changes}) + "\n")
    code, _, error = run("--world", f"history:{file}", "--invoices", "1")
    assert (code, said in error) == (2 if said else 0, True), error
