# SPDX-License-Identifier: Apache-2.0
# Everything a person types. What takes more than a line is a script in scripts/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
# What a target needs is done in the order in which it is written, also with make -j.
.NOTPARALLEL:

# Which httpd to build for, run and test with: its apxs.
APXS ?= $(firstword $(shell command -v apxs apxs2 2>/dev/null) apxs)
# Where cargo builds; what it makes is copied to target/modules.
CARGO_TARGET_DIR ?= $(CURDIR)/target
export APXS CARGO_TARGET_DIR
# rustup's usual place, for a shell that has not read its profile.
export PATH := $(PATH):$(HOME)/.cargo/bin

PORT ?= 8000
APP ?=
MODE ?= daemon
PYTHON ?=
MPM ?= event
RUN_USER ?=
PYTEST_ARGS ?=
SOAK ?= 1
FUZZ_SECONDS ?= 60
BENCH_ARGS ?=
DESTDIR ?=

MODULES := target/modules
PYTEST = target/test-venv/bin/python -m pytest $(if $(findstring tests/,$(PYTEST_ARGS)),,tests)

##@ Use
.PHONY: build
build: ## Build both modules into target/modules (the default) | APXS=path/to/apxs
	@cargo build --release --workspace
	@scripts/collect "$(CARGO_TARGET_DIR)/release" $(MODULES)

.PHONY: run
run: deps build ## Serve the demonstration with Apache on 127.0.0.1 until Ctrl-C | APP=path/to/app.wsgi MODE=embedded PYTHON=path/to/venv | PORT=8000 MPM=event RUN_USER=www-data
	@exec python3 scripts/run.py --app "$(APP)" --mode "$(MODE)" --python "$(PYTHON)" \
	    --port "$(PORT)" --mpm "$(MPM)" --user "$(RUN_USER)" --from "$(or $(PWD),$(CURDIR))"

.PHONY: install
install: ## Install the modules that were built, and on Debian wsgi.load and wsgi.conf | DESTDIR=root
	@DESTDIR="$(DESTDIR)" scripts/install add

.PHONY: uninstall
uninstall: ## Remove what install put there | DESTDIR=root
	@DESTDIR="$(DESTDIR)" scripts/install remove

.PHONY: deps
deps: ## Install the Debian packages that building and running need; silent when all are there
	@scripts/deps run

##@ Test
.PHONY: test
test: deps-test build test-unit test-python test-e2e ## Unit tests, the Python side alone, then end-to-end tests | MPM=worker PYTEST_ARGS="-k name"

.PHONY: test-unit
test-unit: ## Only the unit tests
	@cargo test --workspace --lib --bins

.PHONY: test-python
test-python: test-venv ## Only the tests of the Python side without httpd, on every interpreter that is found
	@cargo build --release -p mod_wsgi_python --lib --example embedded_host
	@# Those of timers mostly wait, beside the others.
	@export MOD_WSGI_PYTHON_LIBRARY="$(CARGO_TARGET_DIR)/release/libmod_wsgi_python.so"; \
	pytest="target/test-venv/bin/python -m pytest -q"; log=$$(mktemp); status=0; \
	$$pytest python/tests/test_timers.py >"$$log" 2>&1 & timers=$$!; \
	trap 'kill $$timers 2>/dev/null || :; rm -f "$$log"' EXIT; \
	$$pytest python/tests --ignore=python/tests/test_timers.py || status=$$?; \
	wait $$timers || status=$$?; cat "$$log"; exit $$status

.PHONY: test-e2e
test-e2e: test-venv ## Only the end-to-end tests, with the modules as they were built last
	@MPM="$(MPM)" $(PYTEST) $(PYTEST_ARGS)

.PHONY: test-fuzz
test-fuzz: ## The targets of fuzz/ on their seeds and on changed ones, 5 s each, without libFuzzer
	@CARGO_TARGET_DIR="$(CURDIR)/fuzz/target" cargo test --quiet --release --locked \
	    --manifest-path fuzz/Cargo.toml

