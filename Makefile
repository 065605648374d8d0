# Everything a fresh clone needs, with nothing installed but Python >= 3.11, git and make.
# Each target first prepares .venv in this checkout; `make PYTHON=/path/to/python3.12 test` picks the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first interpreter that is new enough. Lazy, so that `make help` asks none.
NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$name"; break; }; done)
BIN := .venv/bin

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: .venv/dev.stamp  ## lint, types, import rules and all tests; SOAK=1 adds the long ones
	@echo "ruff …" && $(BIN)/python -m ruff check -q . && $(BIN)/python -m ruff format -q --check .
	@echo "mypy --strict …" && $(BIN)/python -m mypy -p playhead -p benchmarks -p examples -p docs | tail -n 30
	@echo "import rules …" && $(BIN)/lint-imports --no-logo | tail -n 30
	@echo "pytest …" && $(BIN)/pytest $(if $(SOAK),--soak)

.PHONY: demo
demo: .venv/demo.stamp  ## a weather pipeline on a real server: caching, a killed worker, time travel
	@$(BIN)/python examples/demo.py

.PHONY: bench
bench: .venv/dev.stamp  ## measure the performance budget; ARGS="--quick" or "--json FILE" or "--only KEY"
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: proto
proto: .venv/dev.stamp  ## generate src/playhead/v1 from proto/
	@./proto/generate.sh

.PHONY: docs
docs: .venv/dev.stamp  ## write docs/transitions.md anew from the rules
	@$(BIN)/python -m docs.generate_transitions

.PHONY: baseline
baseline: .venv/dev.stamp  ## at a release: make today's contract the one that later changes are compared with
	@$(BIN)/python -m tests.contract.baseline

.PHONY: clean
clean:  ## remove .venv and what the tools leave behind
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-output

# The stamps: made when an installation has succeeded, outdated when pyproject.toml changes.
.venv/demo.stamp: pyproject.toml | .venv/bin/python
	@$(call install,.)
	@touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/python
	@$(call install,.[dev])
	@touch .venv/demo.stamp $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Playhead needs Python 3.11 or newer, and none is on the PATH:" \
		"install one, or name it with make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is not Python 3.11 or newer: name another with make PYTHON=…" >&2; exit 1; }
	@echo "Creating .venv with $(PYTHON) …"
	@"$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; \
		echo "$(PYTHON) can not create virtual environments: on Debian, install python3-venv" >&2; exit 1; }

# A dot for each package, the end of pip's own words when it fails.
define install
printf 'Installing %s into .venv, once ' '$(1)'; \
$(BIN)/python -m pip install --progress-bar off -e '$(1)' 2>&1 | tee .venv/install.log | \
while IFS= read -r line; do case "$$line" in Collecting*|Downloading*|Building*|Installing*) printf .;; esac; done \
&& echo ' done' || { echo ' failed'; tail -n 20 .venv/install.log >&2; exit 1; }
endef
