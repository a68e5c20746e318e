"""Values that are made by the thousand: frozen like any other, filled in a fraction of the time.

Owns: the faster constructor of a frozen dataclass, and what such a value remembers of itself. Refuses: to change
what such a value is, compares or prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, Generic, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


class kept(Generic[_T]):
    """An attribute that is worked out when it is first read, for a value whose instances have a dictionary.

    What `functools.cached_property` does without the lock, which costs as much as most of what is kept; two threads
    that read at once may both work it out, to the same end.
    """

    def __init__(self, work: Callable[[Any], _T]) -> None:
        self._work, self.__doc__ = work, work.__doc__
        self._name = work.__name__

    def __get__(self, owner: Any, kind: type | None = None) -> _T:
        """Return what is kept from now on; the instance's own entry comes before this one the next time."""
        found: _T = self._work(owner)
        owner.__dict__[self._name] = found
        return found


def quick(kind: type[_T]) -> type[_T]:
    """Return a frozen dataclass with a constructor that is as fast as that of an open one.

    The standard one goes through `object.__setattr__` once a field, which takes five times as long: of a back-test a
    fifth of the time. Here an instance with slots is filled while it belongs to an open class of the same slots, and
    one with a dictionary by way of that. Signature, defaults, `__post_init__`, equality and hash stay.
    """
    known: dict[str, Any] = {"_factory": object(), "_frozen": kind, "_turn": object.__setattr__}
    entries = [entry for entry in fields(kind) if entry.init]  # type: ignore[arg-type]
    slots = vars(kind).get("__slots__")
    lines = [f"def __init__({', '.join(['self', *_signature(entries, known)])}):", *_defaults(entries)]
    if slots is None:
        values = ", ".join(f"{entry.name!r}: {entry.name}" for entry in entries)
        lines.append(f"    _turn(self, '__dict__', {{{values}}})")
    else:
        known["_open"] = type(f"_Open{kind.__name__}", (), {"__slots__": slots})
        lines.append("    _turn(self, '__class__', _open)")
        lines += [f"    self.{entry.name} = {entry.name}" for entry in entries]
        lines.append("    self.__class__ = _frozen")
    if hasattr(kind, "__post_init__"):
        lines.append("    self.__post_init__()")
    # Only names of fields go into this text; `dataclasses` makes its own constructor in the same way.
    exec("\n".join(lines), known)  # noqa: S102
    made = known["__init__"]
    made.__qualname__ = f"{kind.__qualname__}.__init__"
    made.__module__ = kind.__module__
    made.__annotations__ = dict(kind.__init__.__annotations__)
    kind.__init__ = made  # type: ignore[method-assign]
    return kind


def maker(kind: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a function that makes what a dataclass with slots makes of the same arguments, in half the time.

    A call of a class leaves the interpreter's loop twice; a function that fills the instance does not. For the handful
    of values of which a replay makes some with every charge.
    """
    assert isinstance(kind, type)
    slots = vars(kind)["__slots__"]
    assert not hasattr(kind, "__post_init__"), f"{kind.__name__} checks itself when it is made"
    frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    # A frozen one is filled while it belongs to an open class of the same slots.
    shape = type(f"_Open{kind.__name__}", (), {"__slots__": slots}) if frozen else kind
    known: dict[str, Any] = {"_factory": object(), "_made": kind, "_shape": shape, "_new": object.__new__}
    entries = [entry for entry in fields(kind) if entry.init]
    lines = [f"def make({', '.join(_signature(entries, known))}):", *_defaults(entries), "    value = _new(_shape)"]
    lines += [f"    value.{entry.name} = {entry.name}" for entry in entries]
    lines += ["    value.__class__ = _made"] if frozen else []
    lines.append("    return value")
    exec("\n".join(lines), known)  # noqa: S102
    found: Callable[_P, _T] = known["make"]
    return found


def _defaults(entries: list[Field[Any]]) -> Iterator[str]:
    """Yield the lines that make the default of each argument that was left out and needs one of its own."""
    for entry in entries:
        if entry.default_factory is not MISSING:
            yield f"    if {entry.name} is _factory: {entry.name} = _default_{entry.name}()"


def _signature(entries: list[Field[Any]], known: dict[str, Any]) -> Iterator[str]:
    for entry in entries:
        default = f"_default_{entry.name}"
        if entry.default is not MISSING:
            known[default] = entry.default
            yield f"{entry.name}={default}"
        elif entry.default_factory is not MISSING:
            known[default] = entry.default_factory
            yield f"{entry.name}=_factory"
        else:
            yield entry.name
