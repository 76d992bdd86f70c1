.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
ARGS ?=
TEST_JOBS ?= 2
DEVICE ?= cpu
STUDY ?= ultd
# Where studies and measurements of one's own stand, beside the committed ones. PUBLISH=1, for maintainers: in their place.
OWN := $(if $(PUBLISH),,/own)

.PHONY: help env test test-long lint clean table1 data sweep report plots report-scale gate gate-update gate-test speed rows cost further rival stacks first-call speed-all plan-time plan-wide calibrate known-truth storm slurm-test scaling grid-speed selection-study plan-study worlds worlds-test study printed findings publish publish-sweep

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# The stamp comes last, so that an interrupted installation is started again. pip would compile the packages one
# file after the other, their tests too; a file that does not compile here (templates) is nothing to stop for.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up the environment in $(VENV) (PyTorch is the large part) ..."
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=...") if not (3, 11) <= sys.version_info < (3, 14) else None'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --no-compile -c constraints.txt -e '.[dev]'
	@$(VENV)/bin/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib || true
	@touch $@

env: $(READY) ## create the environment

table1: env ## train what is missing of Table 1 and write one's own, results/table1 (BENCH_DATA=dir: where the data are)
	$(RUN) -m bench.reproduce $(ARGS)

test: env ## run the test-suite (TEST_JOBS processes)
	$(RUN) -m pytest -q -n $(TEST_JOBS) --dist worksteal $(ARGS)

test-long: env ## tests that make test leaves out: of more rows, launchers, sizes (minutes)
	$(RUN) -m pytest -q -n $(TEST_JOBS) --dist worksteal -m long $(ARGS)

slurm-test: env ## a sweep through a Slurm on this machine, as root (tests/slurm/setup.sh --install gets Slurm)
	$(RUN) -m pytest -q -rs -m slow tests/slurm $(ARGS)

data: env ## download Coat and KuaiRec, and say how to get Yahoo! R3
	$(RUN) -m bench.data.download $(ARGS)

known-truth: env ## every row on generated data, where the truth is known (results/synthetic/own)
	$(RUN) -m bench.study.known_truth --output results/synthetic$(OWN) $(ARGS)

gate: env ## train a quick profile and compare it with results/gate/baseline.csv (minutes)
	$(RUN) -m bench.gate.quick $(ARGS)

gate-update: env ## make today's quick profile the baseline, and say what changed
	$(RUN) -m bench.gate.quick --update $(ARGS)

gate-test: env ## plant regressions for the gate to catch, and run it ten times with nothing changed
	$(RUN) -m pytest -q -m slow tests/bench/gate/test_gate_catches.py $(ARGS)

worlds: env ## what generated and simulated ratings can tell: item mean, MF, true propensities (results/worlds/own)
	$(RUN) -m bench.study.worlds --output results/worlds$(OWN) $(ARGS)

worlds-test: env ## the default generated world: true propensities above MF, MF above the item mean
	$(RUN) -m pytest -q -m slow tests/bench/study/test_worlds.py $(ARGS)

calibrate: env ## fix the strength of KuaiRec's simulated selection (results/kuairec/own)
	$(RUN) -m bench.study.kuairec_selection --output results/kuairec$(OWN)/calibration.csv $(ARGS)

# The paper's rows and the controls that are tuned; METHODS='$(FURTHER)' for the further methods.
# LAUNCHER=basic for one cell after the other.
SUITE := mf,ips,dr,dr_jl,escm2_dr,cause,kdcrec,ltd,autodebias,res_ips,res_dr,ultd_tp,ultd_jl,mf_combine,eib,kdcrec_bridge,ltd_ips
FURTHER := glob(*,exclude=[$(SUITE),item_mean,ips_oracle])
METHODS ?= $(SUITE)
DATASETS ?= coat,yahoo_r3,kuairec
PROTOCOL ?= table
SWEEP ?= paper
SEEDS ?= 20
LAUNCHER ?= joblib

WINNERS = $(RUN) -m bench.tuned --methods '$(METHODS)' --datasets $(DATASETS) --protocols $(PROTOCOL) \
  --sweep $(SWEEP) seeds=$(SEEDS) $(ARGS)

sweep: env ## the paper's grids (METHODS= DATASETS= PROTOCOL= SWEEP=), winners to conf/tuned/own, points to results/sweep/own
	$(RUN) -m bench -m 'method=$(METHODS)' dataset=$(DATASETS) protocol=$(PROTOCOL) sweep=$(SWEEP) seeds=$(SEEDS) \
	  hydra/launcher=$(LAUNCHER) $(ARGS); status=$$?; $(WINNERS) && exit $$status

further: env ## sweep the further methods: the twelve's budget on Coat, the reduced plan elsewhere; then what they cost
	$(MAKE) sweep METHODS='$(FURTHER)' DATASETS=coat SWEEP=paper
	$(MAKE) sweep METHODS='$(FURTHER)' DATASETS=yahoo_r3,kuairec SWEEP=reduced SEEDS=10
	$(MAKE) cost

publish-sweep: env ## for maintainers: the winners of a sweep (its METHODS= ...) to conf/tuned and results/sweep
	$(WINNERS) --publish

study: env ## variants of rows beside each other (STUDY=: a file of conf/study), tuned alike (results/study/own)
	$(RUN) -m bench.study $(STUDY) --output results/study$(OWN) $(ARGS)

printed: env ## where the paper's printed numbers may come from (row by row: ARGS='--only "MF on Coat"'; results/study/own)
	$(RUN) -m bench.study printed --output results/study$(OWN) $(ARGS); status=$$?; \
	  $(RUN) -m bench.study.printed --output results/study$(OWN) && exit $$status

