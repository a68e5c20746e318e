"""The chart as Helm renders it: lint, Kubernetes' schemas, our policies, and one bad release per policy."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.gates import binaries, manifests
from dunwell_kit.settings import PORTS, SERVICES

Document = dict[str, Any]
# A Helm built from its module knows no newer version of Kubernetes by itself than 1.20.
KUBERNETES = ("1.29.0", "1.34.0")
# What an installation may set, all at once: everything that the defaults leave out.
FULL = {
    "tracing.endpoint": "http://otel-collector.observability:4318",
    "webhooks.enabled": "true",
    "webhooks.host": "hooks.example.com",
    "webhooks.tlsSecret": "hooks-tls",
    "webhooks.className": "nginx",
    "services.ingest.hpa.enabled": "true",
    "services.retry.image.digest": "sha256:" + "0" * 64,
    "services.analytics.enabled": "false",
    "image.pullSecrets[0].name": "registry",
    "postgres.peers[0].ipBlock.cidr": "10.1.2.3/32",
    "services.ledger.nodeSelector.pool": "payments",
    "services.ledger.podAnnotations.team": "finance",
    "services.retry.files.configMap": "acme-2026.12",
}


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm; without it and without Go every test of the chart fails and says what to install."""
    try:
        return binaries.helm()
    except binaries.Missing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def chart(root: Path) -> Path:
    return root / "deploy/helm/dunwell"


def render(
    helm: Path, chart: Path, kubernetes: str = KUBERNETES[-1], **values: str
) -> subprocess.CompletedProcess[str]:
    sets = [
        word
        for key, value in values.items()
        for word in ("--set-string" if "digest" in key else "--set", f"{key}={value}")
    ]
    command = [str(helm), "template", "dunwell", str(chart), "--kube-version", kubernetes, *sets]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(helm: Path, chart: Path, kubernetes: str = KUBERNETES[-1], **values: str) -> list[Document]:
    done = render(helm, chart, kubernetes, **values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="session")
def release(helm: Path, chart: Path) -> list[Document]:
    """The release that the defaults make."""
    return rendered(helm, chart)


# A cold build of Helm takes minutes; the first test waits for it.
pytestmark = pytest.mark.timeout(binaries.BUILD_SECONDS_MAX + 60)


def test_helm_accepts_the_chart(helm: Path, chart: Path) -> None:
    done = subprocess.run([str(helm), "lint", "--strict", str(chart)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_helm_bites(helm: Path, chart: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(chart), str(tmp_path / "dunwell")], check=True)
    (tmp_path / "dunwell/templates/services.yaml").write_text("a: {{ .Values.nothing.at.all }}\n")
    command = [str(helm), "lint", "--strict", str(tmp_path / "dunwell")]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 1


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "everything"])
def test_every_document_is_one_that_kubernetes_takes(
    helm: Path, chart: Path, kubernetes: str, values: dict[str, str]
) -> None:
    documents = rendered(helm, chart, kubernetes, **values)
    assert len(documents) > 30
    for document in documents:
        kubernetes_validate.validate(document, kubernetes.rpartition(".")[0], strict=True)


def test_kubernetes_schemas_bite(release: list[Document]) -> None:
    (first, *_) = copy.deepcopy(manifests.of_kind(release, "Deployment"))
    first["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(first, "1.34", strict=True)


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "everything"])
def test_the_release_has_no_finding(helm: Path, chart: Path, values: dict[str, str]) -> None:
    assert manifests.findings(rendered(helm, chart, **values)) == []


def test_the_release_is_the_five_services_and_two_jobs(release: list[Document]) -> None:
    names = {manifests.name_of(d) for d in manifests.of_kind(release, "Deployment", "Job")}
    assert names == {f"Deployment/dunwell-{name}" for name in SERVICES} | {"Job/dunwell-migrate", "Job/dunwell-topics"}


