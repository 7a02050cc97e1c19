# One virtual environment, .venv in this folder, is made on first use and brought up to date when
# pyproject.toml or constraints.txt change. `make` alone lists the targets.
#
# Settings, as `make test PYTHON=/path/to/python3.11`:
#   PYTHON     interpreter that makes .venv (3.11 or newer; the pins are tested on 3.11)
#   PIP_FLAGS  more options for pip, such as --no-index or another index
#   WORKERS    processes for tests and evaluation

PYTHON    ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
PIP_FLAGS ?=
WORKERS   ?= 2

VENV  := .venv
READY := $(VENV)/.ready
PY    := $(VENV)/bin/python
CLI   := $(VENV)/bin/pkubench

# The main job: every agent we ship, on every task it was made for, then the site from the records.
EVALUATE := $(CLI) evaluate --all --workers $(WORKERS) --out results
EXPORT   := $(CLI) leaderboard export results/site --results results

# The theme and a plug-in each print a page of advice about other site builders.
QUIET_DOCS := NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true

# Unpinned BLAS threads on a busy machine are up to 100 times slower than one.
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: evaluate
evaluate: $(READY) ## Set up, evaluate the shipped agents on all tasks, write results/ and results/site
	$(EVALUATE)
	$(EXPORT)

.PHONY: test
test: $(READY) ## Set up and run the tests (minutes)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

.PHONY: test-slow
test-slow: $(READY) ## Set up and run the tests marked slow (training to a threshold)
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m slow

.PHONY: lint
lint: $(READY) ## Check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

.PHONY: format
format: $(READY) ## Put imports and formatting right
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: docs
docs: $(READY) ## Build the documentation site into site/
	$(QUIET_DOCS) $(PY) -m mkdocs build --strict

.PHONY: bench
bench: $(READY) ## Measure speed side by side with peers
	$(PY) -m benchmarks

results-%: benchmarks/results/%.py $(READY) ## Measure a published table again: benchmarks/results/NAME.py
	$(PY) -m benchmarks.results.$*

.PHONY: setup
setup: $(READY) ## Only make or update the virtual environment

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "pkubench needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Bringing $(VENV) up to date (minutes the first time, seconds later)"
	@$(PY) -m pip install -qq --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[all,dev]'
	@touch $@

.PHONY: clean
clean: ## Remove what make wrote, but not results/ and runs/
	rm -rf $(VENV) site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
