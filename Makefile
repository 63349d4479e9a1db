# make run    the default study: tables and figures in results/
# make plan   what that would measure, and how long it would take; measures nothing
# make test   the tests
# make benchmarks    how fast trainbench itself is: benchmarks/results, about half an hour; BEFORE=../earlier beside another version
# Everything else that these need is set up by themselves, in .venv, from the exact versions in requirements/.

PYTHON ?= python3
CORES ?= all
# The build that is installed; at first cuda where the NVIDIA driver is loaded, else cpu. Override: make setup BUILD=cuda
INSTALLED := $(patsubst .venv/ready-%,%,$(firstword $(wildcard .venv/ready-*)))
BUILD ?= $(or $(INSTALLED),$(if $(wildcard /proc/driver/nvidia/version),cuda,cpu))
$(if $(filter cpu cuda,$(BUILD)),,$(error BUILD=$(BUILD) is not known; allowed: cpu, cuda))

REQUIREMENTS := requirements/$(BUILD).txt requirements/dev.txt
READY := .venv/ready-$(BUILD)
SNAKEMAKE := .venv/bin/snakemake
SOURCES := workflow/scripts tests benchmarks
RULES := Snakefile workflow/rules

.DELETE_ON_ERROR:
.PHONY: run plan test benchmarks setup lint format lock clean

run: setup
	$(SNAKEMAKE) --cores $(CORES) $(ARGS)

plan: setup
	@$(SNAKEMAKE) --dry-run --quiet --cores $(CORES) $(ARGS)

test: setup
	.venv/bin/python -m pytest $(ARGS)

# All of them, also where a goal is missed; the exit code tells.
BEFORE ?=
BENCHMARKS := training_loops overhead-start overhead-run overhead-scheduling scale
benchmarks: setup
	@mkdir -p benchmarks/results; missed=0; for name in $(BENCHMARKS); do \
	  echo "== $$name"; \
	  case $$name in \
	    training_loops) set -- $(if $(BEFORE),--before $(BEFORE));; \
	    *-*) set -- $${name#*-};; \
	    *) set --;; \
	  esac; \
	  .venv/bin/python benchmarks/$${name%%-*}.py "$$@" > benchmarks/results/$$name.md || missed=1; \
	  cat benchmarks/results/$$name.md; \
	done; exit $$missed

setup: $(READY)

$(READY): $(REQUIREMENTS) Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "trainbench needs Python 3.11, 3.12 or 3.13 (TensorFlow has no other builds); '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Install one and name it: make $(or $(MAKECMDGOALS),run) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "trainbench needs Python's venv and pip, which '$(PYTHON)' lacks; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/setup.txt
	.venv/bin/uv pip sync --quiet --system-certs --compile-bytecode --require-hashes --python .venv/bin/python $(REQUIREMENTS)
	@touch $@

lint: setup
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/snakefmt --check $(RULES)
	.venv/bin/mypy
	PYTHONPATH=workflow/scripts .venv/bin/lint-imports
	$(SNAKEMAKE) --lint

format: setup
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)
	.venv/bin/snakefmt $(RULES)

# New exact versions of all packages, after a change of pyproject.toml or to bring them up to date.
LOCK := .venv/bin/uv pip compile --quiet --system-certs --upgrade --universal --generate-hashes --no-header --python-version 3.11
lock: setup
	$(LOCK) --group setup --output-file requirements/setup.txt
	$(LOCK) pyproject.toml --extra cpu --group setup --output-file requirements/cpu.txt
	$(LOCK) pyproject.toml --extra cuda --group setup --constraints requirements/cpu.txt --output-file requirements/cuda.txt
	$(LOCK) --group dev --constraints requirements/cpu.txt --output-file requirements/dev.txt

# Not .snakemake: there Snakemake keeps what the results were made with.
clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
