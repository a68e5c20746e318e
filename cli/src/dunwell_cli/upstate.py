"""What `dunwell up` started and where: a state file.

Owns: the file. Refuses: starting anything, so that commands which only look need not load what starts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def state_file(data_dir: Path) -> Path:
    """Return where the state of `up` is kept."""
    return data_dir / "state.json"


def read_state(data_dir: Path) -> dict[str, Any]:
    """Return the state of `up`; empty when nothing is up."""
    path = state_file(data_dir)
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def alive(pid: int) -> bool:
    """True when a process of ours with that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def write_state(data_dir: Path, **values: Any) -> None:
    """Write the state in one step, so that nobody reads half of it."""
    path = state_file(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": os.getpid(), **values}), encoding="utf-8")
    fresh.replace(path)
