# Every command of this repository. `make help` lists them.
# Works with GNU make 3.81 (macOS) and newer.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The steps print as they go and share .local/: one at a time, whatever -j says.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

LOCAL := .local
ROOT := $(CURDIR)
DEV := $(LOCAL)/dev/bin
UV := $(LOCAL)/uv/bin/uv
SAM := $(LOCAL)/sam/bin/sam
CHECKOV := $(LOCAL)/checkov/bin/checkov

# Our environments come from our locks alone: no interpreter is downloaded, no outer environment is used.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# Some images set this. Without bytecode every program that is started here compiles all that it imports: seconds each.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Nothing is reported to anyone.
export SAM_CLI_TELEMETRY := 0
# The region is only a word here: checks and builds never reach AWS.
export AWS_EC2_METADATA_DISABLED := true
CHECK_REGION := eu-west-1
export HYPOTHESIS_STORAGE_DIRECTORY := $(ROOT)/$(LOCAL)/cache/hypothesis

# `sam build` takes the first python3.13 on PATH and needs pip in it: the dev environment's has it. It also runs make in
# each layer: flags and variables given to this make are not meant for those.
WITH_PYTHON := env -u MAKEFLAGS -u MFLAGS -u PYTHON PATH="$(ROOT)/$(DEV):$$PATH"
PYTEST := $(WITH_PYTHON) $(DEV)/python -m pytest
PROVE_BUDGET ?= 30 minutes on 2 cores
# `make lock LOCK_FLAGS=--upgrade` takes newer versions; without it a lock changes only where its .in file did.
LOCK_FLAGS ?=

say = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-11s\033[0m %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- environments ---------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(LOCAL)/dev/.project $(LOCAL)/sam/.made $(LOCAL)/checkov/.made ## make the environments in .local/ from the locks (instant when they stand)

# PYTHON=/path/to/python3.13 overrides the search. A name on PATH is not enough: a version manager's stub may refuse.
$(LOCAL)/uv/.made: requirements/bootstrap.txt .python-version
	@found=; for candidate in $(PYTHON) python3.13 python3 python; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  printf '%s\n' \
	    'No Python 3.13 found. Install it, then run this again:' \
	    '  Debian, Ubuntu   apt install python3.13 python3.13-venv' \
	    '  macOS            brew install python@3.13' \
	    '  pyenv            pyenv install 3.13      (and unset PYENV_VERSION: it overrides .python-version)' \
	    '  uv               uv python install 3.13  (then: make setup PYTHON="$$(uv python find 3.13)")' \
	    'It may also be named: make setup PYTHON=/path/to/python3.13' >&2; \
	  exit 1; \
	fi; \
	printf '== %s: uv, with %s\n' "$(LOCAL)/uv" "$$("$$found" --version)"; \
	rm -rf $(LOCAL)/uv; \
	"$$found" -m venv $(LOCAL)/uv; \
	$(LOCAL)/uv/bin/python -m pip install --quiet --require-hashes --only-binary=:all: -r requirements/bootstrap.txt
	@touch $@

# dev, sam, checkov and docs: one environment for each lock, made from nothing when the lock changes, so that nothing stale stays.
$(LOCAL)/%/.made: requirements/%.txt $(LOCAL)/uv/.made
	@printf '== %s: %s packages\n' "$(LOCAL)/$*" "$$(grep -c '==' $<)"
	@$(UV) venv --quiet --clear --python $(LOCAL)/uv/bin/python $(LOCAL)/$*
	@$(UV) pip sync --quiet --require-hashes --python $(LOCAL)/$*/bin/python $<
	@touch $@

# The project itself, editable: puts the root and layers/lifecycle on the path, and makes the `lifecycle` command.
$(LOCAL)/dev/.project: pyproject.toml $(LOCAL)/dev/.made
	@$(UV) pip install --quiet --python $(DEV)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: lock
lock: $(LOCAL)/uv/.made ## write the locks from the .in files (LOCK_FLAGS=--upgrade for newer versions)
	@compile() { \
	  printf '== %s\n' "$$2"; \
	  UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-annotate \
	    --no-emit-index-url --no-emit-find-links $(LOCK_FLAGS) --output-file "$$2" "$${@:3}" "$$1"; \
	}; \
	for name in bootstrap dev sam checkov docs audit; do compile requirements/$$name.in requirements/$$name.txt; done; \
	compile layers/dependencies/requirements.in layers/dependencies/requirements.txt --constraints requirements/dev.txt; \
	if grep -nE '[a-z]+://' requirements/*.txt layers/dependencies/requirements.txt; then \
	  echo 'A lock names a host: locks carry names, versions and hashes only.' >&2; exit 1; \
	fi

# --- checks ---------------------------------------------------------------------------------------------------------

# Measuring coverage makes a test half as slow again, so only the tests of the pure rules are measured: they alone must reach the bound.
RULE_TESTS := $(addprefix tests/unit/,approvals audit/test_chain.py deletion/test_manifest.py domain execution/test_guards.py \
  execution/test_state_machine.py holds intake pacing plans/test_limits.py plans/test_pagination_check.py plans/test_plan_file.py policy)

.PHONY: test
test: lint validate build site ## everything: linters, template checks, build, documentation site and all tests but `prove` and `bench` (CI runs this)
	$(call say,pytest: the pure rules)
	@$(PYTEST) --cov --cov-report= --numprocesses=2 $(RULE_TESTS)
	$(call say,branch coverage of the pure rules: at least 95 %)
	@$(DEV)/coverage report --include='*/lifecycle/domain/*,*/lifecycle/policy/*,*/rules.py,*/state_machine.py,*/guards.py,*/token_bucket.py,*/backoff.py,*/chain.py,*/manifest.py,*/intake/mapping.py,*/intake/payload.py,*/intake/expressions.py,*/intake/schemes/*,*/intake/signatures.py,*/intake/sources.py,*/plans/limits.py,*/plans/plan_file.py,*/plans/pagination_check.py' --fail-under=95
	$(call say,pytest: everything else)
	@$(PYTEST) --numprocesses=2 --dist=loadgroup $(addprefix --ignore=,$(RULE_TESTS))

.PHONY: lint
lint: setup ## ruff, mypy, bandit and which way imports go
	$(call say,ruff)
	@$(DEV)/ruff check
	@$(DEV)/ruff format --check
	$(call say,mypy)
	@$(DEV)/mypy
	$(call say,bandit)
	@$(DEV)/bandit --quiet --configfile pyproject.toml --recursive layers functions cli sandbox
	$(call say,import-linter)
	@$(DEV)/lint-imports --cache-dir $(LOCAL)/cache/import-linter

.PHONY: validate
validate: setup ## sam validate --lint (cfn-lint with the serverless rules, .cfnlintrc.yaml), checkov (.checkov.yaml)
	$(call say,sam validate)
	@$(SAM) validate --lint --region $(CHECK_REGION) --template template.yaml
	$(call say,checkov)
	@$(DEV)/python -m sandbox.language_extensions template.yaml $(LOCAL)/expanded/template.json
	@$(CHECKOV) --config-file .checkov.yaml --file $(LOCAL)/expanded/template.json

.PHONY: build
build: setup ## sam build into .local/build
	$(call say,sam build)
	@$(WITH_PYTHON) $(DEV)/python -m sandbox.build

.PHONY: unit
unit: setup ## the fast tests: unit, property, contract
	@$(PYTEST) --numprocesses=2 --dist=loadgroup tests/unit tests/property tests/contract

.PHONY: e2e
e2e: build ## the end-to-end tests: real HTTP against the deployed template
	@$(PYTEST) -m e2e

.PHONY: prove
prove: build ## the long proofs; prints its time budget; never part of CI
	@printf 'Time budget: %s. Stop it with Ctrl-C; nothing is left running.\n' '$(PROVE_BUDGET)'
	@time $(PYTEST) -m prove --capture=no -o faulthandler_timeout=0

.PHONY: bench
bench: build ## the benchmarks
	@$(PYTEST) -m benchmark --capture=no

.PHONY: browser
browser: setup ## the report of a plan in a real Chromium; writes docs/report-*.png
	@command -v chromium chromium-browser google-chrome-stable google-chrome >/dev/null || { \
	  echo 'No Chromium found. Debian, Ubuntu: apt install chromium' >&2; exit 1; \
	}
	@$(PYTEST) -m browser --capture=no tests/browser

.PHONY: openapi
openapi: setup ## write docs/openapi.json from the models
	@$(DEV)/python -m cli.services.openapi

.PHONY: docs
docs: setup ## write the generated pages of docs/, then build the documentation site
	@$(DEV)/python -m cli.reference
	@$(MAKE) site

.PHONY: site
site: $(LOCAL)/docs/.made ## build the documentation site into .local/site; a broken link fails it
	$(call say,zensical)
	@$(LOCAL)/docs/bin/zensical build --clean --strict

# --- running it -----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## from nothing to a deployed local stack, and every promise shown and checked
	@$(WITH_PYTHON) $(DEV)/lifecycle local demo

.PHONY: local
local: setup ## keep the local stack running; prints its URLs and a signed curl to copy
	@$(WITH_PYTHON) $(DEV)/lifecycle local start

.PHONY: simulator
simulator: setup ## the Tallyfy simulator alone; FACTS=<file of `lifecycle probe`> makes it answer as that organization did
	@$(WITH_PYTHON) $(DEV)/lifecycle simulator $(if $(FACTS),--facts "$(FACTS)")

.PHONY: clean
clean: ## stop the local stack and remove .local/ with all it holds
	@if [ -x $(DEV)/lifecycle ]; then $(DEV)/lifecycle local stop || echo 'No local stack to stop.'; fi
	@rm -rf $(LOCAL) .aws-sam .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
