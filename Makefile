# Everything on a new machine: `make demo` and `make test`. Both install what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Where it is set, each process would compile all it imports again.
unexport PYTHONDONTWRITEBYTECODE
DEMO_HOME := .loopline/replays/flights

.PHONY: help install demo test lint types layers check newest benchmarks benchmarks-serving benchmarks-steps benchmarks-policies benchmarks-monitoring faults soak constraints clean debian

help:
	@echo "make demo         install, replay a year of flights under three policies, write the report"
	@echo "make test         lint, types, layers, tests on SQLite and PostgreSQL, docs"
	@echo "make benchmarks   replay and point-in-time joins, side by side with peers"
	@echo "make benchmarks-serving   serving, side by side with peers and limits"
	@echo "make benchmarks-steps   a trivial pipeline step, side by side with peers and limits"
	@echo "make benchmarks-policies   a retraining policy chosen on half a year of flights, and what it came to on the other half (half an hour)"
	@echo "make benchmarks-monitoring   monitoring, side by side with peers; goes on where it was stopped (QUICK=1: a little of every part)"
	@echo "make faults       every fault of the pipeline engine in full: kills, freezes, full disks, cut networks (root)"
	@echo "make soak         100,000 requests across swaps, kills and rollbacks; every prediction accounted for"
	@echo "make newest       resolve without the constraints file and run the tests"
	@echo "make constraints  resolve anew and write constraints.txt"

$(STAMP): pyproject.toml constraints.txt hatch_build.py src/loopline/native.py $(wildcard src/loopline/models/runtimes/forest/*.[ch] src/loopline/monitoring/counters/*.[ch])
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[postgres,examples,lightgbm,xgboost,otel,grpc,notebook,ray]' --group dev
	@touch $@

install: $(STAMP)

# The tests start a real PostgreSQL, whose Debian package brings its server programs, and try the libraries in C, which installing builds.
debian:
	@command -v cc >/dev/null 2>&1 || { \
		echo "installing a C compiler for the tests"; \
		$$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc libc6-dev >/dev/null'; }
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || { \
		echo "installing PostgreSQL for the tests"; \
		$$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null'; }

demo: $(STAMP)
	@$(BIN)/loopline replay examples/flights/loop.py --from 2013-01-01 --until 2014-01-02 --home $(DEMO_HOME) --report demo-report.html

lint: $(STAMP)
	$(BIN)/ruff format --check src tests examples benchmarks hatch_build.py
	$(BIN)/ruff check src tests examples benchmarks hatch_build.py

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

check: lint types layers

test: debian $(STAMP) check
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

newest:
	rm -rf .venv-newest && $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-newest/bin/uv pip install --quiet --python .venv-newest/bin/python --upgrade --editable '.[postgres,examples,lightgbm,xgboost,otel,grpc,notebook,ray]' --group dev
	.venv-newest/bin/pytest

benchmarks: $(STAMP)
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/point_in_time.py

# One core for each server in turn, one for the load. The peers are installed into .venv-peers.
benchmarks-serving: $(STAMP)
	$(BIN)/python benchmarks/serving.py

benchmarks-steps: debian $(STAMP)
	$(BIN)/python benchmarks/steps.py

benchmarks-policies: $(STAMP)
	$(BIN)/python benchmarks/policies.py --home .loopline/replays/policies

# The peers are installed into .venv-peers. Findings are kept as they come: the same command goes on from there, `make clean` forgets them.
benchmarks-monitoring: $(STAMP)
	$(BIN)/python benchmarks/monitoring.py $(if $(QUICK),--quick --keep .loopline/benchmarks/monitoring-quick.jsonl,--keep .loopline/benchmarks/monitoring.jsonl)

# The tests of `make test`, with the full number of faults; each says how many were tried, survived, and how long recovery took.
faults: debian $(STAMP)
	@for tool in strace faketime iptables; do command -v $$tool >/dev/null 2>&1 || { \
		$$(test "$$(id -u)" = 0 || echo sudo) sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$tool >/dev/null"; }; done
	LOOPLINE_FAULTS=1 $(BIN)/pytest -n0 -s tests/faults
	LOOPLINE_FAULTS=1 $(BIN)/pytest -n0 -m heavy --ignore tests/faults

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py

constraints:
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file constraints.txt

clean:
	rm -rf $(VENV) .venv-newest .venv-clients .venv-peers .loopline demo-report.html dist
