PYTHON ?= python3
BIN := .venv/bin
# Compared with git's empty tree, every tracked line is new, so `git diff --check` reads them all.
EMPTY_TREE := 4b825dc642cb6eb9a060e54bf8d69288fbee4904

.DEFAULT_GOAL := help
.PHONY: demo test lint types coverage unit search integration fleet fmt bench bench-quick bench-soak bench-faults clients picture reference docs lock packages release help

demo: .venv/demo ## Walk through the features against a local AWS; no account needed
	@$(BIN)/assumed demo
	@echo "The demo needed .venv/, and left nothing else here. \`rm -r .venv\` removes it."

test: lint types .venv/dev ## Run lint, type checks and all tests, as CI does
	$(BIN)/pytest

lint: .venv/dev ## Check style and whitespace, shell scripts and workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	git diff --check $(EMPTY_TREE)
	$(BIN)/shellcheck .ci/run packaging/*.sh
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config \
	  .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
	  $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

types: .venv/dev ## Check types with mypy
	$(BIN)/mypy

coverage: .venv/dev ## Run all tests, and fail if they cover less than 95 % of lines and branches
	$(BIN)/pytest --cov=assumed --cov-report=term:skip-covered

unit: .venv/dev ## Run the unit tests
	$(BIN)/pytest tests/unit

search: .venv/dev ## Test properties with new random inputs for some minutes
	$(BIN)/pytest --hypothesis-profile=search $(shell grep -rl --include='*.py' 'from hypothesis import .*given' tests)

integration: .venv/dev ## Run the tests with real processes, HTTP, files and the AWS CLI
	$(BIN)/pytest tests/integration

fleet: .venv/fleet ## Run the Ansible playbook on a machine booted in namespaces; as root
	$(BIN)/pytest tests/integration/test_ansible.py

fmt: .venv/dev ## Format the code and apply automatic fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/bench ## Run the benchmarks and update bench/README.md (15 minutes)
	$(BIN)/python -m bench

bench-quick: .venv/bench ## Run a short version of the benchmarks; write nothing (1 minute)
	$(BIN)/python -m bench --quick

bench-soak: .venv/bench ## Break everything around one daemon, again and again (an hour)
	$(BIN)/python -m bench.soak
	$(BIN)/python -m bench --report

bench-faults: .venv/bench ## Race other writers and simulate 5,000 days of faults (20 minutes)
	$(BIN)/python -m bench.race
	$(BIN)/python -m bench.chaos

clients: .venv/dev ## Run real clients through expiring sessions; write docs/clients.md (20 minutes)
	$(BIN)/python -m tests.clients

picture: .venv/dev ## Draw docs/status.svg for the README
	$(BIN)/python -m tests.picture

reference: .venv/dev ## Write docs/configuration.md and the JSON Schema
	$(BIN)/python -m tests.reference_page

docs: .venv/dev ## Build the documentation site into site/, with strict links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file packaging/mkdocs.yml

lock: .venv/dev ## Pin the dependencies by hash in packaging/requirements.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-emit-index-url --upgrade \
	  --custom-compile-command "make lock" --output-file packaging/requirements.txt

packages: ## Build sdist, wheel, Debian package, image and SBOM into dist/
	@PYTHON=$(PYTHON) packaging/packages.sh

release: ## Build and try the distributions, then list the manual steps
	@PYTHON=$(PYTHON) packaging/release.sh

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The pip of Debian 12 does not support dependency groups (PEP 735), so upgrade pip first.
.venv/pip:
	@echo "Creating .venv/ ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

.venv/demo: .venv/pip pyproject.toml
	@echo "Installing assumed, moto and the AWS CLI into .venv/, once ..."
	$(BIN)/pip install --editable ".[demo]"
	@touch $@

.venv/dev: .venv/demo pyproject.toml
	$(BIN)/pip install --quiet --group dev
	@touch $@

.venv/fleet: .venv/dev pyproject.toml
	$(BIN)/pip install --quiet --group fleet
	@touch $@

.venv/bench: .venv/dev pyproject.toml
	$(BIN)/pip install --quiet --group bench
	@touch $@
