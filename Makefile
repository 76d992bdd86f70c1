.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

.PHONY: help env test lint clean table1 data sweep report gate speed

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# The stamp comes last, so that an interrupted installation is started again.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up the environment in $(VENV) (PyTorch is the large part) ..."
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

env: $(READY) ## create the environment

test: env ## run the test-suite
	$(VENV)/bin/python -m pytest -q

lint: env ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy bench

clean: ## remove the environment and caches, never results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

table1 data sweep report gate speed:
	@echo "make $@ is not there yet: this version holds the records and the shared types only." >&2; exit 1
