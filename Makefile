# Two commands on a fresh machine (Python 3.11+ with venv, make): `make demo` and `make test`.
VENV ?= .venv
BIN := $(VENV)/bin
ZOO ?= .venv-zoo
PYTHON ?= python3

.PHONY: install demo page test test-long test-slow test-zoo fuzz audit check web docs format lint types layers benchmarks clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,dev]"
	touch $@

demo: install
	$(BIN)/pixelwise demo

# The page, from web/: built on installing, and here again after a change. Needs Node only when something changed.
page: install
	$(BIN)/python hatch_build.py

# Files of tests are shared out among processes: one more than there are cores, as many tests wait for a browser or a clock;
# four at most. One after the other: WORKERS=0.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() + 1)")
SHARED_OUT := -n $(WORKERS) --maxprocesses 4 --no-loadscope-reorder --durations 20
test: page
	$(BIN)/python -m pytest $(SHARED_OUT) --dist loadfile

# Whole jobs of half a minute or more: tutorials, searches, trainings that are killed and go on.
test-long: page
	$(BIN)/python -m pytest $(SHARED_OUT) --dist load -m long

# Proofs that take minutes: many kills, long floods.
test-slow: page
	$(BIN)/python -m pytest -m slow

# Hostile input, for as long as is asked: `make fuzz MINUTES=30 SEED=7`. With Atheris where it can be installed (it finds
# new paths by what a mutant runs through), otherwise with the seeded mutator alone.
MINUTES ?= 10
SEED ?= 0
fuzz: page
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python tests/hostile/fuzz.py --minutes $(MINUTES) --seed $(SEED)

# Published faults of what is installed, from the advisory databases; needs the network.
audit: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --no-deps --requirement constraints.txt

# The networks of timm and segmentation-models-pytorch need a torchvision that fits torch: an environment of their own, of
# some gigabytes.
test-zoo: $(ZOO)/.installed
	$(ZOO)/bin/python -m pytest tests/model/test_zoo.py

$(ZOO)/.installed: pyproject.toml constraints-zoo.txt
	test -x $(ZOO)/bin/python || $(PYTHON) -m venv $(ZOO)
	$(ZOO)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-zoo.txt -e ".[train,zoo]" pytest pytest-timeout
	touch $@

check: lint types layers web docs test

# The documentation as a site, in build/docs: strict, and nothing in it is loaded from elsewhere.
docs: install
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	$(BIN)/python docs/offline.py build/docs

web: page
	$(BIN)/python hatch_build.py --check

format: install
	$(BIN)/ruff format src tests benchmarks docs examples
	$(BIN)/ruff check --fix src tests benchmarks docs examples
	$(BIN)/python hatch_build.py --format

lint: install
	$(BIN)/ruff format --check src tests benchmarks docs examples
	$(BIN)/ruff check src tests benchmarks docs examples

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

benchmarks: install
	$(BIN)/python benchmarks/camvid.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/page.py demo/run

clean:
	rm -rf $(VENV) $(ZOO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
