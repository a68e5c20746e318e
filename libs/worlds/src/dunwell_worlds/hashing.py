"""Chance that depends on the question alone, so that every policy meets the same luck.

Owns: hashing (seed, invoice, concern, counter) to a number. Refuses: generators with a state.
Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the finalizer).
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_SCALE = 1.0 / (1 << 64)


def mixed(value: int) -> int:
    """Return 64 well-stirred bits of an integer."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@lru_cache(maxsize=4096)  # a world has some twenty concerns and asks for them with every draw
def key(seed: int, concern: str) -> int:
    """Return the 64-bit key of one concern of one world."""
    return mixed((seed & _MASK) ^ mixed(zlib.crc32(concern.encode())))


def uniform(concern_key: int, subject: int, counter: int = 0) -> float:
    """Return a number in [0, 1) that depends on the three arguments alone."""
    # `mixed` of `mixed`, written out: a replay draws so often that the calls alone would cost as much as the draws.
    value = (((subject << 24) ^ counter) + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    value = ((concern_key ^ value ^ (value >> 31)) + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return (value ^ (value >> 31)) * _SCALE


def stirred(subject: int, counter: int = 0) -> int:
    """Return what all draws of one subject and counter have in common, for `drawn`: half of the work of each."""
    value = (((subject << 24) ^ counter) + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def drawn(concern_key: int, stir: int) -> float:
    """Return the number of `uniform(concern_key, subject, counter)`; `stir` is `stirred(subject, counter)`."""
    value = ((concern_key ^ stir) + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return (value ^ (value >> 31)) * _SCALE


def mixed_all(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return `mixed` of each number."""
    value = values + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def uniforms(concern_key: int, count: int) -> list[float]:
    """Return `uniform(concern_key, subject)` of the subjects 0, 1, … below a count: a tenth of the work."""
    stirs = mixed_all(np.arange(count, dtype=np.uint64) << np.uint64(24))
    found: list[float] = (mixed_all(np.uint64(concern_key) ^ stirs) * _SCALE).tolist()
    return found


def generator(seed: int, concern: str) -> np.random.Generator:
    """Return the generator that draws one concern for all invoices at once, in invoice order."""
    return np.random.default_rng([seed & _MASK, zlib.crc32(concern.encode())])
