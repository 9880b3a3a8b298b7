# Every target makes .venv itself; a second call finds it ready.
# PYTHON=python3.12 make test   takes another interpreter;   DEMO="--speech DIR" make demo   another folder of speech.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check docs wheel-check bench bench-sequence gpu format clean

PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Looked for only when `make gpu` is asked for; on the CPU any Python with our packages will do.
SEES_CARD = import sys, torch; sys.exit(not ("--tiny" in "$(GPU)" or torch.cuda.is_available()))
GPU_PYTHON ?= $(shell for name in $(BIN)/python "$(PYTHON)" python3; do \
	"$$name" -c '$(SEES_CARD)' 2>/dev/null && echo "$$name" && break; done)
DOMAINS ?= work/domains
STAMP := .venv/.installed
DEMO_STAMP := .venv/.installed-demo
CODE := molex_adapt tests benchmarks tools

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

demo: $(DEMO_STAMP) ## Show the whole story on real speech, offline, in three minutes
	@case " $(DEMO) " in *" --speech"*) ;; *) tools/install_speech.sh ;; esac
	$(BIN)/molex-adapt demo $(DEMO)

# Compiled tests are kept, whatever the environment says: to compile them anew takes each process eight seconds.
test: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP) ## Run the tests (no network, no GPU)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal $(TESTS)

check: $(STAMP) ## Check format, lint, types and tests
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(MAKE) test

docs: $(STAMP) ## Build the documentation as a site that opens offline, site/index.html
	$(BIN)/python -m tools.cli_reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

wheel-check: $(STAMP) ## Build sdist and wheel, install that in a new environment, and work there
	tools/wheel_check.sh "$(PYTHON)" $(BIN)/python

bench: $(STAMP) ## Measure what everything costs, against its peers; the machine must do nothing else
	@tools/install_speech.sh
	$(BIN)/python -m benchmarks startup cost crossover training adding speed --again
	$(BIN)/python -m benchmarks.report

bench-sequence: $(STAMP) ## Learn a sequence of attacks by every method, from DOMAINS, resuming where it stopped (hours)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks sequence --domains $(DOMAINS)
	$(BIN)/python -m benchmarks.report

# No .venv: its torch computes on the CPU alone, and a machine with a card may reach no package index.
gpu: ## Measure on a graphics card, in 8 minutes; GPU_PYTHON=python3 has a torch that sees one, GPU=--tiny tries without
	@if [ -z "$(GPU_PYTHON)" ]; then \
		echo "No Python here has a torch that sees a CUDA card. Name one: make gpu GPU_PYTHON=/path/to/python3" >&2; \
		echo "To try on a CPU that everything runs: make gpu GPU=--tiny" >&2; exit 1; fi
	"$(GPU_PYTHON)" -m benchmarks.gpu $(GPU)

format: $(STAMP) ## Format the code and mend what lint can mend
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

clean: ## Remove everything that make made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist demo-out site
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): $(DEMO_STAMP)
	$(PIP) --editable '.[demo,dev]'
	@touch $@

# Half of what the tests need, so that the demonstration is not waited for.
$(DEMO_STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 or later found. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than Python 3.11. Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	$(PIP) --editable '.[demo]'
	@touch $@
