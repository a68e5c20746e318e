"""The compose file: everything it names exists, and nothing in it is laxer than it has to be.

Each check takes the parsed file and yields findings, one line each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.gates import programs
from dunwell_kit.run import HARD_EXIT_SECONDS
from dunwell_kit.settings import SERVICES

Document = dict[str, Any]
SECRET = re.compile(r"SECRET|PASSWORD|API_KEY|DATABASE_URL|_DSN")
# `${NAME:-default}` or `${NAME}`; compose fills it in.
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")
# Writes beside its programs when it starts.
MAY_WRITE = frozenset({"kafka"})


def commands(document: Document) -> Iterator[tuple[str, Document, list[str]]]:
    """Yield name, service and command of what runs from our own images."""
    for name, service in document["services"].items():
        if "build" in service:
            yield name, service, [str(word) for word in service.get("command", [])]


def is_job(service: Document) -> bool:
    """True for what ends by itself."""
    return service.get("restart") == "no"


def references(document: Document, root: Path) -> Iterator[str]:
    """What a service names must exist: services, networks, volumes, secrets, and the files that it mounts."""
    services = document["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if needed not in services:
                yield f"{name} depends on {needed}, which does not exist"
                continue
            if how["condition"] == "service_healthy" and "healthcheck" not in services[needed]:
                yield f"{name} waits until {needed} is healthy, which has no health check"
            if how["condition"] == "service_completed_successfully" and not is_job(services[needed]):
                yield f"{name} waits for the end of {needed}, which is no job"
            if not set(services[needed].get("profiles", ())) <= set(service.get("profiles", ())):
                yield f"{name} depends on {needed}, which only some profile starts"
        for kind in ("networks", "secrets", "configs"):
            yield from (
                f"{name} names {kind[:-1]} {each}, which does not exist"
                for each in service.get(kind, ())
                if each not in document.get(kind, {})
            )
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            exists = (root / source).exists() if source.startswith(".") else source in document.get("volumes", {})
            if not exists:
                yield f"{name} mounts {source}, which does not exist"


def hardening(document: Document) -> Iterator[str]:
    """Every container has no capability, no new privilege, a read-only root, limits, a health check, a pinned image."""
    for name, service in document["services"].items():
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", ()):
            yield f"{name} may gain privileges"
        if service.get("privileged") or service.get("network_mode") == "host" or service.get("cap_add"):
            yield f"{name} asks for more than a container has"
        if not service.get("read_only") and name not in MAY_WRITE:
            yield f"{name} may write to its root"
        if not is_job(service) and "healthcheck" not in service:
            yield f"{name} has no health check"
        if not is_job(service) and not service.get("deploy", {}).get("resources", {}).get("limits", {}).get("memory"):
            yield f"{name} has no memory limit"
        # Our own images carry the version that is built; strangers' are pinned by tag.
        tag = VARIABLE.sub(lambda found: found[2] or "", service["image"]).partition(":")[2]
        if not tag or tag == "latest":
            yield f"{name} has no pinned image"


def ports(document: Document, documented: dict[str, int]) -> Iterator[str]:
    """Ports are bound to this machine only, can be moved, and are by default the documented ones."""
    for name, service in document["services"].items():
        found = []
        for port in service.get("ports", ()):
            match = re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-(\d+)\}:\d+", str(port))
            if match is None:
                yield f"{name} publishes {port}, not as 127.0.0.1:${{NAME:-port}}:port"
            else:
                found.append(int(match[1]))
        if name in documented and documented[name] not in found:
            yield f"{name} is not at its documented port {documented[name]}"


def variables(document: Document, root: Path) -> Iterator[str]:
    """Our programs get every variable that they demand, and none that they do not read."""
    for name, service, command in commands(document):
        scripts = [volume.split(":")[0] for volume in service.get("volumes", ()) if volume.endswith(".py:ro")]
        text = "".join((root / script).read_text(encoding="utf-8") for script in scripts)
        read, demanded = programs.variables_of(command, text)
        given = set(service.get("environment", {}))
        for unknown in sorted(programs.unknown_variables(given, read)):
            yield f"{name} is given {unknown}, which nothing reads"
        for missing in sorted(demanded - given):
            yield f"{name} is not given {missing}, which it demands"


def programs_exist(document: Document) -> Iterator[str]:
    """What our images are told to run exists."""
    for name, service, command in commands(document):
        mounted = {volume.split(":")[1] for volume in service.get("volumes", ()) if volume.count(":") > 1}
        if not programs.command_exists(command, mounted):
            yield f"{name} runs {command}, which does not exist"
        wanted = programs.program_of(command).replace("dunwell", "cli") or "cli"
        if service["build"]["args"]["SERVICE"] != wanted:
            yield f"{name} runs {wanted} from the image of {service['build']['args']['SERVICE']}"


def secrets(document: Document) -> Iterator[str]:
    """A secret comes from outside, and its default says that it is for development only."""
    for name, service in document["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if not SECRET.search(variable):
                continue
            found = VARIABLE.findall(str(value))
            harmless = all(re.search(r"development.only|sk_test_sandbox", default) for _, default in found if default)
            if not found or not harmless:
                yield f"{name} holds a secret of its own in {variable}"


def stops(document: Document) -> Iterator[str]:
    """A service is given the time that the kit takes to end by itself."""
    for name, service, command in commands(document):
        grace = int(str(service.get("stop_grace_period", "10s")).removesuffix("s"))
        if programs.program_of(command) in SERVICES and grace <= HARD_EXIT_SECONDS:
            yield f"{name} is killed after {grace} s, before the kit ends it at {HARD_EXIT_SECONDS} s"
