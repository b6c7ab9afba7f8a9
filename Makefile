# What a person or CI does with this repository. `make` prints the list.

PY := .venv/bin/python
BQ2PG := .venv/bin/bq2pg

.DEFAULT_GOAL := help
.PHONY: help setup demo sync test fuzz chaos bench bench-quick lint types check down reset clean screenshots constraints

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with everything; quick when nothing changed
	@for python in python3 python3.13 python3.12 python3.11 /usr/bin/python3; do \
	  if $$python -c '' 2>/dev/null; then exec $$python .ci/bootstrap; fi; \
	done; echo "No python3 that runs was found; install Python >= 3.11."; exit 1

demo: setup ## local stack, demo data, one sync, Dagster's UI
	$(BQ2PG) local demo

sync: setup ## the same without the UI
	$(BQ2PG) local demo --no-ui

test: setup ## the whole suite, in two halves at once, each on a local stack of its own
	$(PY) -m pytest -n 2 --dist worksteal --durations=40

fuzz: setup ## 2,000 random tables, value by value
	$(PY) -m pytest --hypothesis-profile=fuzz --timeout=3600 bq2pg_assets_tests/integration/test_random_types.py

chaos: setup ## every fault with every mode: nothing lost, doubled or left behind
	$(PY) -m bq2pg_assets_tests.chaos

bench: setup ## bq2pg against psql and other programs; writes docs/benchmarks.md, over an hour
	$(PY) -m bq2pg_assets_tests.bench

bench-quick: setup ## the same with few rows and one round, under 3 minutes
	$(PY) -m bq2pg_assets_tests.bench --quick

lint: setup ## ruff and codespell
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib

types: setup ## mypy, strict
	$(PY) -m mypy

check: lint types ## lint, types, and whether Dagster can load the demo's definitions
	BQ2PG_TABLES=bq2pg_assets/tables/demo .venv/bin/dagster definitions validate -m bq2pg_assets.definitions

down: setup ## stop the local stack; its data stays
	$(BQ2PG) local down

reset: setup ## stop the local stack and delete its data
	$(BQ2PG) local reset

screenshots: setup ## take the pictures of the documentation again
	$(PY) -m bq2pg_assets_tests.screenshots

constraints: setup ## resolve constraints.txt again from pyproject.toml
	@$(PY) .ci/bootstrap constraints

clean: ## remove .venv, caches and the local stack
	@if [ -x $(BQ2PG) ]; then $(BQ2PG) local reset; fi
	rm -rf .venv .local .mypy_cache .pytest_cache .ruff_cache .hypothesis
