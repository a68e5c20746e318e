"""`python -m tools.lint [file ...]`: exits with 1 when a rule bites, one `file:line rule message` a finding."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.lint.run import check_repository

if __name__ == "__main__":
    found = check_repository(Path(__file__).resolve().parents[2])
    for finding in found:
        print(finding)
    sys.exit(1 if found else 0)