.PHONY: fuzz
fuzz: deps-fuzz ## Fuzz decoders, response head and body reader with libFuzzer | FUZZ_SECONDS=60 for each
	@scripts/fuzz "$(FUZZ_SECONDS)"

.PHONY: deps-fuzz
deps-fuzz: ## Install the Debian packages that fuzz needs as well
	@scripts/deps run fuzz

.PHONY: test-mpms
test-mpms: deps-test build test-venv ## End-to-end tests under event, worker and prefork
	@failed=; for mpm in event worker prefork; do \
	    echo "== MPM $$mpm"; MPM=$$mpm $(PYTEST) $(PYTEST_ARGS) || failed="$$failed $$mpm"; \
	done; [ -z "$$failed" ] || { echo "Failed under:$$failed"; exit 1; }

.PHONY: soak
soak: deps-test build test-venv ## Thousands of restarts, recyclings, kills and touches under load (hours) | SOAK=factor MPM=worker
	@MOD_WSGI_SOAK=$(SOAK) MPM="$(MPM)" target/test-venv/bin/python -m pytest -o faulthandler_timeout=0 tests/test_faults.py tests/test_reload.py $(PYTEST_ARGS)

.PHONY: test-upstream
test-upstream: deps-test test-venv upstream-venv ## End-to-end tests against mod_wsgi from PyPI
	@MOD_WSGI_UNDER_TEST=upstream MPM="$(MPM)" $(PYTEST) $(PYTEST_ARGS)

.PHONY: check
check: deps-test test-venv ## Formatting and lints: cargo fmt, clippy, clang-format, ruff
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	CARGO_TARGET_DIR="$(CURDIR)/fuzz/target" cargo clippy --quiet --locked \
	    --manifest-path fuzz/Cargo.toml --lib --test bounded -- -D warnings
	clang-format --dry-run -Werror $(wildcard c_shim/*.c c_shim/*.h bench/*.c)
	target/test-venv/bin/ruff format --check $(PYTHON_CODE)
	target/test-venv/bin/ruff check $(PYTHON_CODE)

PYTHON_CODE = tests bench demo scripts python

.PHONY: reference
reference: ## Write conf/reference.md from the tables of directives and options
	@MOD_WSGI_WRITE_REFERENCE=1 cargo test --quiet --lib config::reference

.PHONY: format
format: test-venv ## Put the code into the form that check asks for
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	clang-format -i $(wildcard c_shim/*.c c_shim/*.h bench/*.c)
	target/test-venv/bin/ruff format $(PYTHON_CODE)
	target/test-venv/bin/ruff check --fix $(PYTHON_CODE)

.PHONY: deps-test
deps-test: ## Install the Debian packages that test and check need as well
	@scripts/deps run test

.PHONY: test-venv
test-venv:
	@scripts/venv test

##@ Measure
.PHONY: bench
bench: deps-bench build upstream-venv ## Side by side: a C handler, mod_wsgi from PyPI, and this | BENCH_ARGS="--json file"
	@exec python3 bench/run.py $(BENCH_ARGS)

.PHONY: bench-quick
bench-quick: deps-bench build upstream-venv ## The same within a few minutes, and so with more noise
	@exec python3 bench/run.py --quick $(BENCH_ARGS)

.PHONY: deps-bench
deps-bench: ## Install the Debian packages that bench needs as well
	@scripts/deps run bench

.PHONY: upstream-venv
upstream-venv:
	@scripts/venv upstream

##@ Other
.PHONY: clean
clean: ## Remove target/: everything that was built or downloaded
	rm -rf target fuzz/target
	[ "$(CARGO_TARGET_DIR)" = "$(CURDIR)/target" ] || cargo clean

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z0-9-]+:.*## / { gsub(/ \| /, "\n                      ", $$2); \
	        printf "  make %-14s %s\n", $$1, $$2 }' Makefile
