# Everything that is done with this repository, by name. `make` alone lists it.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PATH := $(PATH):/usr/sbin:/sbin

# How long and how many; `make fuzz SECONDS=600`.
SECONDS ?= 60
FUZZ_SECONDS ?= 10
SOAK_SECONDS ?= 600
KILLS ?= 20
SEEDS ?= 10000

# For one test or one peer: `make test-swift FILTER=Routing`, `make test-integration PYTEST='-k paho'`,
# `make bench BENCH='--only p2p-qos0 --rounds 1'`, `make soak SOAK='--seed 7'`, `make crash CRASH='--kind default'`.
FILTER ?=
PYTEST ?=
BENCH ?=
START ?=
SOAK ?=
CRASH ?=

APUS := .build/release/apus
APUS_BENCH := $(APUS) serve --port {port} --data {dir} --log-level error
APUS_CRASH := $(APUS) serve --port {port} --data {dir} --log-level error
PYTHON := .venv/bin/python
SWIFT_PATHS := $(wildcard Package.swift Sources Tests Fuzz Benchmarks Examples)
COMPUTING := SimulationTests|MQTTStoreTests|MQTTJournalTests
TEST_PACKAGES := git=git mosquitto mosquitto-clients nodejs node-mqtt iproute2 strace=strace

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build run
build: ## the release build of everything, tests included
	@Scripts/install-packages git=git
	swift build -c release --build-tests

run: ## build and start the broker on port 1883 of loopback, its data in ./apus-data
	@Scripts/install-packages git=git
	swift build -c release --product apus
	$(APUS) serve --data ./apus-data

.PHONY: test test-packages test-swift test-conformance test-integration archive test-crash test-soak test-fuzz test-micro test-growth
test: ## install what tests need, build, run every test, fuzz for FUZZ_SECONDS (10)
	@MAKE="$(MAKE)" FUZZ_SECONDS="$(FUZZ_SECONDS)" Scripts/test

test-packages: ## install the Debian packages and the Python environment that tests need
	@Scripts/install-packages $(TEST_PACKAGES)
	@Scripts/virtualenv

test-swift: build ## the Swift tests; FILTER=… for some
ifeq ($(FILTER),)
	@# What computes keeps both cores from what waits for sockets.
	swift test -c release --skip-build --skip '$(COMPUTING)'
	swift test -c release --skip-build --filter '$(COMPUTING)'
else
	swift test -c release --skip-build --filter '$(FILTER)'
endif

test-conformance: build test-packages ## the statements of MQTT 3.1.1 and 5.0 against a running broker; PYTEST=… for options
	$(PYTHON) -m pytest -q Tests/Conformance $(PYTEST)

test-integration: build test-packages archive ## other people's clients against a running broker; PYTEST=… for options
	$(PYTHON) -m pytest -q Tests/Integration $(PYTEST)

archive: build ## the example that keeps messages in SQLite
	@Scripts/install-packages libsqlite3-dev
	APUS_ARCHIVE=1 swift build -c release --product archive

test-crash: build ## what `make test` kills: the broker, two times in each row of `make crash`, and a publisher 20 times in each of its
	@Scripts/install-packages python3=python3
	Tests/Crash/kills.py --kills 2 --shortest 0.5 --longest 1 --parallel 6 -- $(APUS_CRASH)
	Tests/Crash/client_kills.py --kills 20 -- $(APUS_CRASH)

test-soak: SOAK_SECONDS = 60
test-soak: build soak ## what `make test` soaks: a minute

test-fuzz: ## what `make test` fuzzes: FUZZ_SECONDS (10)
	@Scripts/fuzz $(FUZZ_SECONDS)

test-micro: build ## the micro-benchmarks, of which `make test` judges allocations and retains
	@Scripts/install-packages python3=python3
	@Scripts/bench-micro counts

test-growth: build growth-packages ## the curves of growth with small numbers, which judge no time
	.build/release/growth --quick
	Benchmarks/curves --quick

.PHONY: conformance simulate crash soak sanitize fuzz bench bench-table
conformance: build test-packages ## test each normative statement and print the table: what proves it, and whether it held
	@$(PYTHON) Tests/Conformance/table.py $(PYTEST)

simulate: build ## the long simulation, SEEDS (10000)
	APUS_SIMULATION_SEEDS=$(SEEDS) swift test -c release --skip-build --filter Simulation

crash: ## kill the broker under load, KILLS (20) times in each of six rows, then a publisher, and print what they lost
	@Scripts/install-packages git=git python3=python3
	swift build -c release --product apus
	swift build -c release --product durable-publisher
	Tests/Crash/kills.py --kills $(KILLS) --parallel 2 $(CRASH) -- $(APUS_CRASH)
	Tests/Crash/client_kills.py --kills $(KILLS) -- $(APUS_CRASH)

