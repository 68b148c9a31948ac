# What a person types. Everything needed is put into .venv by these rules; nothing else on the machine is touched.
PYTHON ?= python3
RUN := .venv/.for-running
DEV := .venv/.for-developing
BIN := .venv/bin
BENCH := .venv-bench/.for-measuring

.PHONY: help setup demo test test-slow test-system test-node test-gateway check bench bench-orders bench-streams bench-losses bench-slow-disk clean

help:
	@echo "make demo    a simulated Gateway and the bridge in front of it; no account, no network"
	@echo "make test    the test suite, six tests at a time, in any order; three minutes at most"
	@echo "make test-slow  the rest of it: its longest stories and properties"
	@echo "make test-system  what needs more of the machine: a Debian that boots with the bridge on it (root), and Node"
	@echo "make check   ruff and mypy --strict"
	@echo "make bench   what the bridge costs, beside others; needs wrk, better with nginx (ARGS=--quick: a short look)"
	@echo "make bench-orders  10,000 orders while everything goes wrong: none twice, none lost; 20 minutes (ARGS=--quick: one)"
	@echo "make bench-streams  what two hundred readers of the stream get, and when (ARGS=--quick: a short look)"
	@echo "make bench-losses  a brokerage session lost a thousand times; a minute (ARGS=--quick: a hundred)"
	@echo "make bench-slow-disk  health and streams while the journal's disk takes two seconds; half a minute"
	@echo "make test-gateway CPGW_DIR=...   hold the simulated Gateway against a real one; docs/gateway.md"
	@echo "make setup   only the environment, in .venv"
	@echo "make clean   remove all environments and the tools' caches"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; say which: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; rm -rf .venv; exit 1; }

$(RUN): requirements.txt | .venv/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt | .venv/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

setup: $(RUN) $(DEV)

demo: $(RUN)
	@$(BIN)/python bridge.py demo $(ARGS)

# Most of a test is waiting, so that several share a core; which of them run side by side, and in which order, is drawn.
SIDE_BY_SIDE := -n 6 --dist worksteal

test: $(DEV)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow" $(ARGS)

test-slow: $(DEV)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slow $(ARGS)

test-gateway: $(DEV)
	@CPGW_DIR="$(abspath $(CPGW_DIR))" $(BIN)/python -m tests.contract $(ARGS)

NODE := tests/node/node_modules/.for-testing

test-system: $(DEV)
	@$(BIN)/python -m tests.system $(ARGS)
	@bash tests/system/firewall.sh
	@bash tests/system/containers.sh
	@if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; \
	then $(MAKE) --no-print-directory test-node; \
	else echo "Node 20 or later, or its npm, is missing: its tests are left out (apt install npm, or nodejs.org)"; fi

test-node: $(RUN) $(NODE)
	@cd tests/node && npm run --silent build && node --test --test-timeout=300000

$(NODE): tests/node/package-lock.json
	@cd tests/node && npm ci --silent
	@touch $@

check: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

$(BENCH): bench/requirements.txt | .venv/bin/python
	@$(BIN)/python -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
	@touch $@

bench: $(RUN) $(BENCH)
	@$(BIN)/python -m bench $(ARGS)

bench-orders: $(RUN)
	@$(BIN)/python -m bench.orders $(ARGS)

bench-streams: $(RUN)
	@$(BIN)/python -m bench.streams $(ARGS)

bench-losses: $(RUN)
	@$(BIN)/python -m bench.losses $(ARGS)

bench-slow-disk: $(RUN)
	@$(BIN)/python -m bench.slow_disk

clean:
	rm -rf .venv .venv-bench tests/node/node_modules tests/node/build .pytest_cache .mypy_cache .ruff_cache .hypothesis
