PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: demo test lint types unit search integration fmt bench bench-quick bench-soak bench-faults picture release help

demo: .venv/demo ## The whole story on this machine, with no AWS account
	@$(BIN)/assumed demo

test: lint types .venv/dev ## Everything that CI runs: lint, types, tests
	$(BIN)/pytest

lint: .venv/dev ## Style and likely mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: .venv/dev ## mypy, strict
	$(BIN)/mypy

unit: .venv/dev ## The fast tests: no process, no socket
	$(BIN)/pytest tests/unit

search: .venv/dev ## Look for inputs that break a property: new ones each time, for minutes
	$(BIN)/pytest --hypothesis-profile=search $(shell grep -rl --include='*.py' 'from hypothesis import .*given' tests)

integration: .venv/dev ## Real processes, HTTP, files and the real AWS CLI
	$(BIN)/pytest tests/integration

fmt: .venv/dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/bench ## Measure, in a quarter of an hour; bench/README.md shows the results
	$(BIN)/python -m bench

bench-quick: .venv/bench ## Measure in a minute, and write nothing
	$(BIN)/python -m bench --quick

bench-soak: .venv/bench ## Refresh without a pause for 30 minutes, and watch memory and descriptors
	$(BIN)/python -m bench.idle --soak 30
	$(BIN)/python -m bench --tell

bench-faults: .venv/bench ## Race other writers, live through 5,000 days of faults: 20 minutes
	$(BIN)/python -m bench.race
	$(BIN)/python -m bench.chaos

picture: .venv/dev ## Draw docs/status.svg, which the README shows
	$(BIN)/python -m tests.picture

release: ## Build what is published, and try it; publishes nothing
	@PYTHON=$(PYTHON) release/release.sh

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Debian 12's pip knows no dependency groups (PEP 735), so pip comes first.
.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

.venv/demo: .venv/pip pyproject.toml
	$(BIN)/pip install --quiet --editable ".[demo]"
	@touch $@

.venv/dev: .venv/demo pyproject.toml
	$(BIN)/pip install --quiet --group dev
	@touch $@

.venv/bench: .venv/dev pyproject.toml
	$(BIN)/pip install --quiet --group bench
	@touch $@
