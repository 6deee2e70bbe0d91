# Needs a Python 3.11 to 3.13 and a package index, nothing else: every target first runs
# scripts/bootstrap.py, which makes .venv from requirements.lock (under a second when it is there).
# Paths are relative, so a checkout may lie in a folder with spaces.

# Where there is no python3, one that has its version in its name.
PYTHON ?= $(or $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(if $(shell command -v $(name)),$(name)))),python3)
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench lock clean

help: ## Say what there is to make
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

setup: ## Make .venv, exactly as requirements.lock says
	@"$(PYTHON)" scripts/bootstrap.py

demo: setup ## Run the flights pipeline and show its provenance (SQLite)
	@$(BIN)/airflow-provenance demo

# A file's tests stay on one worker, so that a module's costly fixture is made once.
test: check ## Check, then run all tests (SQLite, PostgreSQL, a browser); PYTEST_ARGS="-k word" narrows
	@"$(PYTHON)" scripts/bootstrap.py --postgres --browser
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(PYTEST_ARGS)

check: setup ## Lint, format, types, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## Run the benchmarks; BENCH_ARGS="--quick", "--full", "--only trace", "--json FILE"
	@$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

lock: setup ## Pin pyproject.toml's dependencies anew; UPGRADE=1 takes newer versions
	@$(COMPILE) --all-extras --group setup --group test --group check pyproject.toml \
		--output-file requirements.lock
	@$(COMPILE) --group postgres-server --no-deps --output-file tests/support/postgres.lock

clean: ## Remove what make and the tools made
	@rm -rf .venv .make build dist airflow-provenance-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache
	@find . -name .git -prune -o -name __pycache__ -type d -exec rm -rf {} +
