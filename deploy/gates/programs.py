"""What the programs that a container runs really take: their commands and the variables that they read.

Owns: the answer, derived by running the programs' own settings code with an environment that remembers every question.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import opentelemetry.sdk.environment_variables as otel
import typer

from dunwell_cli.main import app
from dunwell_kit.errors import Misconfigured
from dunwell_kit.run import runtime_of
from dunwell_kit.settings import SERVICES, Environment, kit_settings
from dunwell_sandbox.settings import sandbox_settings

# What a start needs before a service's own settings are asked; never connected to.
_PLACE_HOLDERS = {"DUNWELL_KAFKA_BOOTSTRAP": "nowhere:9092"}


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Return a variable and remember its name."""
        self.names.add(name)
        return super().get(name, default)


@cache
def _service_variables(service: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that a service reads, and those among them that it demands."""
    url = f"DUNWELL_{service.upper()}_DATABASE_URL"
    asked = Asked({**_PLACE_HOLDERS, url: "postgresql://nobody@nowhere/nothing"})
    environment = Environment(asked)

    async def build() -> None:
        runtime = runtime_of(service, environment)
        built = importlib.import_module(f"dunwell_{service}.main").build(runtime)
        if built.on_close:
            await built.on_close()
        await runtime.database.close()

    asyncio.run(build())
    demanded = _unset(environment)
    empty = Environment({})
    kit_settings(service, empty)
    return frozenset(asked.names | _read_directly("dunwell_kit")), frozenset(demanded | _unset(empty))


def _unset(environment: Environment) -> set[str]:
    try:
        environment.check()
    except Misconfigured as error:
        return set(re.findall(r"([A-Z0-9_]+) is not set", str(error)))
    return set()


@cache
def _read_directly(package: str) -> frozenset[str]:
    """Return the names, or patterns of names, that a package's sources take from `os.environ` themselves."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    found: set[str] = set()
    for path in Path(spec.origin).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "os.environ" not in text:
            continue
        tree = ast.parse(text)
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        found |= {name for node in ast.walk(tree) for name in _environ_names(node, constants)}
    return frozenset(found)


def _environ_names(node: ast.AST, constants: dict[str, Any]) -> Iterator[str]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get":
        argument = node.args[0]
    elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        argument = node.slice
    else:
        return
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
    elif isinstance(argument, ast.Name):
        yield str(constants.get(argument.id, argument.id))
    elif isinstance(argument, ast.JoinedStr):
        yield "".join(str(p.value) if isinstance(p, ast.Constant) else "[A-Z]+" for p in argument.values)


@cache
def _sandbox_variables() -> frozenset[str]:
    asked = Asked({})
    sandbox_settings(Environment(asked))
    return frozenset(asked.names | {"DUNWELL_CLOCK_FILE"})


@cache
def _root_command() -> Any:
    return typer.main.get_command(app)


def command_at(words: list[str]) -> Any:
    """Return the `dunwell` command that words lead to, None when they lead nowhere or an option is unknown."""
    found: Any = _root_command()
    rest = list(words)
    # Asked by shape: typer brings a click of its own, whose classes are not the library's.
    while hasattr(found, "commands"):
        if not rest or rest[0] not in found.commands:
            return None
        found = found.commands[rest.pop(0)]
    known = {option for parameter in found.params for option in parameter.opts}
    return found if all(word in known for word in rest if word.startswith("--")) else None


def program_of(command: list[str]) -> str:
    """Return which program a container's command starts: a service, `sandbox`, `dunwell`, or empty for a stranger."""
    if command[:2] == ["python", "-m"] and len(command) == 3:
        return command[2].removeprefix("dunwell_")
    return "dunwell" if command[:1] == ["dunwell"] else ""


def command_exists(command: list[str], files: set[str]) -> bool:
    """True when the image can run a command.

    Args:
        files: Paths that are mounted into the container.
    """
    if program_of(command) == "dunwell":
        return command_at(command[1:]) is not None
    if command[:2] == ["python", "-m"]:
        return len(command) == 3 and importlib.util.find_spec(command[2]) is not None and _runs(command[2])
    return len(command) > 1 and command[0] == "python" and command[1] in files


def _runs(package: str) -> bool:
    return importlib.util.find_spec(f"{package}.__main__") is not None


def variables_of(command: list[str], sources: str = "") -> tuple[frozenset[str], frozenset[str]]:
    """Return the names (or patterns of names) that a command reads, and those that it demands.

    Args:
        sources: Text of a mounted script; every name in it counts as read and demanded.
    """
    program = program_of(command)
    tracing = frozenset(getattr(otel, name) for name in dir(otel) if name.startswith("OTEL_"))
    if program in SERVICES:
        read, demanded = _service_variables(program)
        return read | tracing, demanded
    if program == "sandbox":
        return _sandbox_variables(), frozenset()
    if program == "dunwell":
        found = command_at(command[1:])
        parameters = found.params if found else []
        taken = {str(p.envvar): p.required for p in parameters if p.envvar}
        demanded = frozenset(name for name, required in taken.items() if required)
        return frozenset(taken) | _read_directly("dunwell_cli"), demanded
    named = frozenset(re.findall(r"environ\[\"([A-Z_]+)\"\]", sources))
    return named, named


def unknown_variables(given: set[str], read: frozenset[str]) -> set[str]:
    """Return the names among those given that nothing reads."""
    return {name for name in given if not any(re.fullmatch(pattern, name) for pattern in read)}
