"""A folder that is a web page: networks as ONNX, onnxruntime-web, and a page that draws landmarks or keypoints."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.detection.finder import (
    CONTRAST,
    LARGEST,
    LEAST_CONTRAST,
    OF_GROUPS,
    OF_TILES,
    SAME,
    shipped_finder,
)
from kd_loss.detection.finder_format import CHANNELS
from kd_loss.export.convert import Exportable, to_onnx
from kd_loss.inference.base import LEAST_POINTS, SEEN, SETTLED, SHRINKS, TWICE, WANDERS
from kd_loss.networks.keypoint_detector import KeypointCard
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_folder, read_json, write_json
from kd_loss.system.terminal import quiet_stderr

#: the npm package that runs the network, in the version that the page is tested with
PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
#: files of that package that a page needs: the interface, its worker and the runtime itself
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = Path(__file__).parent / "page"


def write_page(
    network: Exportable,
    folder: Path,
    runtime: str,
    precision: str,
    calibration: np.ndarray | None = None,
    check: Callable[[Path], Any] = lambda _: None,
) -> Any:
    """Write the page; it needs a server (`python -m http.server`), but no other host.

    A landmark network's page finds faces; a keypoint detector's page uses the centre of an image.

    Args:
        network: the model and its card.
        folder: the folder of the page, replaced as a whole.
        runtime: a folder or `.tgz` of the npm package onnxruntime-web; empty: fetched by `npm pack`.
        precision: precision of the network, see `convert.to_onnx`.
        calibration: crops (N, S, S, 3) uint8, for int8; None for other precisions.
        check: checks the page's `.onnx` before the folder gets its final name, and raises any error.

    Returns:
        The result of `check`.

    Raises:
        UserError: the package is missing, or lacks a file that the page needs.
    """
    card = network.card
    with atomic_folder(folder) as target:
        if isinstance(card, KeypointCard):
            _begin_page(target, runtime, "keypoints.html", "keypoints.mjs")
            page_card: dict[str, Any] = {"size": card.size, "crop": card.crop, "points": card.points}
        else:
            _begin_page(target, runtime, "index.html", "landmarks.mjs", "finder.mjs")
            copy_finder(target)
            scheme = card.landmark_scheme()
            page_card = {"size": card.size, "margin": card.margin, "points": scheme.points, "edges": scheme.edges}
            page_card |= {"calibration": dict(card.calibration), "visibility": card.visibility}
            page_card |= {
                "settled": SETTLED,
                "wanders": WANDERS,
                "twice": TWICE,
                "shrinks": SHRINKS,
                "least_points": LEAST_POINTS,
                "seen": SEEN,
            }
        write_json(target / "card.json", page_card)
        with quiet_stderr():
            to_onnx(network, target / "model.onnx", precision, calibration)
        return check(target / "model.onnx")


def _begin_page(target: Path, runtime: str, page: str, *modules: str) -> None:
    """The content of every page: the runtime, the shared modules, `page` as its index, and its own modules."""
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(runtime) if runtime else _fetch(Path(temporary))
        copy_runtime(package, target / "ort")
    (target / "index.html").write_text(_with_policy((PAGE / page).read_text(encoding="utf-8")), encoding="utf-8")
    for name in ("network.mjs", "pictures.mjs", *modules):
        shutil.copyfile(PAGE / name, target / name)


def _with_policy(page: str) -> str:
    """The page with a Content-Security-Policy: its own script alone, and no other host, not even for an image."""
    (script,) = re.findall(r"<script type=\"module\">(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' 'sha256-{digest}'",  # the runtime is WebAssembly
        "connect-src": "'self' blob: data:",
        "img-src": "'self' blob: data:",
        "media-src": "'self' blob:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    policy = "; ".join(f"{name} {sources}" for name, sources in rules.items())
    meta = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return page.replace('<meta charset="utf-8">', meta, 1)


def copy_finder(target: Path) -> None:
    """The shipped finder and its settings for the page; empty if it is not available."""
    try:
        finder = shipped_finder().with_suffix(".onnx")
    except UserError:
        return
    card = read_json(finder.with_suffix(".json"), "the finder's card")
    shutil.copyfile(finder, target / "finder.onnx")
    chosen = {key: card[key] for key in ("size", "strides", "min_scores")}
    rules = {"channels": CHANNELS, "largest": LARGEST, "least_contrast": [CONTRAST, LEAST_CONTRAST], "same": SAME}
    rules |= {"of_groups": OF_GROUPS, "of_tiles": OF_TILES}
    write_json(target / "finder.json", chosen | rules)


def _fetch(folder: Path) -> Path:
    try:
        subprocess.run(
            ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=300,
        )
    except FileNotFoundError:
        reason = "npm is not installed"
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        reason = "npm could not fetch it"
    else:
        return next(folder.glob("*.tgz"))
    raise UserError(f"the page needs the npm package {PACKAGE} {VERSION}, but {reason}; give --web-runtime its .tgz")


def copy_runtime(package: Path, target: Path) -> None:
    """Copy the runtime's files out of a `.tgz` or an unpacked folder of the npm package."""
    target.mkdir()
    try:
        if package.is_dir():
            for name in RUNTIME:
                shutil.copyfile(package / "dist" / name, target / name)
            return
        with tarfile.open(package) as archive:
            for name in RUNTIME:
                member = archive.extractfile(f"package/dist/{name}")
                if member is None:
                    raise KeyError(name)
                with (target / name).open("wb") as file:
                    shutil.copyfileobj(member, file)
    except (OSError, KeyError, tarfile.TarError):
        raise UserError(f"{package} is not the npm package {PACKAGE} with dist/{', dist/'.join(RUNTIME)}") from None