def test_services_keep_their_documented_ports(release: list[Document]) -> None:
    found = {s["metadata"]["name"]: s["spec"]["ports"][0]["port"] for s in manifests.of_kind(release, "Service")}
    assert found == {f"dunwell-{name}": port for name, port in PORTS.items()}


def test_every_service_has_the_same_block(chart: Path) -> None:
    blocks = yaml.safe_load((chart / "values.yaml").read_text())["services"]
    assert set(blocks) == set(SERVICES)
    assert len({frozenset(block) for block in blocks.values()}) == 1


def test_a_config_map_of_files_is_mounted_read_only_where_it_is_named_and_nowhere_else(helm: Path, chart: Path) -> None:
    values = {
        "services.retry.files.configMap": "acme",
        "services.retry.env.DUNWELL_RETRY_MODEL_FILE": "/etc/dunwell/files/m",
    }
    documents = manifests.of_kind(rendered(helm, chart, **values), "Deployment")
    pods = {d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in documents}
    mounts = {name: {v["name"] for v in pod["volumes"]} for name, pod in pods.items()}
    assert {name for name, found in mounts.items() if "files" in found} == {"dunwell-retry"}
    assert {"name": "files", "configMap": {"name": "acme"}} in pods["dunwell-retry"]["volumes"]
    (container,) = pods["dunwell-retry"]["containers"]
    assert {"name": "files", "mountPath": "/etc/dunwell/files", "readOnly": True} in container["volumeMounts"]
    assert render(helm, chart, **{"services.retry.files.configMap": "A/b"}).returncode == 1


