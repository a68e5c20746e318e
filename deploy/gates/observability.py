"""Alert rules, dashboards and the collector: what they name is what the code really exports.

Owns: the list of exported metrics, read from the registry and from the places that record them. Refuses: PromQL's
grammar, which promtool checks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.utils import floatToGoString

from dunwell_kit import metrics

# Made by Prometheus itself for each target.
SCRAPED = frozenset({"up", "scrape_duration_seconds", "scrape_samples_scraped"})
# Put on every series by the scrape configuration.
TARGET_LABELS = frozenset({"job", "service", "instance"})
_KEYWORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "group_left", "group_right"})
_LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Exported:
    """One series name of /metrics.

    Args:
        constant: Its name in the kit's registry of metrics; empty for what the client library exports.
        labels: Labels beside the target's.
        buckets: Values of `le`, spelled as exported; empty when it is no bucket.
    """

    constant: str
    labels: frozenset[str]
    buckets: frozenset[str] = frozenset()


@cache
def exported() -> dict[str, Exported]:
    """Return every series name that a service exports."""
    found: dict[str, Exported] = {}
    for constant, metric in vars(metrics).items():
        if not isinstance(metric, MetricWrapperBase):
            continue
        family = next(iter(metric.describe()))
        labels = frozenset(metric._labelnames)
        if isinstance(metric, Histogram):
            bounds = frozenset(floatToGoString(bound) for bound in metric._upper_bounds)  # type: ignore[no-untyped-call]
            found[f"{family.name}_bucket"] = Exported(constant, labels | {"le"}, bounds)
            found[f"{family.name}_sum"] = found[f"{family.name}_count"] = Exported(constant, labels)
        else:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = Exported(constant, labels)
    ours = {next(iter(m.describe())).name for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)}
    for family in REGISTRY.collect():
        if family.name not in ours and family.name.startswith(("process_", "python_")):
            for sample in family.samples:
                found.setdefault(sample.name, Exported("", frozenset(sample.labels)))
    return found | {name: Exported("", frozenset()) for name in SCRAPED}


@cache
def recorded(root: Path) -> frozenset[str]:
    """Return the constants of metrics that some code really records."""
    files = [p for room in ("libs", "services") for p in (root / room).glob("*/src/**/*.py") if p.name != "metrics.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return frozenset(re.findall(r"\bmetrics\.([A-Z_]+)\b", text))


def rules(path: Path) -> dict[str, dict[str, Any]]:
    """Return the alerts of a rule file by name."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def panels(path: Path) -> list[dict[str, Any]]:
    """Return a dashboard's panels that show something."""
    return [panel for panel in json.loads(path.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]


def plain(expression: str) -> str:
    """Return a panel's expression with the dashboard's variables filled in, as Prometheus would get it."""
    filled = expression.replace("$__rate_interval", "1m").replace("$__range", "1h")
    return re.sub(r"\$\{?service\}?", ".*", filled)


def findings(expression: str, root: Path) -> Iterator[str]:
    """Yield what an expression names that the code does not export or record."""
    known = exported()
    for name in sorted(_names(expression)):
        if name not in known:
            yield f"{name} is no metric of ours"
        elif known[name].constant and known[name].constant not in recorded(root):
            yield f"{name} is never recorded"
    for name, matchers in _SELECTOR.findall(expression):
        if name not in known:
            continue
        for label, value in _MATCHER.findall(matchers):
            if label not in known[name].labels | TARGET_LABELS:
                yield f"{name} has no label {label}"
            if label == "le" and value not in known[name].buckets:
                yield f"{name} has no bucket {value}"
    every = TARGET_LABELS.union(*(known[name].labels for name in _names(expression) if name in known))
    for _, listed in _LISTS.findall(expression):
        for label in filter(None, (part.strip() for part in listed.split(","))):
            if label not in every:
                yield f"no metric here has the label {label}"


def _names(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = _LISTS.sub(" ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\boffset\s+\w+", " ", bare)
    words = re.findall(r"(?<![\w.])([a-zA-Z_:][a-zA-Z0-9_:]*)\b(?!\s*\()", bare)
    return {word for word in words if word.lower() not in _KEYWORDS}


def dashboard_findings(document: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a dashboard itself: doubled ids, panels over each other, panels that say nothing."""
    shown = document["panels"]
    ids = [panel["id"] for panel in shown]
    if len(ids) != len(set(ids)):
        yield "two panels have one id"
    taken: dict[tuple[int, int], str] = {}
    for panel in shown:
        at = panel["gridPos"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if cell[0] >= 24 or cell in taken:
                yield f"{panel['title']} lies over {taken.get(cell, 'the edge')}"
                break
            taken[cell] = panel["title"]
        if panel["type"] != "row" and not (panel["description"] and panel["targets"]):
            yield f"{panel['title']} shows or says nothing"


def collector_findings(document: dict[str, Any]) -> Iterator[str]:
    """Yield what a collector's pipelines name and nothing defines, and what is defined and used by none."""
    used: dict[str, set[str]] = {kind: set() for kind in ("receivers", "processors", "exporters")}
    used["extensions"] = set(document["service"].get("extensions", ()))
    for pipeline in document["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            used[kind] |= set(pipeline.get(kind, ()))
    for kind, names in used.items():
        defined = set(document.get(kind, {}))
        yield from (f"{kind[:-1]} {name} is used and not defined" for name in sorted(names - defined))
        yield from (f"{kind[:-1]} {name} is defined and not used" for name in sorted(defined - names))
