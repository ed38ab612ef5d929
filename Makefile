# Two commands do everything: `make sweep` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help sweep benchmark studies test interpreted check format docs clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.developing: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.benchmarking: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

sweep: $(VENV)/.installed ## the main job: which batch size on MNIST? (results in fastfnn-sweep/)
	$(BIN)/fastfnn sweep

benchmark: $(VENV)/.benchmarking ## all benchmarks, one after the other (an hour; results in reports/benchmark/)
	$(BIN)/python bench/report.py

studies: $(VENV)/.installed ## the published studies, one run at a time (an hour; results in reports/studies/)
	$(BIN)/fastfnn study --out reports/studies
	$(BIN)/fastfnn study fast-98 --data digits --out reports/studies
	-$(BIN)/fastfnn study fast-98 --data fashion-mnist --out reports/studies

test: $(VENV)/.developing ## static checks, all tests, and what they cover; the kernels are measured with compilation off as well
	$(BIN)/coverage erase
	$(MAKE) --jobs=2 --output-sync check interpreted
	COVERAGE_FILE=.coverage.compiled $(BIN)/pytest --numprocesses logical --dist worksteal --cov --cov-report= \
		--ignore tests/kernels/test_interpreted.py
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

interpreted: $(VENV)/.developing
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -p -m pytest -q tests/kernels/test_interpreted.py

check: $(VENV)/.developing ## ruff, mypy and the contracts of the imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.developing ## formats the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.developing ## the pages of the Python API, from the docstrings (docs/api/index.html)
	$(BIN)/python docs/make_api.py

clean: ## removes the environment and what tools left behind
	rm -rf $(VENV) build docs/api *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
