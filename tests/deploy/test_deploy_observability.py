"""Alert rules, dashboards, the collector and the runbooks: they name what exists, and promtool takes them."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.gates import binaries, observability, programs
from dunwell_gateways.port import Outcome, SignatureFault

DASHBOARDS = ("operations", "recovery")
PARTS = ("What it means", "How to look", "What to do", "When it is over")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Promtool; where it cannot be had its tests fail and say what to install."""
    try:
        return binaries.promtool()
    except binaries.Missing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def folder(root: Path) -> Path:
    return root / "deploy/observability"


@pytest.fixture(scope="session")
def alerts(folder: Path) -> dict[str, dict[str, Any]]:
    return observability.rules(folder / "alerts.yaml")


def dashboard(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / f"dashboards/{name}.json").read_text())
    return loaded


def queries(folder: Path) -> list[str]:
    """Return every expression of every panel, as Prometheus would get it."""
    shown = [panel for name in DASHBOARDS for panel in observability.panels(folder / f"dashboards/{name}.json")]
    return [observability.plain(target["expr"]) for panel in shown for target in panel["targets"]]


def run(promtool: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool), *arguments], capture_output=True, text=True, check=False)


# Promtool may have to be downloaded first, or built where that fails.
@pytest.mark.timeout(binaries.DOWNLOAD_SECONDS_MAX + binaries.BUILD_SECONDS_MAX + 120)
def test_every_alert_fires_and_stays_silent_when_it_should(promtool: Path, folder: Path) -> None:
    done = run(promtool, "test", "rules", str(folder / "alerts_test.yaml"), str(folder / "alerts_days_test.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_spoiled_rule_file_is_refused(promtool: Path, folder: Path, tmp_path: Path) -> None:
    good = folder / "alerts.yaml"
    assert run(promtool, "check", "rules", str(good)).returncode == 0
    bad = tmp_path / "alerts.yaml"
    bad.write_text(good.read_text().replace('up{job="dunwell"} == 0', 'up{job="dunwell" == 0'))
    done = run(promtool, "check", "rules", str(bad))
    assert done.returncode == 1
    assert "could not parse expression" in done.stdout + done.stderr


def script(folder: Path, name: str, text: str) -> None:
    """Put a program of a few lines of shell into a folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("apt", ["", "exit 1", "echo no such package >&2; exit 100"])
def test_promtool_is_built_without_the_clouds_where_debian_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apt: str
) -> None:
    monkeypatch.setenv("DUNWELL_CACHE_DIR", str(tmp_path / "cache"))
    script(tmp_path, "go", f'echo "$@" > {tmp_path}/asked; printf "" > "$GOBIN/promtool"')
    if apt:
        script(tmp_path, "apt-get", apt)
        script(tmp_path, "dpkg", "exit 1")
    assert binaries.promtool(search=str(tmp_path)) == tmp_path / "cache/bin/promtool"
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["install", f"-tags={binaries.PROMTOOL_TAGS}", binaries.PROMTOOL]


def test_a_machine_without_promtool_debian_and_go_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(binaries.Missing, match="install Prometheus"):
        binaries.promtool(search=str(tmp_path))


def test_a_build_that_fails_says_which_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUNWELL_CACHE_DIR", str(tmp_path / "cache"))
    script(tmp_path, "go", "echo no network >&2; exit 1")
    with pytest.raises(binaries.Missing, match=r"mend `.*go install .*promtool@.*`: no network"):
        binaries.promtool(search=str(tmp_path))


def test_every_alert_has_both_cases(folder: Path, alerts: dict[str, Any]) -> None:
    files = [yaml.safe_load((folder / name).read_text()) for name in ("alerts_test.yaml", "alerts_days_test.yaml")]
    named = {test["name"]: test["promql_expr_test"] for file in files for test in file["tests"]}
    assert set(named) == {f"{alert} {case}" for alert in alerts for case in ("fires", "is silent")}
    for name, (judged,) in named.items():
        assert bool(judged["exp_samples"]) == name.endswith("fires")


def test_the_cases_bite(promtool: Path, folder: Path, tmp_path: Path) -> None:
    rules = (folder / "alerts.yaml").read_text().replace('up{job="dunwell"} == 0', 'up{job="dunwell"} == 2')
    (tmp_path / "alerts.yaml").write_text(rules)
    cases = yaml.safe_load((folder / "alerts_test.yaml").read_text())
    cases["tests"] = [test for test in cases["tests"] if test["name"] == "DunwellServiceDown fires"]
    (tmp_path / "alerts_test.yaml").write_text(yaml.safe_dump(cases))
    done = run(promtool, "test", "rules", str(tmp_path / "alerts_test.yaml"))
    assert done.returncode == 1
    assert "DunwellServiceDown" in done.stdout + done.stderr


def test_promtool_takes_every_query_of_the_dashboards(promtool: Path, folder: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries(folder))]
    assert len(rules) > 25
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = run(promtool, "check", "rules", str(tmp_path / "panels.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    rules[0]["expr"] += ")"
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert run(promtool, "check", "rules", str(tmp_path / "panels.yaml")).returncode == 1


def test_promtool_takes_the_scrape_configuration(promtool: Path, root: Path, tmp_path: Path) -> None:
    text = (root / "deploy/compose/prometheus.yml").read_text()
    # The container's path stands for the file that the compose file mounts there.
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/etc/prometheus/alerts.yaml", str(root / "deploy/observability/alerts.yaml"))
    )
    done = run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_name_what_the_code_exports(root: Path, alerts: dict[str, Any]) -> None:
    found = {name: list(observability.findings(alert["expr"], root)) for name, alert in alerts.items()}
    assert {name: said for name, said in found.items() if said} == {}


def test_dashboards_name_what_the_code_exports(root: Path, folder: Path) -> None:
    found = {query: list(observability.findings(query, root)) for query in queries(folder)}
    assert {query: said for query, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("expression", "finding"),
    [
        ("rate(dunwell_charge_total[5m])", "dunwell_charge_total is no metric of ours"),
        ("dunwell_outbox_window_rows > 3", "dunwell_outbox_window_rows is no metric of ours"),
        ('dunwell_charges_total{result="approved"}', "dunwell_charges_total has no label result"),
        ('dunwell_timer_lateness_seconds_bucket{le="30"}', "dunwell_timer_lateness_seconds_bucket has no bucket 30"),
        ("sum by (tenant) (dunwell_parked_keys)", "no metric here has the label tenant"),
    ],
)
def test_a_name_that_is_not_ours_bites(expression: str, finding: str, root: Path) -> None:
    assert list(observability.findings(expression, root)) == [finding]


def test_a_metric_that_nobody_records_bites(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = observability.recorded(root)
    monkeypatch.setattr(observability, "recorded", lambda _: told - {"LAG_SECONDS"})
    expression = "dunwell_consumer_lag_seconds > 3"
    assert list(observability.findings(expression, root)) == ["dunwell_consumer_lag_seconds is never recorded"]


def test_what_is_right_is_left_alone(root: Path) -> None:
    expression = """histogram_quantile(0.99, sum by (service, le) (rate(dunwell_effect_seconds_bucket{kind="charge"}[5m])))
        / on (service) group_left count by (service) (up{job="dunwell"} offset 1d unless up == bool 0) or vector(0)"""
    assert list(observability.findings(expression, root)) == []


def test_outcomes_and_verdicts_in_alerts_are_ones_that_the_code_gives(alerts: dict[str, Any]) -> None:
    """A matcher with a value that never comes would stay silent for ever."""
    known = {
        "dunwell_charges_total": {outcome.value for outcome in Outcome},
        "dunwell_notices_total": {"sent", "deferred", "failed", "unknown"},
        "dunwell_webhooks_total": {"accepted", "quarantined", "unavailable", "late"},
        "dunwell_effects_total": {outcome.value for outcome in Outcome} | {"postponed"},
    }
    seen = 0
    for alert in alerts.values():
        for name, matchers in re.findall(r"(dunwell_\w+)\{([^}]*)\}", alert["expr"]):
            for values in re.findall(r'(?:verdict|outcome)=~?"([^"]*)"', matchers):
                given = set(values.split("|")) - {"signature_.*"}
                assert given <= known[name], (alert["alert"], given)
                seen += 1
    assert seen > 8
    assert SignatureFault.MISMATCH == "mismatch"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_whole(name: str, folder: Path) -> None:
    document = dashboard(folder, name)
    assert list(observability.dashboard_findings(document)) == []
    assert document["uid"] == f"dunwell-{name}"


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"id": 1}, "two panels have one id"),
        ({"gridPos": {"x": 20, "y": 90, "w": 8, "h": 7}}, "Up lies over the edge"),
        ({"description": ""}, "Up shows or says nothing"),
        ({"targets": []}, "Up shows or says nothing"),
    ],
)
def test_a_check_of_a_dashboard_bites(change: dict[str, Any], finding: str, folder: Path) -> None:
    document = dashboard(folder, "operations")
    next(panel for panel in document["panels"] if panel["title"] == "Up").update(change)
    assert finding in list(observability.dashboard_findings(document))


def test_the_collectors_pipelines_are_whole_and_bite(folder: Path) -> None:
    document = yaml.safe_load((folder / "otel-collector.yaml").read_text())
    assert list(observability.collector_findings(document)) == []
    broken = copy.deepcopy(document)
    broken["service"]["pipelines"]["traces"]["exporters"] = ["otlp"]
    assert list(observability.collector_findings(broken)) == [
        "exporter otlp is used and not defined",
        "exporter otlphttp is defined and not used",
    ]


def test_every_alert_says_what_the_reader_needs(alerts: dict[str, Any]) -> None:
    for name, alert in alerts.items():
        assert alert["labels"]["severity"] in {"warning", "critical"}, name
        assert alert["labels"]["owner"] in {"platform", "payments", "support"}, name
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert {"summary", "description"} <= set(alert["annotations"])


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(root: Path, alerts: dict[str, Any]) -> None:
    books = {path.stem for path in (root / "docs/runbooks").glob("*.md")} - {"README"}
    assert books == set(alerts)


def test_a_runbook_has_the_four_parts(root: Path, alerts: dict[str, Any]) -> None:
    for name in alerts:
        text = (root / f"docs/runbooks/{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        assert tuple(re.findall(r"(?m)^## (.*)$", text)) == PARTS, name


def commands_in(text: str) -> list[list[str]]:
    """Return the `dunwell` commands of a runbook, from its code lines and from its sentences."""
    found = re.findall(r"(?m)^\s{4,}dunwell (.+)$", text) + re.findall(r"`dunwell ([^`…]+)`", text)
    return [line.split() for line in found]


def test_runbooks_name_commands_that_exist(root: Path) -> None:
    found = [
        (path.stem, words) for path in (root / "docs/runbooks").glob("*.md") for words in commands_in(path.read_text())
    ]
    assert len(found) > 40
    assert [(book, words) for book, words in found if programs.command_at(words) is None] == []
    assert programs.command_at(["dlq", "retry", "ledger", "KEY"]) is None
    assert programs.command_at(["cases", "list", "--status", "uncertain"]) is None


def test_runbooks_link_to_files_that_exist(root: Path) -> None:
    for path in (root / "docs/runbooks").glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)
