"""A wheel is whole: the modules, the page of the browser, the shipped networks, the licence. Built without network."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("setuptools is older than the one that builds this package")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("kd_loss", "models"):
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        copy2(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD, str(target)], cwd=source, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_what_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kd_loss").rglob("*.py")}
    networks = {f"kd_loss/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "models").rglob("*.*") if p.is_file()}
    assert modules <= names
    # the further exports of the students stay in the checkout
    more = {name for name in networks if "/students/" in name and (name.endswith(".onnx") or "-int8." in name)}
    assert {name for name in networks - more if not name.endswith(".gitkeep")} <= names
    assert len(more) == 15
    assert not more & names
    assert {
        "kd_loss/export/page/index.html",
        "kd_loss/evaluation/report.html",
        "kd_loss/py.typed",
        "kd_loss/api.pyi",
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if not name.startswith(("kd_loss/", "kd_loss-"))]


def test_the_wheel_finds_its_networks_outside_of_the_checkout(wheel, tmp_path):
    """Unpacked as an installation would have it, with the other packages of this environment."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "work").mkdir()
    cv2.imwrite(str(tmp_path / "work" / "grey.png"), np.full((100, 120, 3), 90, np.uint8))
    code = (
        "import kd_loss; from kd_loss.inference.weights import default_weights\n"
        "print(default_weights()); print(kd_loss.LandmarkPredictor.load()('grey.png'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "work", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    weights = tmp_path / "site" / "kd_loss" / "models" / "students" / "student_w300.h5"
    assert done.stdout.splitlines() == [str(weights), "[]"], done.stderr


def test_the_version_is_one():
    from kd_loss import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_dockerfile_copies_what_is_there_and_needs_what_the_package_needs():
    """Without TensorFlow and what only its backend uses; OpenCV without windows."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for name in re.findall(r"^COPY (.*) \S+$", text, flags=re.MULTILINE):
        assert all((ROOT / part).exists() for part in name.split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=]", requirement)[0]
        if name not in ("tensorflow", "tensorboard", "efficientnet"):
            assert requirement.replace("opencv-python", "opencv-python-headless") in text, requirement
