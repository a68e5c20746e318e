"""Policies over what the chart renders: each takes all documents of one release and yields findings, one line each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from deploy.gates import programs
from deploy.gates.compose import SECRET
from dunwell_kit.app import make_app
from dunwell_kit.run import HARD_EXIT_SECONDS

Document = dict[str, Any]
Policy = Callable[[list[Document]], Iterator[str]]
LIVE, READY, METRICS = "/health/live", "/health/ready", "/metrics"
# Below this an id may be somebody's on the host.
UID_MIN = 10_000


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """Return the documents of some kinds."""
    return [document for document in documents if document["kind"] in kinds]


def name_of(document: Document) -> str:
    """Return `Kind/name`."""
    return f"{document['kind']}/{document['metadata']['name']}"


def workloads(documents: list[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Yield name, labels and specification of each pod that the release makes."""
    for document in of_kind(documents, "Deployment", "Job"):
        template = document["spec"]["template"]
        yield name_of(document), template["metadata"]["labels"], template["spec"]


def containers(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Yield each container with the name of its workload."""
    for name, _, pod in workloads(documents):
        yield from ((name, container) for container in [*pod.get("initContainers", ()), *pod["containers"]])


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """True when a selector's labels are all there; an empty selector takes everything."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


@cache
def served_paths() -> frozenset[str]:
    """Return the paths that the kit's own app serves."""
    app = make_app("none", None, (), {}, list)  # type: ignore[arg-type]
    return frozenset(app.openapi()["paths"])


def nobody_is_root(documents: list[Document]) -> Iterator[str]:
    """Pods run as a number that no host knows, confined by the runtime's seccomp profile."""
    for name, _, pod in workloads(documents):
        security = pod.get("securityContext", {})
        if not security.get("runAsNonRoot") or security.get("runAsUser", 0) < UID_MIN:
            yield f"{name} may run as root or as somebody of the host"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name} has no seccomp profile"
        if any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{name} shares something of the host"
        if any("hostPath" in volume for volume in pod.get("volumes", ())):
            yield f"{name} mounts a path of the host"


def nothing_can_grow(documents: list[Document]) -> Iterator[str]:
    """Containers have a read-only root, no capability and no way to more."""
    for name, container in containers(documents):
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
            yield f"{name} may gain privileges"
        if not security.get("readOnlyRootFilesystem"):
            yield f"{name} may write to its root"
        if security.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name} keeps capabilities"


def images_are_pinned(documents: list[Document]) -> Iterator[str]:
    """An image has a tag other than latest, or a digest."""
    for name, container in containers(documents):
        image = container["image"]
        if "@sha256:" not in image and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
            yield f"{name} takes whatever {image} is today"


def resources_are_bounded(documents: list[Document]) -> Iterator[str]:
    """Containers ask for and are limited in processor and memory."""
    for name, container in containers(documents):
        for kind in ("requests", "limits"):
            missing = {"cpu", "memory"} - set(container.get("resources", {}).get(kind, {}))
            if missing:
                yield f"{name} has no {kind} of {', '.join(sorted(missing))}"


def probes_ask_the_kit(documents: list[Document]) -> Iterator[str]:
    """A service is probed at paths that the kit serves, on a port that the container names."""
    wanted = {"startupProbe": LIVE, "readinessProbe": READY, "livenessProbe": LIVE}
    for name, container in containers(of_kind(documents, "Deployment")):
        opened = {port["name"] for port in container.get("ports", ())}
        for probe, path in wanted.items():
            get = container.get(probe, {}).get("httpGet", {})
            if get.get("path") != path or path not in served_paths() or get.get("port") not in opened:
                yield f"{name} has no {probe} at {path}"


def pods_may_finish(documents: list[Document]) -> Iterator[str]:
    """A service is given the time that the kit takes to end by itself."""
    for document in of_kind(documents, "Deployment"):
        grace = document["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        if grace <= HARD_EXIT_SECONDS:
            yield f"{name_of(document)} is killed after {grace} s, before the kit ends it at {HARD_EXIT_SECONDS} s"


def disruptions_are_budgeted(documents: list[Document]) -> Iterator[str]:
    """Each Deployment has one budget, and none blocks a drain for ever."""
    budgets = of_kind(documents, "PodDisruptionBudget")
    for name, labels, _ in workloads(of_kind(documents, "Deployment")):
        if len([b for b in budgets if selects(b["spec"]["selector"], labels)]) != 1:
            yield f"{name} has not exactly one disruption budget"
    for budget in budgets:
        if budget["spec"].get("maxUnavailable", 0) < 1:
            yield f"{name_of(budget)} never lets a pod go"


def traffic_is_denied(documents: list[Document]) -> Iterator[str]:
    """One policy denies everything to every pod; a further one allows each what it needs."""
    policies = of_kind(documents, "NetworkPolicy")
    closed = [p["spec"] for p in policies if not p["spec"].get("ingress") and not p["spec"].get("egress")]
    for name, labels, _ in workloads(documents):
        own = [p["spec"] for p in policies if selects(p["spec"]["podSelector"], labels) and p["spec"].get("egress")]
        if not any(selects(spec["podSelector"], labels) for spec in closed):
            yield f"{name} is under no policy that denies everything"
        if not own:
            yield f"{name} has no policy of its own"
    for policy in policies:
        spec = policy["spec"]
        if set(spec.get("policyTypes", ())) != {"Ingress", "Egress"}:
            yield f"{name_of(policy)} does not rule both ways"
        for rule in [*spec.get("ingress", ()), *spec.get("egress", ())]:
            if not rule.get("ports"):
                yield f"{name_of(policy)} opens every port"
        if any(not rule.get("from") for rule in spec.get("ingress", ())):
            yield f"{name_of(policy)} lets everybody in"


def secrets_are_named_only(documents: list[Document]) -> Iterator[str]:
    """No secret is in a manifest: each comes from a Secret that somebody else made."""
    for document in of_kind(documents, "Secret"):
        yield f"{name_of(document)} is rendered by the chart"
    for document in of_kind(documents, "ConfigMap"):
        yield from (f"{name_of(document)} holds {key}" for key in document["data"] if SECRET.search(key))
        for key, value in document["data"].items():
            if re.search(r"://[^/\s]+:[^/\s]+@|sk_live_|whsec_", value):
                yield f"{name_of(document)} holds a secret in {key}"
    for name, container in containers(documents):
        for variable in container.get("env", ()):
            if SECRET.search(variable["name"]) and "secretKeyRef" not in variable.get("valueFrom", {}):
                yield f"{name} is given {variable['name']} in the clear"


def tokens_stay_out(documents: list[Document]) -> Iterator[str]:
    """No pod gets a token of the cluster, and each has its own service account."""
    accounts = {a["metadata"]["name"]: a for a in of_kind(documents, "ServiceAccount")}
    for name, _, pod in workloads(documents):
        account = accounts.get(pod.get("serviceAccountName", ""))
        if account is None:
            yield f"{name} has no service account of its own"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name} gets a token of the cluster"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name} gets variables of the cluster's services, which look like ours"


