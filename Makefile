# make run    the default study: tables and figures in results/
# make plan   what that would measure, and how long it would take; measures nothing
# make test   the tests; ARGS='-n0 tests/machine' some of them in one process, ARGS=--durations=40 with what they cost
# make benchmarks    how fast trainbench itself is: benchmarks/results, about half an hour; BEFORE=../earlier beside another version
# make mutations     whether the tests notice when code is broken (docs/mutations.md): over an hour; ROOMS='plan results' for some
# Everything else that these need is set up by themselves, in .venv, from the exact versions in requirements/.

PYTHON ?= python3
CORES ?= all

KNOWN := tensorflow jax torch
# What is installed, from the name of the file that says so: .venv/ready-cpu-tensorflow-jax
INSTALLED := $(subst -, ,$(patsubst .venv/ready-%,%,$(firstword $(wildcard .venv/ready-*))))
# At first cuda where NVIDIA's driver is there, else cpu, and TensorFlow alone. Override: make setup BUILD=cuda FRAMEWORKS='jax torch'
# NVML knows of the driver wherever it is: WSL has no /proc/driver/nvidia, and a container without a card has its host's. 9 is
# NVML_ERROR_DRIVER_NOT_LOADED; a driver that is there and out of order is one to build for.
NVML := import ctypes, sys; sys.exit(ctypes.CDLL("libnvidia-ml.so.1").nvmlInit_v2() == 9)
ifeq ($(origin BUILD),undefined)
BUILD := $(or $(firstword $(INSTALLED)),$(if $(filter 0,$(shell $(PYTHON) -c '$(NVML)' 2>/dev/null; echo $$?)),cuda,cpu))
endif
FRAMEWORKS ?= $(filter $(KNOWN),$(INSTALLED))
$(if $(filter cpu cuda,$(BUILD)),,$(error BUILD=$(BUILD) is not known; allowed: cpu, cuda))
$(if $(filter-out $(KNOWN),$(FRAMEWORKS)),$(error FRAMEWORKS has '$(firstword $(filter-out $(KNOWN),$(FRAMEWORKS)))', which is not known; \
  allowed, with a space between two: $(KNOWN)))

# TensorFlow is always there, because a device that names no framework trains with it: on a CPU as it is, with BUILD=cuda in
# its build for CPUs alone unless FRAMEWORKS names it. So JAX and PyTorch can be had on a GPU without its CUDA 12.
ASKED := $(filter $(or $(FRAMEWORKS),tensorflow) $(if $(filter cpu,$(BUILD)),tensorflow),$(KNOWN))
ADDED := $(filter-out tensorflow,$(ASKED))
REQUIREMENTS := requirements/$(if $(filter tensorflow,$(ASKED)),$(BUILD),cpu).txt \
  $(patsubst %,requirements/%-$(BUILD).txt,$(ADDED)) requirements/dev.txt
EMPTY :=
READY := .venv/ready-$(BUILD)-$(subst $(EMPTY) $(EMPTY),-,$(ASKED))

SNAKEMAKE := .venv/bin/snakemake
SOURCES := workflow/scripts tests benchmarks docs
RULES := Snakefile workflow/rules

.DELETE_ON_ERROR:
.PHONY: run plan test benchmarks mutations setup lint format lock clean

run: setup
	$(SNAKEMAKE) --quiet rules --cores $(CORES) $(ARGS)

plan: setup
	@$(SNAKEMAKE) --dry-run --quiet --cores $(CORES) $(ARGS)

# A file's tests share what they take long to set up, so they stay together. One process more than two cores keep busy, because
# tests of workflows wait a lot.
test: setup
	.venv/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

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

# Outside CI. In a folder of its own, because .venv has what the requirements say and nothing else.
ROOMS ?=
MUTMUT := $(CURDIR)/.mutations/mutmut
mutations: setup
	@$(UV) install --quiet --system-certs --require-hashes --target $(MUTMUT) --requirement requirements/mutations.txt
	PYTHONPATH=$(MUTMUT) .venv/bin/python benchmarks/mutations.py $(ROOMS) $(ARGS)

PIP := .venv/bin/python -m pip --disable-pip-version-check
UV := .venv/bin/uv pip

