# `make demo` and `make test` need nothing but Python 3.10-3.13. They install into .venv
# what requirements.txt locks; the tests need requirements-dev.txt besides.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# Python compiles a module when it is first imported; most never are.
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --no-compile
# An environment that keeps no bytecode lets every process compile TensorFlow, for 6 s.
export PYTHONDONTWRITEBYTECODE :=
CONFIG ?= configs/feed.yaml
DATA ?=

.PHONY: demo test test-all notebooks bench bench-quick lint docs docs-serve lock clean engine-prism engine-dask engine-flink engine-spark

demo: $(VENV)/installed  ## logs -> TFRecords -> model -> served; CONFIG=..., DATA=...
	$(RUN) -m pipeline demo $(CONFIG) $(if $(DATA),--set data.options.data=$(DATA))

# Files in their own order: by the number of their tests, few and slow ones come last,
# and one process waits for the other.
PYTEST := $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-dev  ## the fast tests
	$(PYTEST) -m "not slow"

test-all: $(VENV)/installed-dev $(VENV)/installed-docs  ## all tests
	$(PYTEST)

notebooks: $(VENV)/installed-dev  ## runs examples/*.ipynb, and keeps what they print
	PYTHONPATH=tests $(RUN) -m notebooks

# BENCH: names of some, and --data DIR for those on public data.
BENCH ?=

bench: $(VENV)/installed-dev  ## every benchmark, hours; goes on where it was stopped
	$(RUN) benchmarks/everything.py $(BENCH)

bench-quick: $(VENV)/installed-dev  ## a short form of each
	$(RUN) benchmarks/everything.py --quick $(BENCH)

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# Without the theme's notice on MkDocs 2, below which pyproject.toml stays.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs

docs: $(VENV)/installed-docs  ## the docs as a site, in site/
	$(MKDOCS) build

docs-serve: $(VENV)/installed-docs  ## the same, built anew at every change
	$(MKDOCS) serve

$(VENV)/made:
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"tfmtl needs Python 3.10 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/made requirements.txt pyproject.toml
	$(INSTALL) -r requirements.txt
	$(INSTALL) --no-deps -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	touch $@

# Needs nothing of the project: the site is made from its texts.
$(VENV)/installed-docs: $(VENV)/made requirements-docs.txt
	$(INSTALL) -r requirements-docs.txt
	touch $@

# Of Beam's version; needs Go. Then: preprocess ... --runner=PrismRunner
# --prism_location=.engines/prism
engine-prism: .engines/prism  ## builds Beam's Prism

.engines/prism: requirements.txt | $(VENV)/installed
	GOBIN=$(CURDIR)/.engines go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$$($(RUN) -c 'import importlib.metadata as m; print(m.version("apache-beam"))')

# A server of gs:// of this machine, for its tests; needs Go.
.engines/fake-gcs-server:
	GOBIN=$(CURDIR)/.engines go install github.com/fsouza/fake-gcs-server@v1.56.1

engine-dask: $(VENV)/installed-dev  ## a Dask cluster of two workers, until Ctrl-C
	PYTHONPATH=tests $(RUN) -m clusters dask

# They need Java 17; Maven fetches their jars, 300 MB each.
engine-flink: .engines/flink $(VENV)/installed  ## a Flink cluster of two task managers
	PYTHONPATH=tests $(RUN) -m clusters flink

engine-spark: .engines/spark $(VENV)/installed  ## a Spark cluster of two workers
	PYTHONPATH=tests $(RUN) -m clusters spark

.engines/flink .engines/spark: .engines/%: tests/clusters/%.xml
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$@/jars
	touch $@

# Changes no more than pyproject.toml asks for; LOCK_FLAGS=--upgrade: the newest of all.
# uv must be installed. Every line would say that it is for CPython on Linux.
UV ?= uv
LOCK_FLAGS ?=
LOCK = $(UV) pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header $(LOCK_FLAGS)
PLAIN = sed -i -E "s/ and (platform_python_implementation == 'CPython'|sys_platform == 'linux'|python_full_version < '3.14')//g; s/ ; python_full_version < '3.14'$$//"
DEV = --extra pipeline --extra sweep --extra dask --extra postgres --extra tfrs --extra dev

lock:  ## pyproject.toml -> requirements*.txt
	$(LOCK) --extra pipeline pyproject.toml -o requirements.txt
	$(PLAIN) requirements.txt
	$(LOCK) $(DEV) -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(PLAIN) requirements-dev.txt
	(echo "-r requirements.txt"; grep -vxFf requirements.txt requirements-dev.txt) > requirements-dev.tmp
	mv requirements-dev.tmp requirements-dev.txt
	$(LOCK) -c requirements-dev.txt --group docs -o requirements-docs.txt
	$(PLAIN) requirements-docs.txt

clean:
	rm -rf $(VENV) workspace site