def parts_fit(documents: list[Document]) -> Iterator[str]:
    """What names another part names one that exists."""
    maps = {m["metadata"]["name"] for m in of_kind(documents, "ConfigMap")}
    for name, container in containers(documents):
        for source in container.get("envFrom", ()):
            if source["configMapRef"]["name"] not in maps:
                yield f"{name} takes variables from {source['configMapRef']['name']}, which does not exist"
    pods = list(workloads(of_kind(documents, "Deployment")))
    for service in of_kind(documents, "Service"):
        taken = [pod for _, labels, pod in pods if selects({"matchLabels": service["spec"]["selector"]}, labels)]
        opened = {port["name"] for pod in taken for c in pod["containers"] for port in c["ports"]}
        if len(taken) != 1 or any(port["targetPort"] not in opened for port in service["spec"]["ports"]):
            yield f"{name_of(service)} leads nowhere"
    services = {s["metadata"]["name"] for s in of_kind(documents, "Service")}
    for ingress in of_kind(documents, "Ingress"):
        for path in (path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]):
            if path["backend"]["service"]["name"] not in services:
                yield f"{name_of(ingress)} leads nowhere"
            if not path["path"].startswith("/v1/webhooks"):
                yield f"{name_of(ingress)} shows {path['path']} to the world"


def programs_are_served(documents: list[Document]) -> Iterator[str]:
    """Commands exist, and get every variable that they demand and none that they do not read."""
    maps = {m["metadata"]["name"]: set(m["data"]) for m in of_kind(documents, "ConfigMap")}
    for name, container in containers(documents):
        command = container.get("command", [])
        if not programs.command_exists(command, set()):
            yield f"{name} runs {command}, which does not exist"
            continue
        read, demanded = programs.variables_of(command)
        given = {variable["name"] for variable in container.get("env", ())}
        given |= {key for s in container.get("envFrom", ()) for key in maps.get(s["configMapRef"]["name"], ())}
        for unknown in sorted(programs.unknown_variables(given, read)):
            yield f"{name} is given {unknown}, which nothing reads"
        for missing in sorted(demanded - given):
            yield f"{name} is not given {missing}, which it demands"


def jobs_come_first(documents: list[Document]) -> Iterator[str]:
    """Jobs run before the services change, after what they need, and end some time."""
    for document in of_kind(documents, "Job"):
        hooks = document["metadata"].get("annotations", {}).get("helm.sh/hook", "")
        if set(hooks.split(",")) != {"pre-install", "pre-upgrade"}:
            yield f"{name_of(document)} does not run before each installation and upgrade"
        if not document["spec"].get("activeDeadlineSeconds"):
            yield f"{name_of(document)} may run for ever"
        needed = document["spec"]["template"]["spec"].get("serviceAccountName")
        weight = int(document["metadata"].get("annotations", {}).get("helm.sh/hook-weight", "0"))
        for account in of_kind(documents, "ServiceAccount"):
            notes = account["metadata"].get("annotations", {})
            early = "helm.sh/hook" in notes and int(notes.get("helm.sh/hook-weight", "0")) < weight
            if account["metadata"]["name"] == needed and not early:
                yield f"{name_of(document)} runs before its service account is there"


POLICIES: tuple[Policy, ...] = (
    nobody_is_root,
    nothing_can_grow,
    images_are_pinned,
    resources_are_bounded,
    probes_ask_the_kit,
    pods_may_finish,
    disruptions_are_budgeted,
    traffic_is_denied,
    secrets_are_named_only,
    tokens_stay_out,
    parts_fit,
    programs_are_served,
    jobs_come_first,
)


def findings(documents: list[Document]) -> list[str]:
    """Return what every policy finds."""
    return [finding for policy in POLICIES for finding in policy(documents)]
