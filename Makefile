# `make test` on a new machine: makes .venv, installs everything, runs every test.
# `make VENV=/elsewhere/.venv test` uses, or makes, an environment elsewhere.

VENV ?= .venv
PYTHON ?= python3
WORKERS ?= 2
# What `make annotate` and `make demo` work on: a folder of volumes with labels, and whose; by default generated patients.
DATA ?=
ORGAN ?=
# What `make fuzz` tries, a name in tests/fuzz/readers.py or all, and for how long each.
READER ?= all
SECONDS ?= 600

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help test test-fast gpu-check demo annotate lint format audit fuzz clean

help:
	@echo "make test       every test (makes $(VENV) if needed)"
	@echo "make test-fast  without the slow tests"
	@echo "make gpu-check  every way to compute on a GPU, against the CPU; without a GPU it says so"
	@echo "make demo       the whole job on generated patients, in demo/; DATA=folder ORGAN=liver for yours"
	@echo "make annotate   click on generated patients in a browser; DATA=folder for pictures and volumes of yours"
	@echo "make lint       ruff, mypy --strict and the import contract"
	@echo "make format     format the code"
	@echo "make audit      known vulnerabilities of what is installed"
	@echo "make fuzz       try the readers with varied files; READER=volume SECONDS=600 for one"
	@echo "make clean      remove $(VENV) and caches"

$(INSTALLED): pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --requirement requirements.txt --group dev
	touch $@

# The package itself is not installed: tests and tools run what is in this checkout.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS)

test-fast: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

gpu-check: $(INSTALLED)
	$(BIN)/python -m isegm benchmark gpu

demo: $(INSTALLED)
	$(BIN)/python scripts/demo.py $(if $(DATA),--data='$(DATA)') $(if $(ORGAN),--organ='$(ORGAN)')

annotate: $(INSTALLED)
	test -n '$(DATA)' || test -d annotate_demo || $(BIN)/python scripts/generate_phantoms.py annotate_demo
	$(BIN)/python scripts/annotate.py $(if $(DATA),'$(DATA)',annotate_demo/Task03_Liver --labels liver)

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

audit: $(INSTALLED)
	$(BIN)/python .ci/audit.py

fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python tests/fuzz/fuzz_readers.py $(READER) --seconds=$(SECONDS)

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
