# The one entrance for people and for CI. `make demo` and `make test` do everything from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Debian keeps sbin off the PATH of some shells; sshd and ip live there.
export PATH := $(CURDIR)/$(BIN):$(PATH):/usr/sbin:/sbin
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tens of thousands of modules, most of which are never imported; Python compiles the others when they are.
export PIP_NO_COMPILE := 1
# And must keep what they compiled: else every process compiles TensorFlow, pandas and Ansible anew, 20 s instead of 7.
unexport PYTHONDONTWRITEBYTECODE
# pip must neither ask nor speak of itself; constraints.txt fixes what it installs, build requirements included.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet
# What .venv/ is made from.
PACKAGE := pyproject.toml constraints.txt packaging/build_protos.py $(shell find protos -name '*.proto')
TESTS ?= tests

.PHONY: help setup video demo test lint types unit lab image clean constraints setup-test test-kernel

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

setup: $(VENV)/.setup ## install what the control machine needs: Debian packages and .venv/ with the slicebed command

$(VENV)/.system: packaging/system-packages.txt packaging/install-system-packages
	@packaging/install-system-packages system-packages.txt
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.setup: $(VENV)/.system $(PACKAGE)
	@echo "Installing the control machine's Python packages into $(VENV)/"
	@$(PIP_INSTALL) --editable '.[control]'
	@touch $@

setup-test: $(VENV)/.setup-test

$(VENV)/.setup-test: $(VENV)/.system $(PACKAGE) packaging/system-packages-test.txt
	@packaging/install-system-packages system-packages-test.txt
	@echo "Installing the control machine's Python packages, TensorFlow and the developers' tools into $(VENV)/"
	@$(PIP_INSTALL) --editable '.[control,agent,train,dev]'
	@touch $(VENV)/.setup $@

image: setup ## build the agent image (only what changed)
	slicebed image build

video: setup ## the film of experiments/couper_placements.yml (1 MB, not part of the repository)
	@packaging/fetch-video

demo: setup ## image, lab, playbooks, the paper's experiment in small, tables and plots
	slicebed demo

test: setup-test ## everything: lint, types, unit tests, lab tests, kernel tests
	@# The image, which the lab tests need, waits for network and disk most of the time; the checks need the processor.
	$(MAKE) --no-print-directory --jobs 2 $(if $(filter 0,$(shell id -u)),image) checks
	packaging/run-tests -m lab $(TESTS)
	packaging/run-kernel-tests

.PHONY: checks
checks: lint types unit

lint: setup-test ## ruff, import-linter, yamllint, ansible-lint (production profile)
	ruff check .
	ruff format --check .
	lint-imports --no-cache
	yamllint --strict .
	@# A file: of a list of hosts, Ansible would take the empty name after the comma for this folder and run what is in it.
	ANSIBLE_INVENTORY=$(CURDIR)/packaging/lint-inventory.ini ansible-lint --offline --strict

types: setup-test ## mypy --strict
	mypy

unit: setup-test ## the fast tests, in a process for each processor
	@# A file's tests stay together, for they share what its fixtures made. Each process may hold TensorFlow.
	$(BIN)/python -m pytest -m 'not lab and not kernel' --numprocesses auto --maxprocesses 4 --dist loadfile $(TESTS)

lab: setup-test ## the tests that raise namespace hosts (root)
	$(BIN)/python -m pytest -m lab $(TESTS)

test-kernel: setup-test ## the tests that need a stock kernel: cpufreq, netem, control groups version 2, in one virtual machine
	packaging/run-kernel-tests

.PHONY: bench-network
bench-network: setup ## Slicebed's links beside EnosLib's, tcconfig's and tc's own, in one run (root, about five minutes)
	$(BIN)/python -m benchmarks.network $(BENCH_NETWORK)

.PHONY: bench-slicer
bench-slicer: setup-test ## cuts, slices and their memory against the bars, in one run; BENCH_SLICER=--equality checks every cut too
	$(BIN)/python -m benchmarks.slicer $(BENCH_SLICER)

.PHONY: bench-pipeline
bench-pipeline: setup-test ## links, codecs, rate, live cuts against the bars, in one run (root); BENCH_PIPELINE=--soak: 100,000 frames too
	$(BIN)/python -m benchmarks.pipeline $(BENCH_PIPELINE)

.PHONY: bench-search
bench-search: setup-test ## what a search needs and finds, against the bars, in one run; BENCH_SEARCH='--only genetic': by simulation
	$(BIN)/python -m benchmarks.search $(BENCH_SEARCH)

constraints: ## pin what the current venv holds
	( head -n 1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable ) > constraints.new
	mv constraints.new constraints.txt

clean: ## remove the venv, caches and generated modules (campaigns under results/ stay)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	rm -f agent/slicebed_agent/rpc/v1/*_pb2.py agent/slicebed_agent/rpc/v1/*_pb2.pyi agent/slicebed_agent/rpc/v1/*_pb2_grpc.py
