"""What is deployed, looked at without an engine and without a cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The gates live in deploy/ and tools/, which are no installed packages.
sys.path.insert(0, str(ROOT))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out on a machine that can have neither helm nor promtool, when asked by name."""
    if os.environ.get("DUNWELL_DEPLOY_TESTS") != "off":
        return
    ours = [item for item in items if Path(item.path).parent == Path(__file__).parent]
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT
