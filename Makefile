PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

# the backends of Keras that `make backends` runs the methods under
BACKENDS ?= jax torch
BACKEND_TESTS ?= tests/distillation
PYTEST := $(BIN)/python -m pytest -q -n auto --dist loadfile

.PHONY: demo test tests nightly quick backends check lint docs release setup clean

demo: $(STAMP)
	$(BIN)/kd-loss demo

# what a change has to pass: all but the tests marked `slow`, which `make nightly` runs as well
test: lint tests backends

tests: $(STAMP)
	$(PYTEST) -m "not slow"

nightly: lint
	$(PYTEST)
	$(MAKE) backends BACKEND_TESTS="tests/distillation tests/training/teachers/test_record.py tests/training/test_keras_habits.py"

# what changes most often and needs no training, marked `quick`: for the everyday, under a minute
quick: $(STAMP)
	$(PYTEST) -m "quick and not slow"

# the distillation methods under other backends: make backends BACKENDS=torch
backends: $(STAMP)
	set -e; for backend in $(BACKENDS); do echo "KERAS_BACKEND=$$backend"; \
	  KERAS_BACKEND=$$backend $(PYTEST) --dist load $(BACKEND_TESTS); done

# before a commit
check: lint quick

lint: $(STAMP) docs
	$(BIN)/ruff check .
	$(BIN)/mypy

# the site, into site/: every link and every public name is checked; nothing is fetched
docs: $(STAMP)
	KERAS_BACKEND=numpy TF_CPP_MIN_LOG_LEVEL=3 NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# sdist and wheel in dist/, checked as somebody's own environment would see them; publishes nothing
release: $(STAMP)
	$(BIN)/python tools/release.py

setup: $(STAMP)

# opencv-python needs libGL, which a machine without a display may lack: the headless build of the same
# version is the same module without the windows
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[dev]'
	$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  version=$$($(BIN)/python -c 'from importlib.metadata import version; print(version("opencv-python"))'); \
	  $(BIN)/python -m pip uninstall --quiet --yes opencv-python; \
	  $(BIN)/python -m pip install --quiet "opencv-python-headless==$$version"; }
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info runs .pytest_cache .mypy_cache .ruff_cache
