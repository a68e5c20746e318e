"""Reading the repository's Markdown: its links, its anchors, its blocks, and the commands that they name.

A comment right before a fenced block says what the tests do with it:

    <!-- file: NAME -->      the block is written to NAME, so that later blocks of the page can use it
    <!-- run -->             the block is executed; lines after a `$ ` command must appear in what it prints
    <!-- run: stack -->      the same, against a started stack, by the end-to-end test
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import typer

from dunwell_cli.main import app

IGNORED = {".venv", "var", "node_modules", ".pytest_cache", ".git", ".hypothesis", "build", "dist"}
_FENCE = re.compile(r"^(?P<fence>```+|~~~+)\s*(?P<language>[\w-]*)\s*$")
_MARK = re.compile(r"^<!--\s*(?P<mark>run|file)(?:\s*:\s*(?P<value>[^>]*?))?\s*-->$")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)")
_HTML = re.compile(r"<(?:img|a)\b[^>]*\b(?:src|href)=\"(?P<target>[^\"]+)\"")
_CODE = re.compile(r"`[^`]*`")
_HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*#*$")
# What a page writes where its reader writes his own word.
_COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?(?P<command>(?:dunwell|make)(?:\s.*)?)$")
_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", ")"}


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced or indented block; `line` is that of its first line, from 1."""

    language: str
    text: str
    line: int
    mark: str = ""
    value: str = ""


def pages(root: Path) -> list[Path]:
    """Return every Markdown file that people wrote or that is generated for them."""
    return sorted(p for p in root.rglob("*.md") if not IGNORED & set(p.relative_to(root).parts))


def blocks(text: str) -> Iterator[Block]:
    """Yield a page's blocks in order: fenced ones, and indented ones after an empty line."""
    lines = text.splitlines()
    at, mark, value = 0, "", ""
    while at < len(lines):
        line = lines[at]
        if fence := _FENCE.match(line.strip()):
            end = at + 1
            while end < len(lines) and lines[end].strip() != fence["fence"]:
                end += 1
            indent = len(line) - len(line.lstrip())
            body = "\n".join(each[indent:] for each in lines[at + 1 : end])
            yield Block(fence["language"], body, at + 2, mark, value)
            at, mark, value = end + 1, "", ""
            continue
        if found := _MARK.match(line.strip()):
            mark, value = found["mark"], (found["value"] or "").strip()
        elif line.strip():
            mark, value = "", ""
            if line.startswith("    ") and (at == 0 or not lines[at - 1].strip()):
                end = at
                while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                    end += 1
                yield Block("", "\n".join(each.strip() for each in lines[at:end]).strip(), at + 1)
                at = end
                continue
        at += 1


def prose(text: str) -> str:
    """Return a page without its fenced blocks; line numbers stay."""
    kept, fence = [], ""
    for line in text.splitlines():
        found = _FENCE.match(line.strip())
        if fence:
            fence = "" if line.strip() == fence else fence
            kept.append("")
        elif found:
            fence = found["fence"]
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def anchors(text: str) -> set[str]:
    """Return the anchors a forge makes of the headings: lower case, words joined by hyphens, repeats numbered."""
    seen: dict[str, int] = {}
    found = set()
    for line in prose(text).splitlines():
        if heading := _HEADING.match(line):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"]).lower()
            slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            found.add(f"{slug}-{count}" if count else slug)
    return found


def links(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line from 1, target) of every link and picture outside code."""
    for number, line in enumerate(prose(text).splitlines(), start=1):
        bare = _CODE.sub("", line)
        for pattern in (_LINK, _HTML):
            yield from ((number, found["target"]) for found in pattern.finditer(bare))


def broken_links(page: Path, root: Path) -> list[str]:
    """Return what is wrong with a page's relative links: a file or an anchor that is not there."""
    wrong = []
    for number, target in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / unquote(name)).resolve() if name else page
        where = f"{page.relative_to(root)}:{number}: {target}"
        if not place.exists():
            wrong.append(f"{where}: there is no such file")
        elif not place.is_relative_to(root):
            wrong.append(f"{where}: leaves the repository")
        elif anchor and place.suffix == ".md" and anchor not in anchors(place.read_text(encoding="utf-8")):
            wrong.append(f"{where}: there is no such heading")
    return wrong


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line from 1, command) of each `dunwell` or `make` command in a page's blocks and code spans."""
    for block in blocks(text):
        if block.language not in ("", "console", "bash", "sh", "shell"):
            continue
        joined = re.sub(r"\\\n\s*", " ", block.text)
        for line in joined.splitlines():
            if found := _COMMAND.match(line.strip()):
                yield block.line, found["command"]
            yield from ((block.line, inner) for inner in re.findall(r"\$\((dunwell [^()|]+)", line))
    for number, line in enumerate(prose(text).splitlines(), start=1):
        for span in re.findall(r"`([^`]+)`", line):
            if found := _COMMAND.match(span.strip()):
                yield number, found["command"]


def wrong_command(command: str, targets: set[str]) -> str:
    """Return what a command names that does not exist; empty when all of it does.

    Args:
        targets: The Makefile's targets.
    """
    try:
        words = shlex.split(command, comments=True)
    except ValueError as error:
        return str(error)
    kept: list[str] = []
    for word in words:
        if word in _ENDS:
            break
        kept.append(word)
    # `[OPTIONS]` and `COMMAND` stand for whatever comes there.
    kept = [word for word in kept if not word.startswith("[")]
    if kept[:1] == ["make"]:
        unknown = [word for word in kept[1:] if "=" not in word and word not in targets and word.strip("…")]
        return f"no target {unknown[0]!r}" if unknown else ""
    return _wrong_dunwell(kept[1:])


def _wrong_dunwell(words: list[str]) -> str:
    # Typer brings classes of its own, so what a command is shows in what it has.
    current: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(current, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if not name.strip("….,") or name == "COMMAND":
            return ""
        # `cases list|show|why` names three at once.
        parts = [current.commands.get(part) for part in name.strip(",").split("|")]
        if None in parts:
            return f"no command {name!r} in {current.name or 'dunwell'!r}"
        current = next(part for part in parts if part is not None)
    return _wrong_options(current, rest)


def _wrong_options(current: Any, words: list[str]) -> str:
    known = {
        flag: parameter
        for parameter in current.params
        if parameter.param_type_name == "option"
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    places = sum(parameter.param_type_name == "argument" for parameter in current.params)
    given, rest = 0, list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            given += bool(word.strip("….,"))
            continue
        flag, equals, _ = word.strip(".,").partition("=")
        if flag == "--help":
            continue
        if flag not in known:
            return f"{current.name!r} has no option {flag}"
        if not equals and not known[flag].is_flag and rest:
            rest.pop(0)
    return f"{current.name!r} takes {places} words, not {given}" if given > places else ""


def make_targets(makefile: str) -> set[str]:
    """Return the targets that people call, from the list of phony ones."""
    found = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)
    return set(found[1].split()) if found else set()