def test_autoscaling_is_off_and_owns_the_replicas_when_on(helm: Path, chart: Path, release: list[Document]) -> None:
    assert manifests.of_kind(release, "HorizontalPodAutoscaler") == []
    on = rendered(helm, chart, **{"services.retry.hpa.enabled": "true"})
    (scaler,) = manifests.of_kind(on, "HorizontalPodAutoscaler")
    (scaled,) = [d for d in manifests.of_kind(on, "Deployment") if d["metadata"]["name"] == "dunwell-retry"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "dunwell-retry"
    assert "replicas" not in scaled["spec"]


def test_only_services_that_call_gateways_reach_the_internet(release: list[Document]) -> None:
    open_to_world = {
        policy["metadata"]["name"].removeprefix("dunwell-")
        for policy in manifests.of_kind(release, "NetworkPolicy")
        for rule in policy["spec"].get("egress", ())
        for peer in rule.get("to", ())
        if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    }
    assert open_to_world == {"ingest", "retry", "notify"}


def test_topics_are_made_for_production(release: list[Document]) -> None:
    (job,) = [d for d in manifests.of_kind(release, "Job") if d["metadata"]["name"] == "dunwell-topics"]
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command == ["dunwell", "init-topics", "--production", "--replication", "3"]


REFUSED = {
    "services.retry.roles={consumer}": "roles",
    "services.retry.image.tag=latest": "tag",
    "services.retry.env.DUNWELL_RETRY_SECRET=x": "DUNWELL_RETRY_SECRET",
    "services.retry.resources.limits=null": "resources",
    "services.retry.replica=3": "replica",
    "services.retry.pdb.maxUnavailable=0": "maxUnavailable",
    "terminationGracePeriodSeconds=30": "terminationGracePeriodSeconds",
    "webhooks.enabled=true": "webhooks",
    "kafka.bootstrap=kafka": "bootstrap",
    "jobs.migrate.secretEnv.DUNWELL_DATABASE_PASSWORD=null": "DUNWELL_DATABASE_PASSWORD",
    "servises.retry.replicas=3": "servises",
}


@pytest.mark.parametrize("value", REFUSED)
def test_the_chart_refuses_values_that_make_no_sense(value: str, helm: Path, chart: Path) -> None:
    key, _, given = value.partition("=")
    done = render(helm, chart, **{key: given})
    assert done.returncode == 1
    assert REFUSED[value] in done.stderr


def pod(document: Document) -> Document:
    found: Document = document["spec"]["template"]["spec"]
    return found


def box(document: Document) -> Document:
    found: Document = pod(document)["containers"][0]
    return found


# Which document is spoiled, how, and what must be found.
BAD: dict[str, tuple[str, Callable[[Document], Any], str]] = {
    "root": ("Deployment/dunwell-retry", lambda d: pod(d)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    "user": ("Job/dunwell-migrate", lambda d: pod(d)["securityContext"].update(runAsUser=1000), "may run as root"),
    "seccomp": ("Deployment/dunwell-retry", lambda d: pod(d)["securityContext"].pop("seccompProfile"), "no seccomp"),
    "host network": ("Deployment/dunwell-retry", lambda d: pod(d).update(hostNetwork=True), "something of the host"),
    "host path": (
        "Deployment/dunwell-retry",
        lambda d: pod(d)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "a path of the host",
    ),
    "privileges": (
        "Job/dunwell-topics",
        lambda d: box(d)["securityContext"].pop("allowPrivilegeEscalation"),
        "may gain privileges",
    ),
    "writable": (
        "Deployment/dunwell-retry",
        lambda d: box(d)["securityContext"].update(readOnlyRootFilesystem=False),
        "may write to its root",
    ),
    "capability": (
        "Deployment/dunwell-retry",
        lambda d: box(d)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "keeps capabilities",
    ),
    "latest": ("Deployment/dunwell-retry", lambda d: box(d).update(image="dunwell/retry:latest"), "is today"),
    "no tag": ("Deployment/dunwell-retry", lambda d: box(d).update(image="host:5000/dunwell/retry"), "is today"),
    "limit": ("Deployment/dunwell-retry", lambda d: box(d)["resources"]["limits"].pop("memory"), "no limits of memory"),
    "request": ("Job/dunwell-migrate", lambda d: box(d)["resources"].pop("requests"), "no requests of cpu, memory"),
    "probe": ("Deployment/dunwell-retry", lambda d: box(d).pop("livenessProbe"), "no livenessProbe at /health/live"),
    "path": (
        "Deployment/dunwell-retry",
        lambda d: box(d)["readinessProbe"]["httpGet"].update(path="/readyz"),
        "no readinessProbe at /health/ready",
    ),
    "grace": (
        "Deployment/dunwell-retry",
        lambda d: pod(d).update(terminationGracePeriodSeconds=30),
        "killed after 30 s, before the kit ends it at 35 s",
    ),
    "budget": (
        "PodDisruptionBudget/dunwell-retry",
        lambda d: d["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/component": "rety"}),
        "Deployment/dunwell-retry has not exactly one disruption budget",
    ),
    "blocking budget": (
        "PodDisruptionBudget/dunwell-retry",
        lambda d: d["spec"].update(maxUnavailable=0),
        "never lets a pod go",
    ),
    "no denial": (
        "NetworkPolicy/dunwell-default-deny",
        lambda d: d["spec"].update(egress=[{"ports": [{"port": 53}]}]),
        "under no policy that denies everything",
    ),
    "no own policy": (
        "NetworkPolicy/dunwell-migrate",
        lambda d: d["spec"]["podSelector"]["matchLabels"].update({"app.kubernetes.io/component": "x"}),
        "Job/dunwell-migrate has no policy of its own",
    ),
    "one way": ("NetworkPolicy/dunwell-retry", lambda d: d["spec"].update(policyTypes=["Ingress"]), "both ways"),
    "every port": ("NetworkPolicy/dunwell-retry", lambda d: d["spec"]["egress"].append({}), "opens every port"),
    "everybody": ("NetworkPolicy/dunwell-retry", lambda d: d["spec"]["ingress"][0].pop("from"), "lets everybody in"),
    "secret": ("ConfigMap/dunwell-retry", lambda d: d.update(kind="Secret"), "is rendered by the chart"),
    "secret's name": (
        "ConfigMap/dunwell-retry",
        lambda d: d["data"].update(DUNWELL_RETRY_SECRET="x"),
        "ConfigMap/dunwell-retry holds DUNWELL_RETRY_SECRET",
    ),
    "secret's value": (
        "ConfigMap/dunwell-retry",
        lambda d: d["data"].update(DUNWELL_RETRY_EXPERIMENT="postgresql://a:b@c/d"),
        "holds a secret in DUNWELL_RETRY_EXPERIMENT",
    ),
    "clear": (
        "Deployment/dunwell-retry",
        lambda d: box(d)["env"].append({"name": "DUNWELL_STRIPE_API_KEY", "value": "x"}),
        "DUNWELL_STRIPE_API_KEY in the clear",
    ),
    "account": ("Deployment/dunwell-retry", lambda d: pod(d).pop("serviceAccountName"), "no service account of its own"),
    "token": (
        "Deployment/dunwell-retry",
        lambda d: pod(d).pop("automountServiceAccountToken"),
        "gets a token of the cluster",
    ),
    "links": ("Deployment/dunwell-retry", lambda d: pod(d).pop("enableServiceLinks"), "which look like ours"),
    "map": (
        "Deployment/dunwell-retry",
        lambda d: box(d)["envFrom"][0]["configMapRef"].update(name="gone"),
        "takes variables from gone, which does not exist",
    ),
    "service": ("Service/dunwell-retry", lambda d: d["spec"]["selector"].update(x="y"), "Service/dunwell-retry leads nowhere"),
    "port": ("Service/dunwell-retry", lambda d: d["spec"]["ports"][0].update(targetPort="web"), "leads nowhere"),
    "ingress": (
        "Ingress/dunwell-webhooks",
        lambda d: d["spec"]["rules"][0]["http"]["paths"][0].update(path="/"),
        "shows / to the world",
    ),
    "command": ("Job/dunwell-migrate", lambda d: box(d).update(command=["dunwell", "upgrade"]), "which does not exist"),
    "unread": (
        "ConfigMap/dunwell-ledger",
        lambda d: d["data"].update(DUNWELL_LEDGER_TIME_ZONE="UTC"),
        "is given DUNWELL_LEDGER_TIME_ZONE, which nothing reads",
    ),
    "missing": (
        "Deployment/dunwell-retry",
        lambda d: box(d).update(env=[]),
        "is not given DUNWELL_RETRY_SECRET, which it demands",
    ),
    "hook": (
        "Job/dunwell-migrate",
        lambda d: d["metadata"]["annotations"].update({"helm.sh/hook": "post-install"}),
        "does not run before each installation and upgrade",
    ),
    "for ever": ("Job/dunwell-migrate", lambda d: d["spec"].pop("activeDeadlineSeconds"), "may run for ever"),
    "late account": (
        "ServiceAccount/dunwell-migrate",
        lambda d: d["metadata"].pop("annotations"),
        "runs before its service account is there",
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def full_release(helm: Path, chart: Path) -> str:
    """A release with everything in it, as text, so that each case spoils its own copy."""
    return json.dumps(rendered(helm, chart, **{**FULL, "services.analytics.enabled": "true"}))


@pytest.mark.parametrize("case", BAD)
def test_a_policy_bites(case: str, full_release: str) -> None:
    wanted, spoil, finding = BAD[case]
    documents: list[Document] = json.loads(full_release)
    (spoiled,) = [document for document in documents if manifests.name_of(document) == wanted]
    spoil(spoiled)
    assert any(finding in found for found in manifests.findings(documents))


def test_a_machine_without_helm_and_go_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(binaries.Missing, match=r"install Helm .* or Go"):
        binaries.helm(search=str(tmp_path))


def test_a_machine_without_promtool_and_apt_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(binaries.Missing, match="install Prometheus"):
        binaries.promtool(search=str(tmp_path))


def test_a_build_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'no module today' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("DUNWELL_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(binaries.Missing, match=r"go install .*no module today"):
        binaries.helm(search=f"{tmp_path}{os.pathsep}/bin")
