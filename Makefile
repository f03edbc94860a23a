PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test lint setup clean

demo: $(STAMP)
	$(BIN)/kd-loss demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -q -n auto --dist loadfile
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n auto tests/distillation

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
