# Everything a person does with this checkout. The only needs are make and Python 3.11 or newer (or uv, which brings one).
#   make serve DIR=~/Documents
#   make help

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help serve test check format bench clean

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTEST = $(BIN)/python -m pytest $(ARGS)

help: ## Show what there is
	@echo 'Holdfast: the lock server and toolkit for HTTP 423 Locked.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  make serve DIR=~/Documents'
	@echo '  make serve DIR=~/Documents ARGS="--user alice:secret --user bob:hunter2"'

serve: ## Serve the folder DIR over WebDAV (more flags in ARGS); sets everything up on the first run
	@if [ -z "$(DIR)" ]; then \
	  echo 'Which folder? For example: make serve DIR=~/Documents' >&2; exit 2; fi
	@$(MAKE) --no-print-directory --silent $(VENV)/.serve-ready
	@exec $(BIN)/holdfast serve "$(DIR)" $(ARGS)

test: $(VENV)/.dev-ready ## Run all tests: first those that need the machine for themselves, then the rest in parallel
	@$(PYTEST) -m serial; serial=$$?; \
	if [ $$serial -eq 5 ]; then serial=0; fi; \
	$(PYTEST) -m 'not serial' -n $(JOBS) --dist worksteal && exit $$serial

check: $(VENV)/.dev-ready ## Check format, style, types and the floors
	@status=0; for tool in 'ruff format --check' 'ruff check' basedpyright lint-imports; do \
	  echo "$$tool"; $(BIN)/$$tool || status=1; \
	done; exit $$status

format: $(VENV)/.dev-ready ## Format the code and mend what can be mended without thought
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.bench-ready ## Measure beside Apache, rclone and wsgidav, and print ratios
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove the virtual environment and what tools left behind
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is younger than pyproject.toml once its set-up is done, so a second start installs nothing.
$(VENV)/.serve-ready: pyproject.toml | $(BIN)/python
	@echo 'Installing Holdfast into $(VENV) ...'
	@$(call install,)
	@touch $@

$(VENV)/.dev-ready: pyproject.toml | $(BIN)/python
	@$(call install,--group dev)
	@touch $@ $(VENV)/.serve-ready

$(VENV)/.bench-ready: pyproject.toml | $(BIN)/python
	@$(call install,--group dev --group bench)
	@touch $@ $(VENV)/.serve-ready

install = if command -v uv >/dev/null 2>&1; then \
	    uv pip install --quiet --python $(BIN)/python --editable . $(1); \
	  else \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1' && \
	    $(BIN)/python -m pip install -qq --disable-pip-version-check --editable . $(1); \
	  fi

$(BIN)/python:
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --clear --python '>=3.11' $(VENV); exit; fi; \
	for python in "$$PYTHON" python3 python3.14 python3.13 python3.12 python3.11; do \
	  if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    "$$python" -m venv --clear $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot make a virtual environment: install its venv package (Debian: apt install python3-venv)." >&2; exit 2; \
	  fi; \
	done; \
	found=$$(python3 --version 2>/dev/null || echo 'no Python'); \
	echo "Holdfast needs Python 3.11 or newer, and here is $$found: install a newer one, or uv, which brings its own." >&2; exit 2
