"""Which files are looked at, by which rules."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.lint import rules
from tools.lint.source import Source

Check = Callable[[Source], Iterator[tuple[int, str]]]


def all_rules() -> dict[str, tuple[Check, dict[str, str]]]:
    """Return each rule by name: what it checks, and where it does not hold with the reason."""
    found = {}
    for module in pkgutil.iter_modules(rules.__path__):
        rule = importlib.import_module(f"tools.lint.rules.{module.name}")
        found[module.name] = (rule.check, rule.ALLOWED)
    return found


def allowed(path: str, places: dict[str, str]) -> bool:
    """True when a path is one of the places, or inside one that ends with a slash."""
    return any(path.startswith(place) if place.endswith("/") else path == place for place in places)


def check_source(source: Source) -> Iterator[str]:
    """Yield the findings of all rules in one file."""
    for name, (check, places) in all_rules().items():
        if not allowed(source.path, places):
            yield from (f"{source.path}:{line} {name} {message}" for line, message in check(source))


def sources(root: Path) -> Iterator[Source]:
    """Yield the hand-written source files of every package."""
    for package in (root / "tools/packages.txt").read_text().split():
        for path in sorted((root / package / "src").rglob("*.py")):
            relative = path.relative_to(root).as_posix()
            if not relative.startswith("libs/contracts/src/dunwell/"):
                yield Source.of(relative, path.read_text(encoding="utf-8"))


def check_repository(root: Path) -> list[str]:
    """Return every finding, and one for each allowed place that is gone."""
    found = [finding for source in sources(root) for finding in check_source(source)]
    for name, (_, places) in all_rules().items():
        found += [
            f"tools/lint/rules/{name}.py allows {place}, which is gone"
            for place in places
            if not (root / place).exists()
        ]
    return found
