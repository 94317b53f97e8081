# `make demo` shows the main job, `make test` runs the tests; both need Python >= 3.11 and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
EXTRAS ?= dev

# Tests start hundreds of processes: what they import is compiled once, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test docs reference bench bench-peers check format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is older than pyproject.toml when a dependency may have changed.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Latchgate needs Python 3.11 or newer; set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Latchgate and its tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary -e '.[$(EXTRAS)]'
	@touch $@

demo: $(VENV)/.installed ## two guarded applications on 127.0.0.1:8080 (PORT=… changes it)
	@exec $(BIN)/latchgate demo --port $(PORT)

test: $(VENV)/.installed ## all tests, on a real store and real sockets
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

docs: $(VENV)/.installed ## the documentation as a site, in build/site; strict
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(VENV)/.installed ## the tables of docs/configuration.md and the JSON Schema, from the models
	$(BIN)/python docs/site/configuration.py
	$(BIN)/latchgate schema > $(VENV)/schema.json && cp $(VENV)/schema.json config/latchgate.schema.json

bench: $(VENV)/.installed ## what docs/benchmarks.md promises, measured (ARGS=--write keeps the results)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary -e '.[bench]'
	$(BIN)/python benchmarks/revocation.py $(ARGS)
	$(BIN)/python benchmarks/revocation_stores.py $(ARGS)
	$(BIN)/python benchmarks/comparison.py $(ARGS)
	$(BIN)/python benchmarks/memory.py $(ARGS)
	$(BIN)/python benchmarks/many_sessions.py
	$(BIN)/python benchmarks/store_costs.py $(ARGS)
	$(BIN)/python benchmarks/store_link.py
	$(BIN)/python benchmarks/foreign_hits.py
	$(BIN)/python benchmarks/routing.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/login_storm.py $(ARGS)
	$(BIN)/python benchmarks/peers.py --install $(ARGS)
	$(BIN)/python benchmarks/scale.py $(ARGS)

bench-peers: $(VENV)/.installed ## Latchgate beside nginx, HAProxy, Envoy and others (ARGS=--quick)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary -e '.[bench]'
	$(BIN)/python benchmarks/peers.py --install $(ARGS)

check: $(VENV)/.installed ## what .ci/run checks of the code itself
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed ## put the code into the house's shape
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
