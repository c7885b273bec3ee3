# Two commands on a machine with only Python 3.11 or newer:  make demo   and   make test
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One process per core, each on one thread: threads that wait for each other beside other work wait for long.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

BY_EITHER_WAY := tests/cells tests/fused tests/laws tests/layers tests/models tests/worked tests/training tests/cli elman

.PHONY: setup demo test test-fast test-definition sanitize nightly check format clean

setup: $(VENV)/.installed

SOURCES := pyproject.toml constraints.txt setup.py $(wildcard elman/fused/native/*.cpp elman/fused/native/*.h)

# A virtual environment of its own; torch and the tools at the versions of constraints.txt.
define install
	@$(PYTHON) -c 'import sys; sys.exit("Elman needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Installing PyTorch and $(2): some minutes, while nothing is shown."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--config-settings editable_mode=compat -e '.[$(1)]'
	@$(BIN)/python -c 'from elman.fused.library import objection as o; o() and print("Cells run by their definition, slower:", o())'
endef

# What runs Elman and draws its figures; and that with the tools to work on it.
$(VENV)/.usable: $(SOURCES)
	$(call install,report,Matplotlib)
	@touch $@

$(VENV)/.installed: $(SOURCES)
	$(call install,dev,the tools)
	@touch $@ $(VENV)/.usable

demo: $(VENV)/.usable
	$(BIN)/elman demo

test: setup
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m 'not slow'

# The tests of cells and of what is built on them, as where no compiler was: by the definition.
test-definition: setup
	ELMAN_EXECUTORS=none $(PYTEST) -m 'not slow' $(BY_EITHER_WAY)

# For the night: every test, the executor's under sanitizers, with random Programs by the thousand, others each night.
nightly: export ELMAN_RANDOM_PROGRAMS = 5000
nightly: test sanitize

# The executor under AddressSanitizer and UndefinedBehaviorSanitizer, optimized as it is shipped: it rounds alike.
# The first error ends it.
sanitize: setup
	CXX=g++ CXXFLAGS="-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all" \
		$(BIN)/python setup.py -q build_ext --build-lib build/sanitized
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=2 \
		ELMAN_EXECUTORS=build/sanitized/elman/fused/native $(BIN)/python -m pytest -p no:cacheprovider tests/fused

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