speed: env ## measure the engine against one-model-at-a-time PyTorch and the memory's speed (DEVICE=cuda)
	$(RUN) -m bench.speed --device $(DEVICE) $(ARGS)

rows: env ## steps and phases of the table's rows with either kernels (results/speed/own)
	$(RUN) -m bench.speed.rows --output results/speed$(OWN)/rows.csv $(ARGS)
	$(RUN) -m bench.speed.rows --phases --output results/speed$(OWN)/phases.csv $(ARGS)

cost: env ## what a step of every row costs beside MF's, at Coat's size (results/speed/own)
	$(RUN) -m bench.speed.costs --output results/speed$(OWN)/costs.csv $(ARGS)

rival: env ## the engine against a public script's MF and DR-JL (RIVAL=its folder: bench/speed/rival.py says which)
	$(RUN) -m bench.speed.rival $(RIVAL) --output results/speed$(OWN)/rival.csv $(ARGS)

stacks: env ## what stacks should be like: sizes, draws, leaving members, threads and processes (results/speed/own)
	$(RUN) -m bench.speed.stacks --output results/speed$(OWN)/stacks.csv $(ARGS)

first-call: env ## seconds of import and of compiling the kernels, cold and from disk (results/speed/own)
	$(RUN) -m bench.speed.first_call --output results/speed$(OWN)/first_call.csv $(ARGS)

# The two data sets' usual sizes for phases, and Coat for the plan: the rest of either takes much longer.
speed-all: env ## all measurements of results/speed, on a machine without other work (RIVAL=folder: make rival as well)
	-$(RUN) -m bench.speed --output results/speed$(OWN)/cpu.csv
	$(RUN) -m bench.speed.rows --output results/speed$(OWN)/rows.csv
	$(RUN) -m bench.speed.rows --phases --shapes 0,1 --output results/speed$(OWN)/phases.csv
	$(RUN) -m bench.speed.grid --output results/speed$(OWN)/grid.csv
	$(RUN) -m bench.speed.stacks --output results/speed$(OWN)/stacks.csv
	$(RUN) -m bench.speed.first_call --output results/speed$(OWN)/first_call.csv
	$(if $(RIVAL),$(RUN) -m bench.speed.rival $(RIVAL) --output results/speed$(OWN)/rival.csv)
	$(RUN) -m bench.speed.plan_time 'method=glob(*,exclude=[item_mean,ips_oracle])' dataset=coat sweep=paper \
	  seeds=$(SEEDS) --output results/speed$(OWN)/plan.csv

plan-time: env ## how long sweeps will take here, row by row (results/speed/own; ARGS: overrides of the sweep)
	$(RUN) -m bench.speed.plan_time --output results/speed$(OWN)/plan.csv $(ARGS)

# The paper's grid goes on to 128 and 256 on the two larger data sets; their sweeps here end at 64.
plan-wide: env ## what embedding sizes of 128 and 256 would take on Yahoo! R3 and KuaiRec (results/speed/own)
	$(RUN) -m bench.speed.plan_time method=$(SUITE) dataset=yahoo_r3,kuairec sweep=reduced \
	  seeds=10 --wide 128,256 --output results/speed$(OWN)/wide.csv $(ARGS)

selection-study: env ## which rule of selection finds the better points, on generated data (results/selection/own)
	$(RUN) -m bench.study.selection_rules --output results/selection$(OWN)/rules.csv $(ARGS)

plan-study: env ## how good the points are that plans of seeds choose, on generated data and Coat (results/selection/own)
	$(RUN) -m bench.study.plan_regret --output results/selection$(OWN)/plans.csv $(ARGS)

grid-speed: env ## the paper's 80 points of MF on Coat against one model at a time (results/speed/own)
	$(RUN) -m bench.speed.grid --output results/speed$(OWN)/grid.csv $(ARGS)

storm: env ## kill, damage and starve a small sweep; its table must stay the same (minutes)
	$(RUN) -m pytest -q -m slow tests/test_storm.py $(ARGS)

scaling: env ## how time and memory grow with members, users, ratings, batch and processes (results/scaling/own)
	$(RUN) -m pip install -q -c constraints.txt -e '.[plots]'
	$(RUN) -m bench.speed.scaling --output results/scaling$(OWN) $(ARGS)

report: env ## write one's own table and its page, results/table1/index.html, from the records
	$(RUN) -m bench.table $(ARGS)
	$(RUN) -m bench.report $(ARGS)

publish: env ## for maintainers: results/published from the records, where nothing vanishes (FORCE=1: even then; KEEP=1: what has no record stays)
	$(RUN) -m bench.gate.publish $(if $(FORCE),--force) $(if $(KEEP),--keep) $(ARGS)
	$(RUN) -m bench.study.report
	$(RUN) -m bench.study.readme

findings: env ## what came of the published table: results/published/REPORT.md and the front page's sentences
	$(RUN) -m bench.study.report $(ARGS)
	$(RUN) -m bench.study.readme $(ARGS)

plots: env ## draw the page's charts as SVG (ARGS="--format png" for PNG) into results/table1/plots
	$(RUN) -m bench.report.plots $(ARGS)

report-scale: env ## table and page of a store of 100,000 generated records, within a minute and 2 GiB
	$(RUN) -m pytest -q -m slow tests/bench/report/test_report_scale.py $(ARGS)

lint: env ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy bench methods

clean: ## remove the environment and caches, never results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
