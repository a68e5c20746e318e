"""The compose file, and one bad file per check that proves that the check bites."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.gates import compose
from dunwell_cli.fleet import SANDBOX_PORT, SMTP_PORT
from dunwell_kit.settings import PORTS, SERVICES
from dunwell_stack.choice import KAFKA_PORT, POSTGRES_PORT
from dunwell_stack.jars import KAFKA_VERSION

Document = dict[str, Any]
DOCUMENTED = {**PORTS, "sandbox": SANDBOX_PORT, "kafka": KAFKA_PORT, "postgres": POSTGRES_PORT}


@pytest.fixture(scope="session")
def compose_file(root: Path) -> Document:
    loaded: Document = yaml.safe_load((root / "docker-compose.yml").read_text())
    return loaded


def found_in(document: Document, root: Path) -> list[str]:
    """Return the findings of every check."""
    checks: tuple[Iterator[str], ...] = (
        compose.references(document, root),
        compose.hardening(document),
        compose.ports(document, DOCUMENTED),
        compose.variables(document, root),
        compose.programs_exist(document),
        compose.secrets(document),
        compose.stops(document),
    )
    return [finding for check in checks for finding in check]


def schema_check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)


def test_the_compose_file_follows_the_compose_specification(root: Path) -> None:
    done = schema_check(root / "docker-compose.yml")
    assert done.returncode == 0, done.stdout


def test_the_specification_bites(root: Path, tmp_path: Path, compose_file: Document) -> None:
    broken = copy.deepcopy(compose_file)
    broken["services"]["retry"]["restrat"] = "always"
    (tmp_path / "docker-compose.yml").write_text(yaml.safe_dump(broken))
    done = schema_check(tmp_path / "docker-compose.yml")
    assert done.returncode == 1
    assert "restrat" in done.stdout


def test_the_compose_file_has_no_finding(root: Path, compose_file: Document) -> None:
    assert found_in(compose_file, root) == []


def test_the_compose_file_runs_the_whole_product(compose_file: Document) -> None:
    services = compose_file["services"]
    assert {*SERVICES, "kafka", "postgres", "migrate", "topics", "sandbox"} <= set(services)
    always = {name for name, service in services.items() if not service.get("profiles")}
    assert always == {*SERVICES, "kafka", "postgres", "migrate", "topics"}
    for service in SERVICES:
        waits = {name: how["condition"] for name, how in services[service]["depends_on"].items()}
        assert waits["migrate"] == waits["topics"] == "service_completed_successfully"
    assert {p for s in services.values() for p in s.get("profiles", ())} == {"sandbox", "traces", "metrics", "cli"}


def test_the_broker_is_the_one_that_the_tests_know(compose_file: Document) -> None:
    kafka = compose_file["services"]["kafka"]
    assert kafka["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_every_service_has_its_own_database_and_role(compose_file: Document) -> None:
    for service in SERVICES:
        url = compose_file["services"][service]["environment"][f"DUNWELL_{service.upper()}_DATABASE_URL"]
        assert url.startswith(f"postgresql://dunwell_{service}:")
        assert url.endswith(f"/dunwell_{service}")


def test_a_service_is_told_no_other_services_secret(compose_file: Document) -> None:
    for service in SERVICES:
        others = {f"DUNWELL_{name.upper()}_" for name in SERVICES if name != service}
        given = compose_file["services"][service]["environment"]
        assert not [name for name in given if name.startswith(tuple(others))]


def test_the_mail_port_is_the_documented_one(compose_file: Document) -> None:
    assert any(f":-{SMTP_PORT}}}" in port for port in compose_file["services"]["sandbox"]["ports"])


BAD: dict[str, tuple[Callable[[Document], Any], str]] = {
    "dependency": (
        lambda s: s["retry"]["depends_on"].update(redis={"condition": "service_started"}),
        "retry depends on redis, which does not exist",
    ),
    "health of a dependency": (
        lambda s: s["postgres"].pop("healthcheck"),
        "ingest waits until postgres is healthy, which has no health check",
    ),
    "end of a dependency": (
        lambda s: s["topics"].update(restart="always"),
        "retry waits for the end of topics, which is no job",
    ),
    "profile of a dependency": (
        lambda s: s["ledger"]["depends_on"].update(sandbox={"condition": "service_healthy"}),
        "ledger depends on sandbox, which only some profile starts",
    ),
    "network": (lambda s: s["retry"].update(networks=["back"]), "retry names network back, which does not exist"),
    "secret": (lambda s: s["retry"].update(secrets=["key"]), "retry names secret key, which does not exist"),
    "volume": (lambda s: s["kafka"].update(volumes=["queue:/x"]), "kafka mounts queue, which does not exist"),
    "file": (
        lambda s: s["prometheus"].update(volumes=["./deploy/gone.yml:/x:ro"]),
        "prometheus mounts ./deploy/gone.yml, which does not exist",
    ),
    "capabilities": (lambda s: s["retry"].pop("cap_drop"), "retry keeps capabilities"),
    "privileges": (lambda s: s["retry"].update(security_opt=[]), "retry may gain privileges"),
    "privileged": (lambda s: s["kafka"].update(privileged=True), "kafka asks for more than a container has"),
    "root": (lambda s: s["retry"].update(read_only=False), "retry may write to its root"),
    "health": (lambda s: s["jaeger"].pop("healthcheck"), "jaeger has no health check"),
    "limit": (lambda s: s["retry"].pop("deploy"), "retry has no memory limit"),
    "tag": (lambda s: s["kafka"].update(image="apache/kafka:latest"), "kafka has no pinned image"),
    "no tag": (lambda s: s["kafka"].update(image="apache/kafka"), "kafka has no pinned image"),
    "open port": (
        lambda s: s["retry"].update(ports=["18082:18082"]),
        "retry publishes 18082:18082, not as 127.0.0.1:${NAME:-port}:port",
    ),
    "other port": (
        lambda s: s["retry"].update(ports=["127.0.0.1:${DUNWELL_RETRY_HTTP_PORT:-8082}:18082"]),
        "retry is not at its documented port 18082",
    ),
    "unread variable": (
        lambda s: s["retry"]["environment"].update(DUNWELL_RETRY_POLICIES="smart"),
        "retry is given DUNWELL_RETRY_POLICIES, which nothing reads",
    ),
    "other's variable": (
        lambda s: s["ledger"]["environment"].update(DUNWELL_RETRY_SECRET="${X:-development-only}"),
        "ledger is given DUNWELL_RETRY_SECRET, which nothing reads",
    ),
    "missing variable": (
        lambda s: s["notify"]["environment"].pop("DUNWELL_NOTIFY_SECRET"),
        "notify is not given DUNWELL_NOTIFY_SECRET, which it demands",
    ),
    "missing variable of a job": (
        lambda s: s["migrate"]["environment"].pop("DUNWELL_POSTGRES_DSN"),
        "migrate is not given DUNWELL_POSTGRES_DSN, which it demands",
    ),
    "command": (
        lambda s: s["migrate"].update(command=["dunwell", "upgrade"]),
        "migrate runs ['dunwell', 'upgrade'], which does not exist",
    ),
    "option": (
        lambda s: s["topics"].update(command=["dunwell", "init-topics", "--prod"]),
        "topics runs ['dunwell', 'init-topics', '--prod'], which does not exist",
    ),
    "image of another": (
        lambda s: s["retry"].update(command=["python", "-m", "dunwell_ledger"]),
        "retry runs ledger from the image of retry",
    ),
    "literal secret": (
        lambda s: s["retry"]["environment"].update(DUNWELL_RETRY_SECRET="hunter2"),
        "retry holds a secret of its own in DUNWELL_RETRY_SECRET",
    ),
    "real default": (
        lambda s: s["retry"]["environment"].update(DUNWELL_RETRY_SECRET="${DUNWELL_RETRY_SECRET:-hunter2}"),
        "retry holds a secret of its own in DUNWELL_RETRY_SECRET",
    ),
    "grace": (
        lambda s: s["retry"].update(stop_grace_period="10s"),
        "retry is killed after 10 s, before the kit ends it at 35 s",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_check_of_the_compose_file_bites(case: str, root: Path, compose_file: Document) -> None:
    spoil, finding = BAD[case]
    # Anchors make services share parts; a round trip through text without them parts what one case spoils.
    broken = yaml.safe_load(yaml.dump(compose_file, Dumper=_Apart))
    spoil(broken["services"])
    assert finding in found_in(broken, root)


class _Apart(yaml.SafeDumper):
    """Writes a shared part out each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
