# `make help` lists the targets. The first run of demo or test installs what it needs; see deploy/setup/setup.sh.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test unit fuzz kernel integration e2e chaos bench lint proto setup-demo setup-test clean wheelhouse test-deploy test-kernels
export PATH := $(CURDIR)/.venv/bin:$(PATH)

SUITES := unit fuzz kernel integration e2e

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup-demo ## three hosts, real servers, agents, aggregator, dashboard; ARGS="--seconds 60" and others
	@exec .venv/bin/python -m deploy.demo $(ARGS)

test: setup-test ## lint, then all suites; says what was skipped and why
	@status=0; $(MAKE) --no-print-directory lint || status=1; \
	deploy/setup/suites.sh $(SUITES) chaos || status=1; exit $$status

$(SUITES): setup-test
	@exec deploy/setup/suites.sh $@

chaos: setup-test ## the set checker: 100 runs that are being broken; ARGS="--runs 12 --seed 7" and others
	@exec .venv/bin/python -m tests.chaos $(ARGS)

bench: setup-test ## costs, as ratios within one run
	@exec .venv/bin/python -m bench $(ARGS)

lint: setup-test ## ruff, mypy strict, clang-format, generated code is fresh
	@exec deploy/setup/lint.sh

proto: setup-test ## generate proto/sonde_pb2* from proto/sonde.proto
	@deploy/setup/proto.sh

wheelhouse: ## packages for hosts without a network, in dist/wheelhouse; PYTHON=/usr/bin/python3
	@exec $(or $(PYTHON),/usr/bin/python3) deploy/setup/wheelhouse.py --python $(or $(PYTHON),/usr/bin/python3) $(ARGS)

test-kernels: ## the probes' tests on Debian's 6.1 in a QEMU guest (outside `make test`); ARGS="-- tests/kernel/test_edges.py"
	@deploy/setup/setup.sh kernels
	@exec deploy/setup/kernels.sh $(ARGS)

test-deploy: ## the playbooks on booted machines, over SSH (outside `make test`); writes docs/deploy-test.md
	@deploy/setup/setup.sh deploy
	@exec .venv/bin/python -m tests.deploy $(ARGS)

setup-demo:
	@deploy/setup/setup.sh demo

setup-test:
	@deploy/setup/setup.sh test

clean: ## remove the virtual environment, caches and the demo's data
	rm -rf .venv .sonde .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
