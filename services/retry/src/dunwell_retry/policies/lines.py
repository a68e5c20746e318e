"""Where in a text a field of a document stands.

Owns: lines of YAML and JSON, and fields given twice, of which a parser would silently take the last. Refuses: what a
policy may say.
"""

from __future__ import annotations

import re

import yaml

_PART = re.compile(r"[^.\[\]]+")


def line_of(text: str, path: str) -> int | None:
    """Return the line (from 1) of a field such as `ladders.default[2]`; of a missing one, its parent's line."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return None
    line = node.start_mark.line
    for name in _PART.findall(path):
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == name), None)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
            node = node.value[int(name)]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def repeated(text: str) -> tuple[str, int] | None:
    """Return the path and the line of the first field that is given twice in its mapping, if any."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return _repeated(node, "") if node is not None else None


def _repeated(node: yaml.Node, prefix: str) -> tuple[str, int] | None:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            if (found := _repeated(item, f"{prefix}[{number}]")) is not None:
                return found
    if not isinstance(node, yaml.MappingNode):
        return None
    seen: set[str] = set()
    for key, value in node.value:
        path = f"{prefix}.{key.value}" if prefix else str(key.value)
        if str(key.value) in seen:
            return path, int(key.start_mark.line) + 1
        seen.add(str(key.value))
        if (found := _repeated(value, path)) is not None:
            return found
    return None
