PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: demo test lint types unit search integration fmt bench bench-quick bench-soak bench-faults picture reference release help

demo: .venv/demo ## Run a walkthrough without an AWS account
	@$(BIN)/assumed demo

test: lint types .venv/dev ## Run all checks and tests, as CI does
	$(BIN)/pytest

lint: .venv/dev ## Check style and common errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev ## Check types with mypy, strict
	$(BIN)/mypy

unit: .venv/dev ## Run the tests of single modules
	$(BIN)/pytest tests/unit

search: .venv/dev ## Search for new inputs that break a property, for minutes
	$(BIN)/pytest --hypothesis-profile=search $(shell grep -rl --include='*.py' 'from hypothesis import .*given' tests)

integration: .venv/dev ## Run the tests with real daemons, HTTP and the AWS CLI
	$(BIN)/pytest tests/integration

fmt: .venv/dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/bench ## Measure for 15 minutes; results in bench/README.md
	$(BIN)/python -m bench

bench-quick: .venv/bench ## Measure for a minute, and write nothing
	$(BIN)/python -m bench --quick

bench-soak: .venv/bench ## Refresh for 30 minutes, and watch memory and descriptors
	$(BIN)/python -m bench.idle --soak 30
	$(BIN)/python -m bench --report

bench-faults: .venv/bench ## Race other writers, simulate 5,000 days of faults: 20 min
	$(BIN)/python -m bench.race
	$(BIN)/python -m bench.chaos

picture: .venv/dev ## Draw docs/status.svg for the README
	$(BIN)/python -m tests.picture

reference: .venv/dev ## Write docs/configuration.md and the JSON Schema
	$(BIN)/python -m tests.reference_page

release: ## Build and try the release; publish nothing
	@PYTHON=$(PYTHON) release/release.sh

help: ## Show this list
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
