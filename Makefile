.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
ARGS ?=

.PHONY: help env test lint clean table1 data sweep report gate gate-update gate-test speed calibrate known-truth

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

table1: env ## train what is missing of Table 1 and write results/table1 (BENCH_DATA=dir says where the data are)
	$(RUN) -m bench.reproduce $(ARGS)

test: env ## run the test-suite
	$(RUN) -m pytest -q $(ARGS)

data: env ## download Coat and KuaiRec, and say how to get Yahoo! R3
	$(RUN) -m bench.data.download $(ARGS)

known-truth: env ## every row on generated data, where the truth is known (results/synthetic)
	$(RUN) -m bench.known_truth $(ARGS)

gate: env ## train a quick profile and compare it with results/gate/baseline.csv (minutes)
	$(RUN) -m bench.quick $(ARGS)

gate-update: env ## make today's quick profile the baseline, and say what changed
	$(RUN) -m bench.quick --update $(ARGS)

gate-test: env ## plant regressions for the gate to catch, and run it ten times with nothing changed
	$(RUN) -m pytest -q -m slow tests/bench/test_gate_catches.py $(ARGS)

calibrate: env ## fix the strength of KuaiRec's simulated selection (results/kuairec)
	$(RUN) -m bench.calibrate $(ARGS)

speed: env ## measure the engine against one-model-at-a-time PyTorch, on one thread
	$(RUN) -m bench.speed $(ARGS)

lint: env ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy bench methods

clean: ## remove the environment and caches, never results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

sweep report:
	@echo "make $@ is not there yet: this version trains the cells of Table 1 over small grids only." >&2; exit 1
