# `make` sets up and runs the main job; `make test` sets up and passes the tests. Neither needs an
# activated environment. The environment is rebuilt when a source file changes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
SOURCES := pyproject.toml CMakeLists.txt README.md constraints.txt $(shell find csrc python -type f \
	! -name '*.so' ! -name '*.pyc')
# Of pytest-xdist: as many processes as there are processors.
WORKERS ?= auto

.PHONY: demo test bench lint format docs clean
demo: $(VENV)/.with-demo
	$(BIN)/tokfrag compare digits

test: $(VENV)/.with-test
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

bench: $(VENV)/.with-bench
	$(BIN)/python -m pytest bench --benchmark-json=build/bench.json $(PYTEST_ARGS)
	$(BIN)/python bench/report.py build/bench.json

lint: $(VENV)/.with-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.hpp' '*.cu' '*.cuh')

format: $(VENV)/.with-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.hpp' '*.cu' '*.cuh')

docs: $(VENV)/.with-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "the site: build/site/index.html"

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and alone: its pinned build must be chosen before anything asks for a range of it.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	$(PIP) torch
	touch $@

$(VENV)/.built: $(SOURCES) $(VENV)/.torch
	@echo "Building tokfrag: one to four minutes the first time."
	$(PIP) .
	touch $@

# By name, not by path: what is built stays, and only the extra's packages are added.
$(VENV)/.with-%: $(VENV)/.built
	$(PIP) "tokfrag[$*]"
	touch $@
