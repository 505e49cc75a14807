# Every target makes .venv itself; all it needs is Python 3.11 or later.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
TARGET ?= duckdb
READY := .venv/.ready
DOCS_READY := .venv/.docs-ready
# Drivers of all warehouses are large, and some hold others back: they have an environment of their own.
ALL := .venv-warehouses/bin
ALL_READY := .venv-warehouses/.ready
# The lowest version of each dependency that pyproject.toml declares, and the newest of the tests' own tools.
LOWEST := .venv-lowest/bin
LOWEST_READY := .venv-lowest/.ready
DEMO := $(if $(filter duckdb postgres,$(TARGET)),$(BIN),$(ALL))
DEMO_READY := $(if $(filter duckdb postgres,$(TARGET)),$(READY),$(ALL_READY))

.PHONY: help demo test test-slow test-warehouses test-wheel test-long test-chaos test-lowest docs-test lint format docs docs-reference docs-serve bench lock wheel clean

help:
	@echo "make demo       seven months of real events: landed, built, synced, built as of later, synced again"
	@echo "                (TARGET=postgres or TARGET=spark: on a server that is started for it)"
	@echo "make test       the fast suite"
	@echo "make test-slow  what takes long: dbt, kills, and the wheel in an environment of its own"
	@echo "make test-wheel the wheel alone"
	@echo "make test-warehouses  Spark, Snowflake (fakesnow), and the SQL of the warehouses that run nowhere here"
	@echo "make test-long  random histories of identities and traits, every destination, schemas and targets"
	@echo "make test-chaos 200 stories of a destination on bad days and runs that are killed"
	@echo "make test-lowest  a part of the suites on the lowest versions that pyproject.toml allows"
	@echo "make lint       ruff, mypy, sqlfluff, codespell"
	@echo "make format     what ruff and sqlfluff can mend"
	@echo "make docs       the documentation site, in site/; a dead link or anchor fails it"
	@echo "make docs-test  every page of the documentation that can be followed, command by command"
	@echo "make docs-serve the documentation site, on http://127.0.0.1:8000"
	@echo "make docs-reference  the generated pages of the documentation"
	@echo "make bench      every benchmark, against its floor"
	@echo "make lock       the lock files anew"
	@echo "make wheel      dist/revetl-*.whl"

# uv installs the lock in seconds, for which pip takes minutes.
$(READY): pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements-dev.lock)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(DOCS_READY): $(READY) requirements-docs.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements-docs.lock
	@touch $@

$(ALL_READY): $(READY) requirements-warehouses.lock
	$(PYTHON) -m venv .venv-warehouses
	$(BIN)/uv pip install --quiet --python $(ALL)/python --require-hashes --requirement requirements-warehouses.lock
	$(BIN)/uv pip install --quiet --python $(ALL)/python --no-deps --editable .
	@touch $@

$(LOWEST_READY): $(READY) pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --no-annotate --no-header \
		pyproject.toml --output-file .venv-lowest/lowest.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/python --group dev --constraint .venv-lowest/lowest.txt --editable .
	@touch $@

# TARGET=postgres and TARGET=spark start a server of their own for it; EVERYWHERE=--everywhere syncs to all destinations.
demo: $(DEMO_READY)
	$(DEMO)/python -W ignore -m tests.warehouses $(TARGET) $(DEMO)/revetl demo --target $(TARGET) $(EVERYWHERE)

# Three workers on two cores: tests wait for clocks and servers a good part of their time.
test: $(READY)
	$(BIN)/pytest --numprocesses 3 --dist loadfile -m "not slow and not long and not chaos and not warehouses"

test-slow: $(READY)
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder -m "slow and not long and not warehouses"

test-wheel: $(READY)
	$(BIN)/pytest -m slow tests/packaging

test-warehouses: $(ALL_READY)
	$(ALL)/pytest -m warehouses
	$(ALL)/pytest tests/conformance/test_stories.py tests/conformance/test_decimals.py --engines snowflake
	$(ALL)/python -W ignore -m tests.warehouses spark $(ALL)/pytest tests/conformance --engines spark

test-long: $(READY)
	$(BIN)/pytest --numprocesses auto --dist loadfile -m long

test-chaos: $(READY)
	$(BIN)/pytest --numprocesses auto -m chaos

test-lowest: $(LOWEST_READY)
	$(LOWEST)/pytest --numprocesses 2 --dist loadfile -m "not long and not warehouses" tests/config tests/mapping \
		tests/sync/test_sync.py tests/sync/test_options.py tests/sync/test_plans.py tests/ingest/test_load.py \
		tests/importers/segment_sql/test_refused.py tests/destinations/test_cases.py tests/docs/test_tutorial.py

lint: $(DOCS_READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sqlfluff lint models --processes 2
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs
	$(BIN)/codespell --builtin clear,rare revetl models macros

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sqlfluff fix models

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-test: $(READY)
	$(BIN)/pytest tests/docs

docs-serve: $(DOCS_READY)
	$(BIN)/mkdocs serve

docs-reference: $(READY)
	$(BIN)/python docs/generate.py

bench: $(READY)
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/collect.py
	$(BIN)/python benchmarks/diff.py
	$(BIN)/python benchmarks/deliver.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/identity.py
	$(BIN)/python benchmarks/traits.py
	$(BIN)/python benchmarks/protocols.py
	$(BIN)/python benchmarks/builds.py

lock: $(READY)
	for group in dev warehouses; do \
		$(BIN)/uv pip compile pyproject.toml --group $$group --universal --python-version 3.11 --generate-hashes \
			--no-header --no-annotate --no-strip-extras --upgrade --output-file requirements-$$group.lock; \
	done
	$(BIN)/uv pip compile --group docs --constraint requirements-dev.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --upgrade --output-file requirements-docs.lock

wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .venv-warehouses .venv-lowest dist site target logs dbt_packages .revetl revetl.duckdb revetl.duckdb.wal
