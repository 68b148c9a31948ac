# The commands for developers. The rules install everything into .venv and change nothing else on the machine.
PYTHON ?= python3
RUN := .venv/.for-running
DEV := .venv/.for-developing
BIN := .venv/bin
BENCH := .venv-bench/.for-measuring
SCHEMATHESIS := .venv-schemathesis/.for-requests
MUTATION := .venv-mutation/.for-mutating
MUTATION_MINUTES ?= 30
NODE := tests/node/node_modules/.for-testing
CLIENT := clients/typescript/node_modules/.for-testing
CLIENT_SOURCES := $(wildcard clients/typescript/src/*.ts clients/typescript/*.json)
APP := examples/nextjs/node_modules/.for-running
BROWSER := tests/browser/node_modules/.for-testing

.PHONY: help setup demo example test test-slow test-system test-node test-browser test-gateway check bench bench-orders bench-streams bench-losses bench-slow-disk bench-many-orders bench-plain bench-operator bench-profiles mutation clean

help:
	@echo "make demo    run a simulated Gateway and the bridge in front of it; no account, and no network once it is installed"
	@echo "make example run the demo, and an app in Next.js in front of it: examples/nextjs; needs Node 20.9 (PORT=3001: another port)"
	@echo "make test    run the tests, six at a time in random order; about six minutes on two cores"
	@echo "make test-slow  run the longest stories, and each property with more examples"
	@echo "make test-system  run the tests that need root or Node: a Debian that boots with the bridge, containers, Node clients"
	@echo "make check   run ruff and mypy --strict"
	@echo "make bench   measure the cost of the bridge and of other proxies; needs wrk, optionally nginx (ARGS=--quick: short)"
	@echo "make bench-orders  send 10,000 orders with faults: none twice, none lost; 20 minutes (ARGS=--quick: one minute)"
	@echo "make bench-streams  measure what two hundred subscribers receive, and when (ARGS=--quick: short)"
	@echo "make bench-losses  lose the brokerage session a thousand times; a minute (ARGS=--quick: a hundred times)"
	@echo "make bench-slow-disk  measure health and streams while a write of the journal takes two seconds; half a minute"
	@echo "make bench-many-orders  measure memory and start of a day with 200,000 orders; a minute"
	@echo "make bench-plain  measure the plain API beside the calls it is made of; half a minute"
	@echo "make bench-operator  measure what metrics, the page and an idle bridge cost; two minutes"
	@echo "make bench-profiles  measure what fifty profiles cost; two minutes"
	@echo "make mutation  plant faults in the code of the money path and count those that its tests notice (MUTATION_MINUTES=$(MUTATION_MINUTES))"
	@echo "make test-gateway CPGW_DIR=...   compare the simulated Gateway with a real one; docs/gateway.md"
	@echo "make setup   make the environment in .venv"
	@echo "make clean   remove all environments and the tools' caches"

.venv/bin/python:
	@echo "Making a virtual environment in .venv. Nothing is installed outside of it."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "the virtual environment could not be made; on Debian and Ubuntu: apt install python3-venv"; rm -rf .venv; exit 1; }

$(RUN): requirements.txt | .venv/bin/python
	@echo "Installing the packages of requirements.txt into .venv. Only the first start needs the network for that."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt | .venv/bin/python
	@echo "Installing the packages of requirements-dev.txt into .venv."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

setup: $(RUN) $(DEV)

demo: $(RUN)
	@$(BIN)/python bridge.py demo $(ARGS)

example: $(RUN) $(APP)
	@exec bash examples/nextjs/start.sh

# A test mostly waits, so three share a core. Their order is random.
PARALLEL := -n 6 --dist worksteal

# The tests start hundreds of processes, and where Python may not keep bytecode each compiles every module again.
test test-slow test-system test-gateway: export PYTHONDONTWRITEBYTECODE =

test: $(DEV)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

$(SCHEMATHESIS): tools/requirements-schemathesis.txt | .venv/bin/python
	@$(BIN)/python -m venv .venv-schemathesis
	@.venv-schemathesis/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/requirements-schemathesis.txt
	@touch $@

test-slow: $(DEV) $(SCHEMATHESIS)
	@$(BIN)/python -m pytest $(PARALLEL) -m "slow or hypothesis" --hypothesis-profile=thorough $(ARGS)

test-gateway: $(DEV)
	@CPGW_DIR="$(abspath $(CPGW_DIR))" $(BIN)/python -m tests.contract $(ARGS)

test-system: $(DEV)
	@$(BIN)/python -m tests.system $(ARGS)
	@bash tests/system/firewall.sh
	@bash tests/system/containers.sh
	@if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; \
	then $(MAKE) --no-print-directory test-node test-browser; \
	else echo "Node 20 or later, or its npm, is missing; the Node tests are skipped (apt install npm, or nodejs.org)"; fi

test-node: $(RUN) $(NODE) $(CLIENT)
	@cd tests/node && npm run --silent build && node --test --test-timeout=300000
	@cd clients/typescript && npm test --silent

$(NODE): tests/node/package-lock.json
	@cd tests/node && npm ci --silent
	@touch $@

$(CLIENT): clients/typescript/package-lock.json
	@cd clients/typescript && npm ci --silent
	@touch $@

# The app gets a copy of the client, so it is installed again after a change of the client.
$(APP): examples/nextjs/package-lock.json $(CLIENT) $(CLIENT_SOURCES)
	@node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor < 2009 ? 1 : 0)' || { echo "Node 20.9 or later is needed (nodejs.org)"; exit 1; }
	@echo "Building the client, and installing the packages of the app into examples/nextjs. Only the first start needs the network."
	@cd clients/typescript && npm run --silent build
	@cd examples/nextjs && npm ci --silent
	@touch $@

test-browser: $(RUN) $(APP) $(BROWSER)
	@cd tests/browser && node --test --test-concurrency=1 --test-timeout=600000

$(BROWSER): tests/browser/package-lock.json
	@cd tests/browser && npm ci --silent
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

bench-plain: $(RUN)
	@$(BIN)/python -m bench.plain $(ARGS)

bench-operator: $(RUN)
	@$(BIN)/python -m bench.operator_page $(ARGS)

bench-profiles: $(RUN)
	@$(BIN)/python -m bench.profiles $(ARGS)

bench-many-orders: $(RUN)
	@$(BIN)/python -m bench.many_orders

$(MUTATION): requirements-dev.txt tools/requirements-mutation.txt | .venv/bin/python
	@$(BIN)/python -m venv .venv-mutation
	@.venv-mutation/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt -r tools/requirements-mutation.txt
	@touch $@

mutation: $(MUTATION)
	@.venv-mutation/bin/python -m tools.mutation --minutes $(MUTATION_MINUTES) $(ARGS)

clean:
	rm -rf .venv .venv-bench .venv-mutation .venv-schemathesis tests/node/node_modules tests/node/build tests/browser/node_modules build examples/nextjs/node_modules examples/nextjs/.next clients/typescript/node_modules clients/typescript/dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
