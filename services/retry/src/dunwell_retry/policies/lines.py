"""Where in a text a field of a document stands.

Owns: lines of YAML and JSON, fields given twice, of which a parser would silently take the last, and the bounds of a
text that is worth reading. Refuses: what a policy may say.
"""

from __future__ import annotations

import re

import yaml

# The longest document that uses every field has some thousand characters and nests four deep.
_LENGTH_MAX = 65_536
_DEPTH_MAX = 12
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
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


def outgrown(text: str) -> tuple[str, int | None] | None:
    """Return why a text is too much to be read, and the line; None when it is not. Composes nothing."""
    if len(text) > _LENGTH_MAX:
        return f"must have at most {_LENGTH_MAX} characters", None
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        # A few lines of aliases can stand for millions of values.
        if isinstance(event, yaml.AliasEvent):
            return "must not use aliases: write the value out", _line(event)
        depth += isinstance(event, _OPENS) - isinstance(event, _CLOSES)
        if depth > _DEPTH_MAX:
            return f"must nest at most {_DEPTH_MAX} deep", _line(event)
    return None


def _line(event: yaml.Event) -> int | None:
    return int(event.start_mark.line) + 1 if event.start_mark else None


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
