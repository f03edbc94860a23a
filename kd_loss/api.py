"""Every command as a function: options are keywords, with the names and defaults of the command line.

`--batch-size 8` is `batch_size=8`, `--method kd_loss srrl:0.1` is `method=["kd_loss", "srrl:0.1"]`. Positional
arguments of a command (images, weights) come first. One object of the command's options class,
`StudentOptions(batch_size=8)`, may replace all of them. An unknown keyword, or a value of another type, raises a
one-line `UserError`, as does everything else that a user can fix.

Type checkers and editors read `api.pyi` instead of this module: `tools/stubs.py` generates it from the options classes.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kd_loss.cli import COMMANDS, resolve
from kd_loss.system.configuration import Options, fields_of, from_keywords
from kd_loss.system.deprecation import renamed_keywords
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import quiet_stderr

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kd_loss.inference.result import FaceLandmarks
    from kd_loss.schemes.coordinates import Coordinates
    from kd_loss.system.files import Json

F = TypeVar("F", bound=Callable[..., Any])


def _documented(command: str) -> Callable[[F], F]:
    """Decorator: adds the command's options to the function's signature and to the end of its docstring."""

    def add(function: F) -> F:
        cls = resolve(COMMANDS[command].options)
        fields = sorted(fields_of(cls), key=lambda field: not field.metadata["positional"])
        parameters, lines = [], []
        if not fields[0].metadata["positional"]:
            parameters.append(inspect.Parameter("options", inspect.Parameter.POSITIONAL_ONLY, default=None))
        for field in fields:
            first = field.metadata["positional"]
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if first else inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(field.name, kind, default=default))
            lines.append(f"    {field.name} = {default!r}: {field.metadata['help']}")
        own = inspect.signature(function).parameters.values()
        parameters += [one for one in own if one.kind is inspect.Parameter.KEYWORD_ONLY]
        title = f"Options, or one {cls.__name__} first:"
        function.__doc__ = f"{inspect.getdoc(function)}\n\n{title}\n" + "\n".join(lines) + "\n"
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return function

    return add


def _options(command: str, first: tuple[Any, ...], keywords: dict[str, Any]) -> Options:
    """The command's options: the one given object, or one made from keywords and positional arguments."""
    cls, name = resolve(COMMANDS[command].options), command.replace("-", "_")
    if first and isinstance(first[0], Options):
        given = type(first[0]).__name__
        if not isinstance(first[0], cls):
            raise UserError(f"{name} takes {cls.__name__}, not {given}")
        if len(first) > 1 or keywords:
            more = ", ".join(keywords) or "more without a name"
            raise UserError(f"{name} takes {given}(…) or keywords, not both ({more}): dataclasses.replace changes some")
        if first[0].config:
            raise UserError(f"{name} reads no file for {given}(config=…): give {name}(config=…) as a keyword")
        return first[0]
    unnamed = [field.name for field in dataclasses.fields(cls) if field.metadata["positional"]]
    if first and (not unnamed or unnamed[0] in keywords):
        raise UserError(
            f"{name} takes its options by name, e.g. {name}({fields_of(cls)[0].name}=…), or one {cls.__name__}"
        )
    if len(first) > 1:
        raise UserError(f"{name} takes several {unnamed[0]} as one list")
    return from_keywords(cls, {**keywords, **dict(zip(unnamed, first, strict=False))}, name)


def _run(command: str, first: tuple[Any, ...], keywords: dict[str, Any], **more: Any) -> Any:
    """Run the command with its options, given as `_options` takes them."""
    chosen = _options(command, first, keywords)
    chosen.check()
    with quiet_stderr():
        function = resolve(COMMANDS[command].function)
    return function(chosen, **more)


@_documented("prepare")
@renamed_keywords(spec="scheme")
def prepare(*options: Any, coordinates: Coordinates | str | tuple[float, float] = "pixels", **keywords: Any) -> Json:
    """Crop, resize and normalise annotated faces into `data/<dataset>/`; returns its manifest.

    `source` may also be in memory: `(images, landmarks)`, an iterable of pairs (image, points) or a
    `tf.data.Dataset`. Images (H, W, 3) are RGB of 0…255; points (K, 2) are in pixels of each image, with the
    centre of the first pixel at 0, or as `coordinates` states; NaN marks a point that is not annotated. `scheme` may
    be a `LandmarkScheme`; without one a scheme of K points is created.
    """
    from kd_loss.datasets.prepare_command import Given
    from kd_loss.schemes.landmarks import LandmarkScheme

    source, scheme = keywords.get("source", ""), keywords.get("scheme", "")
    in_memory = not isinstance(source, str | os.PathLike)
    if not in_memory and not isinstance(scheme, LandmarkScheme):
        if coordinates != "pixels":
            raise UserError("coordinates are of faces in memory: a file's format defines its own")
        return _run("prepare", options, keywords)
    given = Given(
        source=source if in_memory else None,
        scheme=scheme if isinstance(scheme, LandmarkScheme) else None,
        coordinates=coordinates,
    )
    objects = {"source": in_memory, "scheme": given.scheme is not None}
    return _run("prepare", options, {k: v for k, v in keywords.items() if not objects.get(k)}, given=given)