soak: ## thousands of clients for SOAK_SECONDS (600), then nothing of them is left; SOAK=… for options
	@Scripts/install-packages git=git python3=python3
	swift build -c release --product apus
	Tests/Soak/soak.py --seconds $(SOAK_SECONDS) $(SOAK) -- $(APUS) serve --in-memory --port {port}

sanitize: ## the Swift tests and a short soak with AddressSanitizer, then with ThreadSanitizer
	@Scripts/install-packages git=git python3=python3
	@Scripts/sanitize

fuzz: ## fuzz the decoders for SECONDS (60); what fails is kept in .build-fuzz/crashes
	@Scripts/fuzz $(SECONDS)

bench: ## the same load for Apus and mosquitto, side by side; BENCH=… for options
	@Scripts/install-packages git=git mosquitto cc=gcc libc6-dev python3=python3
	swift build -c release --product apus
	Benchmarks/peer/compare --ours '$(APUS_BENCH) --threads 1' --peer 'default=$(APUS_BENCH)' --markdown .build/bench.md \
		--short .build/bench-short.md $(BENCH)

bench-table: bench ## the same, written into README and the article about performance
	Benchmarks/tables Sources/MQTTServer/MQTTServer.docc/Performance.md bench=.build/bench.md
	Benchmarks/tables README.md bench=.build/bench-short.md

.PHONY: bench-client
bench-client: ## the client library beside MQTT.js, and how much memory 10,000 idle clients take
	@Scripts/install-packages git=git python3=python3 nodejs node-mqtt
	swift build -c release --product apus
	swift build -c release --product client-bench
	Benchmarks/client-compare --at-least 5 $(BENCH) -- $(APUS) serve --port {port} --in-memory --log-level error --threads 1 \
		--limit receive-maximum=1000

.PHONY: bench-backlog
bench-backlog: ## how much memory 10 million queued messages take; BENCH=… for options
	@Scripts/install-packages git=git python3=python3
	swift build -c release --product apus
	Benchmarks/backlog $(BENCH) -- $(APUS_BENCH)

.PHONY: bench-start
bench-start: ## how long the broker takes to open with a million queued messages; START=… for options
	@Scripts/install-packages git=git python3=python3
	swift build -c release --product apus
	swift build -c release --product start-data
	Benchmarks/start $(START)

.PHONY: bench-check bench-thresholds
bench-check: ## compare the micro-benchmarks of codec, routing, sessions and core with their thresholds
	@Scripts/install-packages git=git python3=python3
	@Scripts/bench-micro check

bench-thresholds: ## write these thresholds anew
	@Scripts/install-packages git=git python3=python3
	@Scripts/bench-micro update

.PHONY: growth growth-tables growth-packages growth-build
growth: growth-packages growth-build ## how costs grow, a table for each curve: in the core, then through sockets (8 minutes)
	.build/release/growth
	Benchmarks/curves

growth-tables: growth-packages growth-build ## the same, written into Benchmarks/README.md
	.build/release/growth >.build/growth.txt
	Benchmarks/curves >.build/curves.txt
	Benchmarks/tables Benchmarks/README.md growth=.build/growth.txt curves=.build/curves.txt

growth-packages:
	@Scripts/install-packages git=git mosquitto cc=gcc libc6-dev python3=python3

growth-build:
	swift build -c release

.PHONY: lint format docs docs-tables docs-pictures clean
lint: ## check the format of all Swift files and the syntax of all scripts
	swift format lint --strict --parallel --recursive $(SWIFT_PATHS)
	@for script in Scripts/* .ci/run; do \
	    case $$(head -n 1 $$script) in *bash) bash -n $$script ;; */sh) sh -n $$script ;; esac || exit 1; \
	done

format: ## format all Swift files in place
	swift format --in-place --parallel --recursive $(SWIFT_PATHS)

docs: build ## the documentation of the libraries, into .build-docs/site; a warning is a failure
	@Scripts/install-packages python3=python3
	@Scripts/docs

docs-tables: build test-packages ## write anew what documents take from the code
	APUS_WRITE_DOCS=1 swift test -c release --skip-build --filter MQTTServerTests.DocumentationTests
	$(PYTHON) Tests/Conformance/document.py

docs-pictures: build ## draw the pictures of README.md anew
	@Scripts/install-packages python3=python3
	Scripts/pictures

clean: ## remove what was built and the Python environment; data stays
	rm -rf .build .build-fuzz .build-docs .build-asan .build-tsan .venv
