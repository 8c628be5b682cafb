# Everything a contributor types. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Tests start CAIO many times: compiling it each time again would cost them minutes.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
DATA ?= .caio
# Workers of the test run: one a core unless told otherwise, for instance `make test WORKERS=4`.
WORKERS ?= logical
CALLS ?= 1000000
BENCHMARKS := $(patsubst benchmarks/%/__main__.py,%,$(wildcard benchmarks/*/__main__.py))

.PHONY: help setup setup-services setup-infra runtime demo dev check test test-infra quickstart-template verify soak mutation bench clean requirements pin

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z<>-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make bench-NAME          Run one benchmark: $(or $(BENCHMARKS),none yet)"

setup: ## Install everything, pinned, into .venv (uv when it is on PATH, otherwise pip)
	@scripts/setup dev

setup-services: ## Install what the tests start besides: redis-server, from the distribution's packages
	@scripts/setup-services

runtime:
	@scripts/setup runtime

demo: runtime ## Run the demonstration; ONCE=1 exits when every step held
	@$(BIN)/caio demo $(if $(ONCE),--once)

dev: runtime ## Serve CAIO on 127.0.0.1 with its data in .caio; services may be local
	@$(BIN)/caio serve --data-dir $(DATA) --allow-private 127.0.0.0/8

check: setup ## Format, lint, types, architecture, pinned requirements
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter
	$(BIN)/caio schemas --check
	$(BIN)/pytest -q -n 0 tests/architecture/test_requirements.py

test: setup setup-services ## Run the tests: what CI runs
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not long and not soak and not infra"

setup-infra: ## Install what checks the infrastructure into .cache/infra, each tool with its own pins
	@scripts/setup-infra

test-infra: setup setup-services setup-infra ## Check the infrastructure: plans, policies, templates, image, workflows, chart
	@$(BIN)/pytest -q -n 2 --dist worksteal -m infra --durations=10 -o faulthandler_timeout=900 tests/infra

quickstart-template: ## Write the trial's CloudFormation template anew
	@scripts/setup-infra cdk
	@.cache/infra/cdk/bin/python infrastructure/aws/cdk/publish_quickstart.py

verify: setup setup-services ## Run the long tests
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m long

soak: setup setup-services ## Load, kill and restart for an hour or two; CALLS=100000 for fewer calls than a million
	@CAIO_SOAK_CALLS=$(CALLS) $(BIN)/pytest -q -s -m soak -o faulthandler_timeout=0 tests/soak

mutation: setup ## Try the kernel's mutants against its tests; survivors are listed (half an hour on two cores)
	@$(BIN)/python -m scripts.mutation

bench: setup ## Run every benchmark, one after the other
	@failed=0; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || failed=1; done; exit $$failed

bench-%: setup
	@$(BIN)/python -m benchmarks.$(subst -,_,$*)

requirements: setup ## Pin pyproject.toml's requirements again; UPGRADE=1 moves to the newest releases
	@scripts/requirements $(if $(UPGRADE),--upgrade)
	@scripts/setup dev
	@scripts/requirements-infra

pin: ## Pin actions to commits and base images to digests; needs a network
	@scripts/pin

clean: ## Remove the environment, caches and results (not the data in .caio)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis
	rm -rf build dist benchmarks/results
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