@_documented("show")
def show(*options: Any, **keywords: Any) -> list[Path]:
    """Draw prepared faces and augmented ones; returns the two images."""
    return _run("show", options, keywords)


@_documented("methods")
def list_methods(*names: Any, **keywords: Any) -> list[dict[str, str]]:
    """Print the table of methods; returns its rows."""
    return _run("methods", names, keywords)


@_documented("train-teacher")
def train_teacher(*options: Any, callbacks: Sequence[keras.callbacks.Callback] = (), **keywords: Any) -> list[Path]:
    """Train the tough and the tolerant teacher of a dataset; returns their run folders.

    Keras `callbacks` take part in every training.
    """
    return _run("train-teacher", options, keywords, callbacks=callbacks)


@_documented("train-student")
def train_student(*options: Any, callbacks: Sequence[keras.callbacks.Callback] = (), **keywords: Any) -> Path:
    """Train a student, distilled or alone; returns its run folder, with `best.h5` in it.

    Keras `callbacks` run before those that save: early stopping, wandb and mlflow need nothing else.
    """
    return _run("train-student", options, keywords, callbacks=callbacks)


@_documented("train-keypoints")
def train_keypoints(*options: Any, **keywords: Any) -> Path:
    """Train a detector of unsupervised keypoints; returns its run folder."""
    return _run("train-keypoints", options, keywords)


@_documented("distil-keypoints")
def distil_keypoints(*options: Any, **keywords: Any) -> Path:
    """Train a small detector on the predictions of another; returns its run folder."""
    return _run("distil-keypoints", options, keywords)


@_documented("test-keypoints")
def test_keypoints(*weights: Any, **keywords: Any) -> list[Json]:
    """Evaluate detectors by the landmarks predicted from their keypoints; returns a row for each."""
    return _run("test-keypoints", weights, keywords)


@_documented("export-keypoints")
def export_keypoints(*weights: Any, **keywords: Any) -> dict[Path, float]:
    """Export a keypoint detector for other runtimes; returns each file and its difference from Keras's predictions."""
    return _run("export-keypoints", weights, keywords)


@_documented("animate-keypoints")
def animate_keypoints(*weights: Any, **keywords: Any) -> Path:
    """Move an image by the keypoints of a clip; returns the .gif's path."""
    return _run("animate-keypoints", weights, keywords)


@_documented("prepare-persons")
def prepare_persons(*options: Any, **keywords: Any) -> Json:
    """Crop images of persons into a prepared dataset; returns its manifest."""
    return _run("prepare-persons", options, keywords)


@_documented("train-recogniser")
def train_recogniser(*options: Any, **keywords: Any) -> Path:
    """Train a recognition network; returns its run folder."""
    return _run("train-recogniser", options, keywords)


@_documented("verify")
def verify(*weights: Any, **keywords: Any) -> Json:
    """Verify the pairs of a prepared dataset of persons; returns the content of `verify.json`.

    For figures without files, use `verify_persons`.
    """
    return _run("verify", weights, keywords)


@_documented("embed")
def embed(*pictures: Any, **keywords: Any) -> np.ndarray:
    """Write the embeddings of images; returns them, (N, D) of length 1."""
    return _run("embed", pictures, keywords)


@_documented("export-recogniser")
def export_recogniser(*weights: Any, **keywords: Any) -> dict[Path, float]:
    """Export a recogniser for other runtimes; returns each file and the mean of 1 − cosine to Keras's embeddings."""
    return _run("export-recogniser", weights, keywords)


@_documented("test")
def test(*options: Any, **keywords: Any) -> Json:
    """Test networks on a prepared dataset, write the report; returns the content of `metrics.json`."""
    return _run("test", options, keywords)


@_documented("predict")
def predict(*sources: Any, **keywords: Any) -> list[FaceLandmarks]:
    """Predict images and videos and write the results into a folder; returns the faces.

    For landmarks without files, use `LandmarkPredictor`.
    """
    return _run("predict", sources, keywords)


@_documented("compare")
def compare(*options: Any, **keywords: Any) -> Json:
    """Train a student by each method under equal conditions and test them; returns the content of `compare.json`."""
    return _run("compare", options, keywords)


@_documented("export")
def export_network(*weights: Any, **keywords: Any) -> list[Json]:
    """Export a student for other runtimes; returns a row for the network and one for each file, as in `export.json`."""
    return _run("export", weights, keywords)


@_documented("import")
def import_network(*old: Any, **keywords: Any) -> Path:
    """Convert an old `.h5` of Keras 2 to a network of this package; returns the new file."""
    return _run("import", old, keywords)


@_documented("benchmark")
def benchmark_networks(*weights: Any, **keywords: Any) -> Json:
    """Measure time, memory and size of networks; returns the content of `benchmark.json`."""
    return _run("benchmark", weights, keywords)


@_documented("draw-loss")
def draw_loss(*options: Any, **keywords: Any) -> Path:
    """Draw the terms of KD-Loss; returns the image's path."""
    return _run("draw-loss", options, keywords)


@_documented("demo")
def run_demo(*options: Any, **keywords: Any) -> Json:
    """Run the whole workflow on drawn faces; returns the metrics of the test."""
    return _run("demo", options, keywords)
