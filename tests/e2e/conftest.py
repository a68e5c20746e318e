"""End-to-end tests share the jar cache of the checkout."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("DUNWELL_CACHE_DIR", str(Path(__file__).resolve().parents[2] / "var" / "cache"))
