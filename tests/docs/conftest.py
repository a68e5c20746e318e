"""The documents: what they link to, what they name, what they say that a command prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The readers of this folder are no installed package.
sys.path.insert(0, str(HERE))
os.environ.setdefault("DUNWELL_CACHE_DIR", str(ROOT / "var" / "cache"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT
