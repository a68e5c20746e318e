"""Running a page as its reader would: its blocks in order, in one shell, in one folder.

A line that the page shows after a `$ ` command must appear in what the command prints, in the same order; `…` stands for
anything within a line. A line that is not there yet is waited for by asking again, where the page says so.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from doc_pages import Block, blocks

# Table borders depend on the terminal's width, words do not.
_SPACE = re.compile(r"[\s│┃|]+")
_PAUSE_SECONDS = 0.5


class PageWrong(AssertionError):
    """A command of a page failed, or did not print what the page says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a console block with the lines that the page shows below it."""

    command: str
    shown: tuple[str, ...]
    line: int


def steps(block: Block) -> Iterator[Step]:
    """Yield a console block's commands; lines that end with a backslash go on."""
    command, shown, line, open_command = "", [], block.line, False
    for number, text in enumerate(block.text.splitlines(), start=block.line):
        if open_command:
            command, open_command = f"{command}\n{text.removeprefix('> ')}", text.endswith("\\")
        elif text.startswith("$ "):
            if command:
                yield Step(command, tuple(shown), line)
            command, shown, line, open_command = text[2:], [], number, text.endswith("\\")
        elif text.strip():
            shown.append(text)
    if command:
        yield Step(command, tuple(shown), line)


def missing(shown: tuple[str, ...], printed: str) -> str:
    """Return the first line that a page shows and the command did not print, in order; empty when all are there."""
    rest = _SPACE.sub(" ", printed)
    for line in shown:
        plain = _SPACE.sub(" ", line).strip()
        if not plain.strip("… "):
            continue
        pattern = ".*?".join(re.escape(part.strip()) for part in plain.split("…"))
        found = re.search(pattern, rest)
        if not found:
            return line
        rest = rest[found.end() :]
    return ""


class Shell:
    """One bash that keeps its variables from command to command.

    Args:
        folder: Where it runs.
        environment: Added to this process's own.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**os.environ, "PATH": path, "COLUMNS": "200", "TERM": "dumb", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(10)
        self._reader.join(5)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)

    def run(self, command: str, seconds: float) -> tuple[int, str]:
        """Return (status, what it printed); TimeoutError when it takes longer."""
        self._count += 1
        end = f"<<end {self._count}"
        assert self._process.stdin
        self._process.stdin.write(f"{command}\nprintf '\\n{end} %s\\n' $?\n")
        self._process.stdin.flush()
        until, printed = time.monotonic() + seconds, []
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{command!r} takes longer than {seconds:.0f} s") from None
            if line.startswith(end):
                return int(line.split()[-1]), "".join(printed).rstrip("\n")
            printed.append(line)


def run_page(text: str, wanted: set[str], shell: Shell, folder: Path, *, seconds: float, patience: float = 0) -> int:
    """Run a page's marked blocks in order and return how many commands ran.

    Args:
        wanted: Values of the `run` marks to run; the empty one is `<!-- run -->`.
        seconds: Bound of one command.
        patience: For so long a command is run again while a line that the page shows is missing.

    Raises:
        PageWrong: A command failed, or did not print what the page says.
    """
    count = 0
    for block in blocks(text):
        if block.mark == "file":
            target = folder / block.value
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text + "\n", encoding="utf-8")
        elif block.mark == "run" and block.value in wanted:
            for step in _steps_of(block):
                _run_step(step, shell, seconds, patience)
                count += 1
    return count


def _steps_of(block: Block) -> Iterator[Step]:
    if block.language == "console":
        yield from steps(block)
    elif block.language == "python":
        yield Step(f"python - <<'PY'\n{block.text}\nPY", (), block.line)
    else:
        yield Step(block.text, (), block.line)


def _run_step(step: Step, shell: Shell, seconds: float, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        status, printed = shell.run(step.command, seconds)
        lacking = missing(step.shown, printed)
        if not status and not lacking:
            return
        if time.monotonic() >= until:
            what = f"ended with {status}" if status else f"did not print {lacking!r}"
            raise PageWrong(f"line {step.line}: {step.command!r} {what}; it printed:\n{printed}")
        time.sleep(_PAUSE_SECONDS)