# PyPI has PyTorch for Linux with CUDA alone, 3 GB. Its build for CPUs has a version of its own, which pip finds where it is
# told to look (pip.conf, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS; uv reads none of these). No hash: whoever builds it for another
# place has another file. It is looked for before anything else is installed, which takes minutes.
TORCH_FOR_CPUS := $(and $(filter cpu,$(BUILD)),$(filter torch,$(ASKED)))
TORCH = torch==$(shell sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements/torch-cuda.txt)+cpu
FETCH_TORCH_FOR_CPUS = $(PIP) download --quiet --no-deps --only-binary :all: --dest .venv/torch '$(TORCH)' || { \
  echo "PyTorch's build for CPUs was not found: pip looked for $(TORCH), which PyPI does not have, where it is told to look; name PyTorch's index of builds for CPUs in PIP_EXTRA_INDEX_URL or a folder with the file in PIP_FIND_LINKS, or leave torch out of FRAMEWORKS." >&2; exit 1; }

# cuDNN and NCCL for CUDA 12 (TensorFlow) and for CUDA 13 (JAX, PyTorch) are files of the same names, nvidia/cudnn and
# nvidia/nccl: which of them are left shall not be chance. Everything else of the two lies apart.
TWO_CUDAS := $(and $(filter cuda,$(BUILD)),$(filter tensorflow,$(ASKED)),$(ADDED))
CUDA_13_FILES := nvidia-cudnn-cu13 nvidia-nccl-cu13
KEEP_CUDA_13 = $(UV) uninstall --quiet --python .venv/bin/python $(CUDA_13_FILES) && \
  $(UV) install --quiet --system-certs --compile-bytecode --require-hashes --no-deps --python .venv/bin/python \
  --requirement requirements/$(firstword $(ADDED))-cuda.txt

setup: $(READY)

$(READY): $(REQUIREMENTS) Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "trainbench needs Python 3.11, 3.12 or 3.13 (TensorFlow has no other builds); '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Install one and name it: make $(or $(MAKECMDGOALS),run) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "trainbench needs Python's venv and pip, which '$(PYTHON)' lacks; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --require-hashes --requirement requirements/setup.txt
	$(if $(TORCH_FOR_CPUS),@$(FETCH_TORCH_FOR_CPUS))
	$(UV) sync --quiet --system-certs --compile-bytecode --require-hashes --python .venv/bin/python $(REQUIREMENTS)
	$(if $(TORCH_FOR_CPUS),$(PIP) install --quiet --no-deps --no-index --compile .venv/torch/*.whl && rm -r .venv/torch)
	$(if $(TWO_CUDAS),$(KEEP_CUDA_13))
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
# What a framework adds, by the extra of its name, beside everything else. PyTorch's build for CPUs needs what PyPI's for
# Windows does: no CUDA. JAX takes the CUDA whose versions PyTorch asks for to the last digit.
EXTRA := .venv/bin/python -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")'
BESIDE := --constraints requirements/cpu.txt --constraints requirements/cuda.txt
lock: setup
	$(LOCK) --group setup --output-file requirements/setup.txt
	$(LOCK) pyproject.toml --extra cpu --group setup --output-file requirements/cpu.txt
	$(LOCK) pyproject.toml --extra cuda --group setup --constraints requirements/cpu.txt --output-file requirements/cuda.txt
	$(EXTRA) torch-cuda | $(LOCK) - $(BESIDE) --output-file requirements/torch-cuda.txt
	$(EXTRA) torch | $(subst --universal,--python-platform windows,$(LOCK)) - $(BESIDE) --no-emit-package torch --output-file requirements/torch-cpu.txt
	$(EXTRA) jax | $(LOCK) - $(BESIDE) --output-file requirements/jax-cpu.txt
	$(EXTRA) jax-cuda | $(LOCK) - $(BESIDE) --constraints requirements/torch-cuda.txt --output-file requirements/jax-cuda.txt
	$(LOCK) --group dev --constraints requirements/cpu.txt --output-file requirements/dev.txt
	$(LOCK) --group mutations --constraints requirements/cpu.txt --constraints requirements/dev.txt --output-file requirements/mutations.txt

# Not .snakemake: there Snakemake keeps what the results were made with.
clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .mutations
