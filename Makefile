# Every target sets up what it needs in .venv; Python 3.11+ and pip are all it takes.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help serve test check format efforts budgets clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/serve.done ## run the server on http://127.0.0.1:8000 (ARGS="--port 9000" passes flags)
	@echo "starting: tops serve $(ARGS)"
	@exec $(BIN)/tops serve $(ARGS)

test: $(VENV)/dev.done ## run the tests (ARGS="-k budget" passes flags)
	@echo "running: pytest $(ARGS)"
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev.done ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/dev.done ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

efforts: $(VENV)/serve.done ## compare every effort with auto on a running server
	@$(BIN)/tops load loadtest/plans/efforts.toml $(ARGS)

budgets: $(VENV)/serve.done ## check 1,000 random budgets on a running server
	@$(BIN)/tops load loadtest/plans/budgets.toml $(ARGS)

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/python.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "python -m venv failed: install your system's python3-venv package, then run make again" >&2; exit 1; }
	@touch $@

$(VENV)/serve.done: $(VENV)/python.done pyproject.toml
	@echo "installing the server into $(VENV)"
	@$(PIP) install --no-compile -e . || { \
	  echo "pip could not install the packages: see its message above; a proxy or mirror is set with PIP_INDEX_URL" >&2; exit 1; }
	@touch $@

$(VENV)/dev.done: $(VENV)/python.done pyproject.toml
	@echo "installing the server and its test tools into $(VENV)"
	@$(PIP) install -e '.[dev]' || { \
	  echo "pip could not install the packages: see its message above; a proxy or mirror is set with PIP_INDEX_URL" >&2; exit 1; }
	@touch $(VENV)/serve.done $@
