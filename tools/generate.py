"""Generate everything that is derived from proto/: message classes, type stubs, the packaged topic catalogue.

Run `python tools/generate.py` to write, `--check` to fail when the committed output is not what proto/ says.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "libs/contracts/src"
MESSAGES = "dunwell"
TOPICS = "dunwell_contracts/topics"


def generate(into: Path) -> None:
    """Write generated classes, stubs and topics under `into`."""
    protos = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").rglob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{ROOT / 'proto'}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            *protos,
        ],
        check=True,
    )
    for folder in [into / MESSAGES, *(p for p in (into / MESSAGES).rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text('"""Generated from proto/; do not edit."""\n')
    (into / MESSAGES / "py.typed").touch()
    shutil.copytree(ROOT / "proto/topics", into / TOPICS, dirs_exist_ok=True)
    (into / TOPICS / "__init__.py").write_text('"""The topic catalogue, copied from proto/topics; do not edit."""\n')


def differences(fresh: Path) -> list[str]:
    """Return the paths that differ between `fresh` and the committed output."""
    found = []
    for part in (MESSAGES, TOPICS):
        names = {
            p.relative_to(base).as_posix()
            for base in (fresh, OUT)
            for p in (base / part).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        found += [
            n
            for n in sorted(names)
            if not ((fresh / n).exists() and (OUT / n).exists() and filecmp.cmp(fresh / n, OUT / n, shallow=False))
        ]
    return found


def main() -> int:
    """Write or check; 1 when `--check` finds a difference."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="fail on a difference, write nothing")
    if not arguments.parse_args().check:
        for part in (MESSAGES, TOPICS):
            shutil.rmtree(OUT / part, ignore_errors=True)
        generate(OUT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        changed = differences(Path(folder))
    for name in changed:
        print(f"not as proto/ says: {name}; run: python tools/generate.py")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
