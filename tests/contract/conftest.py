"""The contract room's files, and a copy of it that a test may spoil."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

# The checks live in tools/, which is no installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="session")
def proto(request: pytest.FixtureRequest) -> Path:
    """The folder `proto/`."""
    return request.config.rootpath / "proto"


@pytest.fixture
def spoiled(proto: Path, tmp_path: Path) -> Path:
    """A copy of `proto/` to spoil."""
    return Path(shutil.copytree(proto, tmp_path / "proto"))
