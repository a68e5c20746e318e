"""Chance is seeded: the standard module only in kit/chance, numpy only by a generator with a seed."""

from __future__ import annotations

from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED = {
    "libs/kit/src/dunwell_kit/chance.py": "makes the generators",
    "libs/kit/src/dunwell_kit/ids.py": "ids hold chance",
}
_SEEDED = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "RandomState"}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield uses of the module `random`, and of numpy's global or unseeded generators."""
    for line, module in source.imports():
        if module == "random":
            yield line, "the module random is kit/chance's"
    for call, name in source.calls():
        _, is_numpy, what = name.partition("numpy.random.")
        if is_numpy and (what.split(".")[0] not in _SEEDED or not (call.args or call.keywords)):
            yield call.lineno, f"{name}() is not seeded"
