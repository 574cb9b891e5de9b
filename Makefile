# What a developer and CI run. Needs Python 3.11 or newer, make and git; the rest is fetched into .venv.
#
#   make run                     install, then `ctl launch`; ARGS="--mode multi" passes options on
#   make test                    every test; fails where those of parts cover less than 90 %
#   make chaos                   faults at random for 30 minutes: MINUTES=30 SEED=1, or FAULTS=200
#   make bench                   speed and memory beside other launchers; make bench-check compares
#   make soak                    20 minutes under load, and nothing may grow: MINUTES=20
#   make test-fast               the tests that need no servers and few seconds
#   make PYTHON=python3.13 run   choose the interpreter of a new .venv

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
FAST_TESTS := tests/unit tests/property tests/architecture
SLOW_TESTS := tests/integration tests/conformance
WHOLE_TESTS := tests/chaos tests/e2e

.PHONY: run test test-fast test-all-pythons lint bench bench-check bench-recovery chaos soak clean

run: $(INSTALLED)
	@$(BIN)/ctl launch $(ARGS)

# Two at a time, the slow ones too: they mostly wait, and what holds only on an idle machine does not hold.
# Those of whole backends run without the tracer: it makes processes two to three times as slow, and hides races.
test: $(INSTALLED_DEV)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 $(FAST_TESTS)
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal $(SLOW_TESTS)
	$(BIN)/pytest -n 2 --dist worksteal $(WHOLE_TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90

test-fast: $(INSTALLED_DEV)
	$(BIN)/pytest -n 2 -m "not slow" $(FAST_TESTS) $(ARGS)

# A version manager's shim can be on the PATH and fail: an interpreter counts when it runs.
test-all-pythons:
	@for version in 3.11 3.12 3.13; do \
		python=$$(for path in python$$version "$$HOME"/.pyenv/versions/$$version.*/bin/python; do \
			$$path -c '' 2>/dev/null && echo $$path && break; done); \
		if [ -z "$$python" ]; then echo "Python $$version is not installed: skipped"; continue; fi; \
		echo "Python $$version:"; \
		$(MAKE) --no-print-directory test-fast PYTHON=$$python VENV=.venv/pythons/$$version || exit 1; \
	done

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Fetches supervisord, circus, honcho and pm2 (npm) into a temporary folder; wants nginx and wrk. 11 minutes.
bench: $(INSTALLED_DEV)
	$(BIN)/python -m perf.bench $(ARGS)

# Names the ratios that got worse; ARGS="--short" for the quickest.
bench-check: $(INSTALLED_DEV)
	$(BIN)/python -m perf.bench_check $(ARGS)

# Fetches supervisord, circus, honcho and pm2 (npm) into a temporary folder; takes some minutes.
bench-recovery: $(INSTALLED_DEV)
	$(BIN)/python -m perf.recovery $(ARGS)

chaos: $(INSTALLED_DEV)
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(ARGS)

soak: $(INSTALLED_DEV)
	$(BIN)/python -m perf.soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

clean:
	rm -rf $(VENV) .ctl build dist *.egg-info node_modules htmlcov
	rm -rf .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find contracts components control_plane perf tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install one, or set PYTHON." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian: apt install python3-venv" >&2; exit 1; }

# Stamps: a second call does nothing until pyproject.toml changes.
$(INSTALLED): pyproject.toml | $(BIN)/python
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(PIP) install --group dev
	@touch $@
