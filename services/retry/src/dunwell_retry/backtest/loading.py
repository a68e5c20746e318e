"""Finding a world by name.

Owns: `module:factory`, `history:FILE` and the short names of the shipped worlds. Refuses: what a world does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from dunwell_retry.backtest.history import history_world
from dunwell_worlds.protocol import World
from dunwell_worlds.validate import ValidatedWorld, WorldBroken

Factory = Callable[[int, int], World]
SHIPPED = {
    "base": "dunwell_worlds.base:make",
    "stress_05share": "dunwell_worlds.stress:stress_05share",
    "stress_nocalendar": "dunwell_worlds.stress:stress_nocalendar",
    "stress_night": "dunwell_worlds.stress:stress_night",
    "stress_outages": "dunwell_worlds.stress:stress_outages",
    "foreign": "dunwell_worlds.foreign:make",
}


class WorldUnknown(ValueError):
    """No world under this name; the message says what was looked for."""


def factory_of(name: str) -> Factory:
    """Return the factory of `module:factory`, `history:FILE` or a shipped world's short name."""
    if name.startswith("history:"):
        path = Path(name.removeprefix("history:"))
        if not path.is_file():
            raise WorldUnknown(f"no file {str(path)!r} to replay")
        return history_world(path.read_text("utf-8"))
    module_name, _, attribute = SHIPPED.get(name, name).partition(":")
    if not attribute:
        raise WorldUnknown(f"{name!r} is neither module:factory nor one of {', '.join(SHIPPED)}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise WorldUnknown(f"cannot import {module_name!r}: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise WorldUnknown(f"module {module_name!r} has no factory {attribute!r}")
    found: Factory = factory
    return found


def open_world(factory: Factory, seed: int, invoices: int) -> ValidatedWorld:
    """Return a fresh guarded world; WorldBroken when the factory does not make one."""
    try:
        world = factory(seed, invoices)
    except TypeError as error:
        raise WorldBroken(f"the factory must take (seed, invoices): {error}") from error
    return ValidatedWorld(world)
