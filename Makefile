# `make help` lists what there is. ARGS goes to the program that a target ends in.

TARGET := $(or $(CARGO_TARGET_DIR),target)
VENV := $(abspath $(TARGET))/e2e-venv
CRATES := $(notdir $(patsubst %/,%,$(dir $(wildcard crates/*/Cargo.toml))))
NPM := $(shell command -v npm 2>/dev/null)
SECONDS ?= 60
WEB_SOURCES := $(shell find web/src web/public web/index.html web/package-lock.json web/vite.config.ts \
	web/svelte.config.js web/tsconfig.json -type f 2>/dev/null)
FUZZ := cargo build --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET)/fuzz-replay
FAULTS := env PYTHONPATH=e2e $(VENV)/bin/python -m faults --roost $(abspath $(TARGET))/debug/roost
BENCH := --locked --manifest-path bench/Cargo.toml

export MAKE_BEGAN := $(shell date +%s)
export NO_UPDATE_NOTIFIER := 1
STEP := @.ci/step

.NOTPARALLEL:
.PHONY: run test check web bench faults fuzz clean help tools fmt lint alone units web-test fuzz-replay bench-test e2e \
	conformance faults-short browser

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s%s\n", $$1, $$2 }'

run: ## build dashboard and server in release, and start it: make run ARGS="--http 127.0.0.1:8080"
ifdef NPM
	$(STEP) "dashboard" $(MAKE) --no-print-directory web
else
	@echo "== no npm here: the server is built without its dashboard (install Node 20 or newer to get it)"
endif
	$(STEP) "roost, release build" cargo build --locked --release -p roost-server
	@exec $(TARGET)/release/roost serve $(ARGS)

web: web/dist/index.html ## build the dashboard into web/dist

web/dist/index.html: $(WEB_SOURCES) web/node_modules/.package-lock.json
	@cd web && npm run --silent build
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json
	@cd web && npm ci --no-progress
	@touch $@

e2e/node_modules/.package-lock.json: e2e/package-lock.json
	@cd e2e && npm ci --no-progress
	@touch $@

check: ## format, types and lints, nothing run
	$(STEP) "format" cargo fmt --all --check
	$(STEP) "types" cargo check --locked --workspace --all-targets
	$(STEP) "lints" cargo clippy --locked --workspace --all-targets -- -D warnings

test: tools fmt lint alone web-test units fuzz-replay bench-test e2e faults-short browser ## everything that CI checks
	@.ci/step "all of make test" true

tools: ## what the tests need from outside: Debian packages, a Python environment, node modules
	$(STEP) "tools" .ci/tools $(VENV)
	$(STEP) "node modules" $(MAKE) --no-print-directory web/node_modules/.package-lock.json e2e/node_modules/.package-lock.json

fmt:
	$(STEP) "format" cargo fmt --all --check

lint:
	$(STEP) "lints" cargo clippy --locked --workspace --all-targets -- -D warnings

alone: ## each crate by itself: in a whole-workspace build one crate's features leak into the next
	$(STEP) "each crate alone" .ci/alone $(CRATES)

units: ## tests of the workspace, and the debug binary that e2e needs
	$(STEP) "build" cargo build --locked --workspace --bins --tests
	$(STEP) "tests" .ci/units

web-test: web/node_modules/.package-lock.json ## dashboard: types, format, unit tests, build
	$(STEP) "dashboard: types and format" npm --prefix web run --silent check
	$(STEP) "dashboard: unit tests" npm --prefix web run --silent test
	$(STEP) "dashboard: build" $(MAKE) --no-print-directory web

fuzz-replay: ## every committed fuzz seed through its target, once
	$(STEP) "fuzz targets: build" $(FUZZ)
	$(STEP) "fuzz seeds" .ci/fuzz-replay $(TARGET)/fuzz-replay/debug

bench-test: ## the benchmark's own tests and lints
	$(STEP) "benchmark: format" cargo fmt --check --manifest-path bench/Cargo.toml
	$(STEP) "benchmark: lints" cargo clippy $(BENCH) --all-targets -- -D warnings
	$(STEP) "benchmark: tests" cargo test $(BENCH)

e2e: ## stories with mosquitto's clients, paho, mqtt.js and curl against a debug binary
	$(STEP) "stories with real clients" $(VENV)/bin/python -m pytest e2e --conformance check \
		--roost $(abspath $(TARGET))/debug/roost $(ARGS)

conformance: ## write docs/mqtt-conformance.md from the tests that prove a statement
	$(STEP) "conformance" $(VENV)/bin/python -m pytest e2e -m statement --conformance write \
		--roost $(abspath $(TARGET))/debug/roost

faults-short:
	$(STEP) "faults, the short form" $(FAULTS) --short

browser: ## the dashboard's browser tests against a debug binary
	$(STEP) "browser tests" $(VENV)/bin/python e2e/browser.py $(abspath $(TARGET))/debug/roost

bench: ## beside mosquitto and a bare relay, needs two idle cores: make bench ARGS="pairs --repeat 5"
	$(STEP) "roost, release build" cargo build --locked --release -p roost-server
	cargo run --release $(BENCH) -- --roost $(abspath $(TARGET))/release/roost $(ARGS)

faults: ## crashes, power cuts, full disks … under load, everything counted: make faults ARGS="--only kill9 --seed 7"
	$(STEP) "roost, debug build" cargo build --locked -p roost-server
	$(STEP) "tools" .ci/tools $(VENV)
	$(STEP) "faults" $(FAULTS) $(ARGS)

fuzz: ## every fuzz target for SECONDS (60) each
	$(STEP) "fuzzing" fuzz/run.sh $(SECONDS)

clean: ## remove what was built
	rm -rf $(TARGET) bench/target fuzz/target web/dist web/node_modules e2e/node_modules
