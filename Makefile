PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test quick check lint setup clean

# what changes most often and needs no training: for the everyday, under a minute
QUICK := tests/test_rooms.py tests/test_docstrings.py tests/system tests/imaging tests/schemes tests/archives \
  tests/datasets tests/distillation/test_kd_loss.py tests/evaluation/test_metrics.py tests/inference/test_smoothing.py

demo: $(STAMP)
	$(BIN)/kd-loss demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -q -n auto --dist loadfile
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n auto tests/distillation

quick: $(STAMP)
	$(BIN)/python -m pytest -q -n auto $(QUICK)

# before a commit
check: lint quick

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

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
	rm -rf $(VENV) build *.egg-info runs .pytest_cache .mypy_cache .ruff_cache
