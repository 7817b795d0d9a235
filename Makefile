# `make demo` and `make test` need Python 3.11 with its headers and a C and C++ compiler;
# everything else is installed into .venv from the pins in envs/laptop.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH := $(shell grep '^torch==' envs/laptop.txt)
UV_PIN := $(or $(shell grep '^uv==' envs/laptop.txt),uv)

# uv does not read pip's settings; a mirror that pip finds wheels in serves it too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What is imported is compiled once, by whoever comes first; all of it would take longer.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-cluster test-long lint format schema stages lock clean

help:
	@echo "make demo    from raw problems to a benchmark table on this machine"
	@echo "make test    all tests;  .venv/bin/pytest -m 'not slow' for daily work"
	@echo "make test-cluster  the workflow on a SLURM cluster on loopback (root, Debian)"
	@echo "make test-long  what takes minutes each"
	@echo "make lint    style, types and the workflow's own checks"
	@echo "make lock    compile envs/*.in to envs/*.txt again"

install: $(VENV)/installed

# torch comes by pip, which may know a CPU build where uv knows none, and beside the rest;
# the pins are complete, so nothing is resolved again.
$(VENV)/installed: envs/laptop.txt | $(UV)
	{ $(BIN)/pip install --quiet --no-deps $(TORCH) || \
	    $(BIN)/pip install --quiet --no-deps --index-url $(CPU_INDEX) $(TORCH); } & \
	    grep -v '^torch==' envs/laptop.txt | $(UV) pip install --quiet --no-deps -r - && wait $$!
	$(UV) pip install --quiet --no-deps --editable .
	touch $@

$(UV):
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) not found: install Python 3.11, or say make PYTHON=..." >&2; exit 1; }
	@command -v g++ > /dev/null || { echo "g++ not found: install a C++ compiler (Debian: apt install g++ make)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(UV_PIN)

demo: install
	snakemake --profile profiles/demo
	@retrace scores scores
	@echo "The report: reports/demo.html"

test: install
	pytest

# As root, with SLURM's packages; otherwise each test says why it is skipped.
test-cluster: install
	pytest -m "cluster and not long" tests/cluster

# Minutes of statistics, kills at random moments and gigabytes: not in `make test`.
test-long: install
	pytest -m long

lint: install
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile rules
	snakemake --lint --configfile config.demo.yaml

format: install
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

# The schema of a config, for editors; a test says when it is out of date.
schema: install
	retrace schema > config.schema.json

# DVC's stages of config.yaml, gated benchmarks too; a test says when they are out of date.
stages: install
	HF_TOKEN=none retrace record --stages --configfile config.yaml

lock: | $(UV)
	$(UV) pip compile --quiet --python-version 3.11 --no-header --override envs/overrides.txt envs/laptop.in -o envs/laptop.txt
	env -u UV_FIND_LINKS $(UV) pip compile --quiet --python-version 3.11 --no-header --override envs/overrides-cluster.txt envs/cluster.in -o envs/cluster.txt

clean:
	rm -rf data models scores reports journals checkpoints logs .snakemake
