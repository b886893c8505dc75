# The commands of this repository; each sets itself up. `make help` lists them.
SHELL := /bin/bash

PAPER ?= all
SIZE ?= quick
TARGET ?= cpu
DATA ?= auto
MODEL ?=
RESULTS ?= results
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Further extras for the set-up, such as `spark`.
WITH ?=
EXTRAS := torch workflow track dash hw nurd graph molecules llm cachegen edge osgd watchhar slurm postgres dev $(WITH)

BIN := .venv/bin
export JOBS
# Every step is a process of its own and would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(abspath $(BIN)):$(PATH)
REPRISE := python -m common.cli

SLUGS := $(sort $(notdir $(patsubst %/paper.yaml,%,$(wildcard projects/*/paper.yaml))))
comma := ,
space := $() $()
override PAPER := $(strip $(subst $(comma), ,$(PAPER)))
CHOSEN := $(filter-out all,$(PAPER))
WHERE = --size $(SIZE) --target $(TARGET) --results $(RESULTS)

# Options are checked before anything is installed.
one_of = $(if $(filter-out $(2),$($(1)))$(if $($(1)),,empty),$(error \
    $(1)=$($(1)) is not allowed; $(1) is one of: $(2)))
ifneq (,$(filter reproduce verify,$(MAKECMDGOALS)))
    $(call one_of,SIZE,smoke quick full)
    $(call one_of,TARGET,cpu gpu wearable)
    $(call one_of,DATA,auto real synthetic)
    $(call one_of,PAPER,all $(SLUGS))
    ifneq (,$(shell echo '$(JOBS)' | grep -Evx '[1-9][0-9]*'))
        $(error JOBS=$(JOBS) is not allowed; JOBS is a number of cores, at least 1)
    endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup reproduce verify dashboard test lint clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PAPER=all      all or some of: $(SLUGS)"
	@echo "  SIZE=quick     smoke (seconds), quick (minutes), full (hours)"
	@echo "  TARGET=cpu     cpu, gpu, wearable"
	@echo "  DATA=auto      auto (stand-ins where data is missing), real, synthetic"
	@echo "  MODEL=         folder of a Llama-type model, instead of the reference model"
	@echo "  JOBS=$(JOBS)         cores to use"
	@echo "  WITH=          further extras to install: spark"

setup: ## make .venv with every version pinned
	@envs/setup.sh $(EXTRAS)

# The lock is let go by the system however the pipeline ends, so that a killed run needs no
# unlocking; where there is no flock, Snakemake's own lock does.
ifneq (,$(shell command -v flock))
    LOCKED := flock --no-fork --nonblock --conflict-exit-code 75 \
        .snakemake/reproduce.lock
    NOLOCK := --nolock
endif
# The options of the run, as keys of workflows/config/*.yaml.
CONFIG = $(if $(MODEL),model=$(MODEL)) target=$(TARGET) data=$(DATA) results=$(RESULTS) papers=$(subst $(space),$(comma),$(PAPER))
# What no trigger of Snakemake sees: a deleted store, and data that has replaced a stand-in.
STORE := $(if $(MLFLOW_TRACKING_URI)$(wildcard mlflow.db),,track)
AGAIN = again=$$(python -m common.workflow size=$(SIZE) $(CONFIG)) || exit

reproduce: setup ## run the pipelines, judge the claims, print the scorecard
	@mkdir -p .snakemake
	@trap 'echo "interrupted; the same command goes on where it stopped" >&2; exit 130' INT; \
	$(AGAIN); status=0; \
	$(LOCKED) snakemake --profile workflows/profiles/default $(NOLOCK) \
	    --forcerun $(STORE) $$again \
	    --configfile workflows/config/$(SIZE).yaml --config $(CONFIG) || status=$$?; \
	if [ $$status -eq 75 ]; then \
	    echo "another 'make reproduce' is at work in this folder" >&2; exit 75; \
	fi; \
	if [ $$status -ne 0 ]; then $(REPRISE) track --results $(RESULTS) || true; fi; \
	$(REPRISE) verdicts $(CHOSEN) $(WHERE) || status=$$?; \
	if [ $$status -ne 0 ]; then \
	    echo "not everything ran: the logs are in $(RESULTS)/$(SIZE)/$(TARGET)/<paper>/logs" >&2; \
	fi; \
	echo "To see it claim by claim in the browser: make dashboard"; \
	exit $$status

verify: setup ## fail if a verdict is worse than the recorded one (STRICT=1: or missing)
	@$(REPRISE) verify $(CHOSEN) $(WHERE) $(if $(STRICT),--strict)

dashboard: setup ## open the results browser on this machine alone
	@$(REPRISE) dashboard

# One worker more than cores: some tests wait for a cluster, a database, a browser.
test: setup ## run the tests (PYTEST= takes options of pytest)
	@pytest -n $$(($(JOBS) + 1)) --dist loadfile --no-loadscope-reorder $(PYTEST)

lint: setup ## check style, workflow and import rules
	ruff check .
	ruff format --check --config "extend-exclude=['*.md']" .
	snakefmt --check Snakefile workflows
	snakemake --lint
	lint-imports

clean: ## remove caches and the results of smoke and quick; results/full and .venv stay
	rm -rf .snakemake .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf $(RESULTS)/smoke $(RESULTS)/quick mlflow.db mlartifacts
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
