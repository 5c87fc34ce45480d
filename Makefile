# `make demo` and `make test` need nothing but Python 3.10-3.13; they install into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
CONFIG ?= configs/feed.yaml
DATA ?=

.PHONY: demo test test-all lint clean

demo: $(VENV)/installed  ## logs -> TFRecords -> model -> served; CONFIG=..., DATA=...
	$(RUN) -m pipeline demo $(CONFIG) $(if $(DATA),--set data.options.data=$(DATA))

test: $(VENV)/installed  ## the fast tests
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/installed  ## all tests
	$(RUN) -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"tfmtl needs Python 3.10 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) workspace
