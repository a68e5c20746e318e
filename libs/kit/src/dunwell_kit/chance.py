"""Chance: seeded, so that equal inputs give equal choices.

Owns: making generators. Refuses: any unseeded draw in business code.
"""

from __future__ import annotations

import hashlib
import random


def rng(*parts: object) -> random.Random:
    """Return a generator seeded by the given parts, the same in every process."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return random.Random(digest)


def uniform(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7]) / float(1 << 56)


def jitter() -> float:
    """Return an unseeded number in [0, 1) for back-off spreading only."""
    return random.random()
