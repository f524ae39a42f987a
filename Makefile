# Each sets up what it needs, then does it.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Most tests wait for a broker, a camera or a deadline: four at a time are done in a third of the
# time, on two cores too. One by one, with what they print: make test PYTEST_ARGS='-n 0 -s'.
PYTEST_ARGS ?= -n 4 --dist loadfile

.PHONY: help demo test check docs clean

help:
	@echo "make demo   see it work: sample scene, real networks, real broker, real events"
	@echo "make test   set up and run all the tests"
	@echo "make check  ruff, mypy, systemd-analyze and shellcheck"
	@echo "make docs   the documents as a site, in site/"
	@echo "make clean  remove the virtual environment and caches"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "maskedge needs Python 3.11 or newer; try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -f $@; echo "no virtual environment; try: sudo apt-get install python3-venv" >&2; exit 1; }

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
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run scripts/install-test-packages scripts/check-units systemd/install.sh; \
	  else echo "shellcheck isn't installed: skipped"; fi

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

clean:
	rm -rf site $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
