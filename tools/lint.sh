#!/usr/bin/env bash
# Every gate that is not a test. Fails on the first that bites, and says which.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
step() { printf '%-28s' "$1"; shift; if out=$("$@" 2>&1); then echo ok; else echo FAILED; echo "$out" | tail -60; exit 1; fi; }
step "ruff format" $bin/ruff format --check -q .
step "ruff" $bin/ruff check -q .
step "mypy" $bin/mypy $(sed 's,$,/src,' tools/packages.txt)
step "mypy of the tools" env MYPYPATH=. $bin/mypy --namespace-packages --explicit-package-bases deploy/gates deploy/compose/connect_sandbox.py tools/deploy_tools.py tools/reference.py bench
step "reference pages" $bin/python tools/reference.py --check
step "generated code" $bin/python tools/generate.py --check
step "buf lint" $bin/buf lint proto
if [ -f proto/base.binpb ]; then step "buf breaking" $bin/buf breaking proto --against proto/base.binpb; fi
if [ -f .importlinter ]; then step "import walls" $bin/lint-imports; fi
if [ -f tools/lint/__main__.py ]; then step "own rules" $bin/python -m tools.lint; fi
