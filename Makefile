# Every target does its own set-up: a fresh machine needs Python 3.10+, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo ui test test-all test-answers independent lint format bench clean

demo: $(STAMP)
	$(BIN)/dr demo

ui: $(STAMP)
	$(BIN)/dr ui

test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not exhaustive"

# Also those that take minutes: the demonstration, kills and faults at every turn, random schedules, other people's emulators.
test-all: $(STAMP) independent
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The integration tests under each answer that AWS may give where its documents do not say.
test-answers: $(STAMP)
	$(BIN)/python -m tests.support.answers

# Emulators of AWS that other people wrote, each in an environment of its own. What cannot be installed is named; its tests are skipped.
independent:
	@for each in ministack==1.5.33 localemu==1.3.2; do \
	  folder=.venv-independent/$${each%%=*}; stamp=$$folder/.installed-$${each##*=}; python=$(PYTHON); why=; \
	  if [ -e $$stamp ]; then continue; fi; rm -rf $$folder; \
	  case $$each in localemu*) $$python -c 'import sys; sys.exit(sys.version_info < (3, 13))' || python=python3.13; \
	    $$python -c 'import ensurepip' 2>/dev/null || why='it needs Python 3.13 on the PATH';; esac; \
	  [ -n "$$why" ] || why=$$({ $$python -m venv $$folder && $$folder/bin/python -m pip install \
	    --quiet --disable-pip-version-check --retries 1 $$each && touch $$stamp; } 2>&1 | grep -i error | tail -1); \
	  if [ ! -e $$stamp ]; then rm -rf $$folder; echo "$$each is not installed and its tests are skipped: $$why"; fi; done
	@rmdir .venv-independent 2>/dev/null || true

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python -m bench.stack
	$(BIN)/python -m bench.drills --runs 20
	$(BIN)/python -m bench.alerts
	$(BIN)/python -m bench.week

clean:
	rm -rf $(VENV) .venv-independent .dr build *.egg-info

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12 (for example).")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[local,ui,dev]'
	touch $(STAMP)
