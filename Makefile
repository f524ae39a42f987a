# Two commands: `make demo` and `make test`. Both set up what they need, then do it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test check clean

help:
	@echo "make demo   see it work: sample scene, real networks, real broker, real events"
	@echo "make test   set up and run all the tests"
	@echo "make check  ruff, mypy, systemd-analyze and shellcheck"
	@echo "make clean  remove the virtual environment and caches"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "maskedge needs Python 3.11 or newer; try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment; try: sudo apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/maskedge demo

test: $(VENV)/.dev
	@scripts/install-test-packages
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	scripts/check-units
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run scripts/install-test-packages scripts/check-units; \
	  else echo "shellcheck isn't installed: skipped"; fi

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
