# make demo: set-up and the main job.  make test: set-up and tests.  Both make .venv themselves.
# make test-all: the tests and the exhaustive ones, in one run.  make gpu: what needs a CUDA device.
# make docs: the site in docs/_build/html; only what has changed is made again.
# make lint: format, lint, types, the page's scripts.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all gpu lint lint-page bench faults figures docs clean

demo: .venv/.installed
	$(BIN)/python -m analyses.quickstart

test: .venv/.test-installed
	$(PYTEST)

test-all: .venv/.test-installed
	$(PYTEST) -m "not gpu"

# Where no CUDA device is, every one of these fails and says so; none is skipped.
gpu: .venv/.bench-installed
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python -m benchmarks.training --device cuda --model resnet32 --turns 10
	$(BIN)/python -m benchmarks.training --device cuda --model resnet32 --turns 10 --compile
	$(BIN)/python -m benchmarks.gpu

lint: .venv/.test-installed lint-page
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Biome comes from npm, for this check alone; nothing of it goes into the page.
lint-page:
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund && npm run --silent lint; \
	else echo "npm is not installed: the page's scripts were not linted"; fi

# Every way to spoil every kind of file; the table of docs/reliability.md.
faults: .venv/.test-installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.campaign --table docs/reliability.md

bench: .venv/.bench-installed
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.hessian
	$(BIN)/python -m benchmarks.surface
	$(BIN)/python -m benchmarks.report

figures: .venv/.test-installed
	$(BIN)/python -m analyses.quickstart
	$(BIN)/python docs/take_pictures.py runs/quickstart/report.html docs/images
	$(BIN)/python -m landscape.figures runs/quickstart/ce/landscape.h5 runs/quickstart/bgp/landscape.h5 --out runs/quickstart/figures

docs: .venv/.docs-installed
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W -n --keep-going -q docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean:
	rm -rf docs/_build docs/generated .venv build dist node_modules *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing the package and PyTorch into .venv (once)"
	$(INSTALL) --editable .
	@touch $@

.venv/.test-installed: .venv/.installed
	$(INSTALL) --editable '.[test]'
	@touch $@

.venv/.docs-installed: .venv/.test-installed
	$(INSTALL) --editable '.[test,docs]'
	@touch $@

.venv/.bench-installed: .venv/.test-installed
	$(INSTALL) --editable '.[test,bench]'
	@touch $@
