"""Finding a world by name.

Owns: `module:factory`, `history:FILE` and the short names of the shipped worlds. Refuses: what a world does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from dunwell_kit.money import EXPONENTS
from dunwell_retry.backtest.history import history_world
from dunwell_worlds.invoices import said
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
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WorldUnknown(f"cannot read {str(path)!r}: {said(error)}") from error
        if not text.strip():
            raise WorldBroken(f"{str(path)!r} holds no invoice")
        return history_world(text)
    module_name, _, attribute = SHIPPED.get(name, name).partition(":")
    if not attribute:
        raise WorldUnknown(f"{name!r} is neither module:factory nor one of {', '.join(SHIPPED)}")
    try:
        module = importlib.import_module(module_name)
    # A module may do anything while it is loaded: a SyntaxError, an error of its own, even an exit.
    except (Exception, SystemExit) as error:
        raise WorldUnknown(f"cannot import {module_name!r}: {said(error)}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise WorldUnknown(f"module {module_name!r} has no factory {attribute!r}")
    found: Factory = factory
    return found


def open_world(factory: Factory, seed: int, invoices: int) -> ValidatedWorld:
    """Return a fresh guarded world of at most so many invoices; WorldBroken when the factory does not make one."""
    try:
        world = factory(seed, invoices)
    except WorldBroken:
        raise
    except Exception as error:
        rule = "the factory must take (seed, invoices)" if isinstance(error, TypeError) else "the factory failed"
        raise WorldBroken(f"{rule}: {said(error)}") from error
    try:
        return ValidatedWorld(world, invoices, EXPONENTS)
    except WorldBroken:
        raise
    except Exception as error:
        raise WorldBroken(f"world {type(world).__name__} cannot be looked at: {said(error)}") from error
