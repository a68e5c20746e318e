"""What all tests of the command share: a page as wide as its widest table, whoever runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dunwell_cli.output import console, errors

WIDE = 220


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    """Print tables in full; a console made where COLUMNS is set keeps that width, as in a worker of pytest-xdist."""
    before = console.width, errors.width
    console.width = errors.width = WIDE
    yield
    console.width, errors.width = before
