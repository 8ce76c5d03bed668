# Two commands do everything: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The CPU build of torch is enough here; TORCH_INDEX=URL takes another build.
TORCH := $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0

.PHONY: quickstart test check bench format clean

quickstart: $(VENV)/.installed
	$(BIN)/rootlm quickstart

test: $(VENV)/.test
	OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(FIGURES)

clean:
	rm -rf $(VENV)

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rootlm needs Python 3.11 or newer; try make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(TORCH)
	$(PIP) -e .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(PIP) --group test
	# fastText's own program has the name of the package that tells languages: it lies where only tests look.
	$(PIP) --upgrade --no-deps --target $(VENV)/fasttext fasttext-community==0.11.9
	touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --group check
	touch $@
