# Two commands: `make demo` (a search under four optimizer pairs, one picture) and `make test`.
# Everything is installed into .venv at the versions of constraints.txt.
#   make demo TORCH="torch==2.9.1"     another build of torch; any argument of pip install will do

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
TORCH ?= $(shell grep '^torch==' constraints.txt)
BIN := .venv/bin
JOBS ?= 2
SOURCES := src tests benchmarks examples results scripts

# Data beside the checkout is used where it exists; nothing else looks there.
ifneq ($(wildcard ../shared/data),)
export OPTNAS_DATA ?= $(abspath ../shared/data)
endif
# One thread a process: two searches side by side beat one with two threads.
export OMP_NUM_THREADS = 1
# Images of containers often forbid byte code; without it each process compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test test-slow check release-check format figures tutorial docs clean
.DEFAULT_GOAL := help

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing (a minute or two)"
	$(PIP) install $(TORCH)
	grep -v '^torch==' constraints.txt > .venv/constraints.txt
	$(PIP) install -c .venv/constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) install -c .venv/constraints.txt -e '.[dev]'
	# trackio admits no pillow 13, and runs with it
	$(PIP) install -c .venv/constraints.txt --no-deps trackio
	touch $@

demo: .venv/installed ## Search digits under {SGD, Adam} x {SGD, Adam}; leaves demo/pairs.png
	@$(BIN)/optnas study run quickstart --out demo --jobs $(JOBS)
	@echo
	@$(BIN)/optnas list demo
	@echo
	@echo "search on digits, benchmark of CIFAR-10, n = 1: a demonstration, not evidence"
	@$(BIN)/optnas plot demo/*/ -o demo/pairs.png

test: .venv/installed-dev ## The whole test suite but the slow tier; names what it skips
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" --durations 30

test-slow: .venv/installed-dev ## The slow tier: real processes, kills, minutes
	$(BIN)/python -m pytest -n $(JOBS) -m slow --timeout 900 --durations 60

check: .venv/installed-dev ## Format, lint (docstrings too), types, fast tests: before every commit
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow and not thorough"

release-check: .venv/installed-dev ## What must hold before a version leaves the house (docs/releasing.md)
	$(BIN)/python scripts/release.py

format: .venv/installed-dev ## Format and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

figures: .venv/installed-dev ## Rebuild figures and quoted numbers of the documents from the committed records
	$(BIN)/python results/optdarts_cpu.py
	$(BIN)/python results/results.py
	$(BIN)/python results/indicator.py
	$(BIN)/python results/first_light.py
	$(BIN)/python results/pilot.py
	$(BIN)/python results/inside.py
	$(BIN)/python results/numerics.py
	$(BIN)/python results/optimizers.py
	$(BIN)/python results/theory.py
	$(BIN)/python results/skip_growth.py
	$(BIN)/python results/algorithms.py
	$(BIN)/python results/kernels.py
	$(BIN)/python results/proxies.py

tutorial: .venv/installed ## Run the tutorial; rebuild docs/tutorial.ipynb (a minute or two)
	rm -rf demo/tutorial && $(BIN)/python results/tutorial.py demo/tutorial

docs: .venv/installed-dev ## The documentation site, into site/; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

clean: ## Remove the demo, the site and caches; .venv stays
	rm -rf demo site .pytest_cache .mypy_cache .ruff_cache .hypothesis
