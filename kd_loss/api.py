"""Every command as a function: the options are keywords, of the names and defaults of the command line's.

`--batch-size 8` is `batch_size=8`, `--method kd_loss srrl:0.1` is `method=["kd_loss", "srrl:0.1"]`. What a command
takes without a name (pictures, weights) comes first. A keyword that there is not, or a value of another type, is a
`UserError` of one line, as is everything else that a user can mend.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kd_loss.cli import COMMANDS, resolve
from kd_loss.system.configuration import fields_of, from_keywords
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import quiet_stderr

if TYPE_CHECKING:
    import keras

    from kd_loss.inference.result import FaceLandmarks
    from kd_loss.schemes.coordinates import Coordinates

F = TypeVar("F", bound=Callable[..., Any])


def _documented(command: str) -> Callable[[F], F]:
    """Decorator: the command's options as the function's signature and at the end of its docstring."""

    def add(function: F) -> F:
        fields = fields_of(resolve(COMMANDS[command].options))
        parameters, lines = [], []
        for field in sorted(fields, key=lambda field: not field.metadata["positional"]):
            first = field.metadata["positional"]
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if first else inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(field.name, kind, default=default))
            lines.append(f"    {field.name} = {default!r}: {field.metadata['help']}")
        own = inspect.signature(function).parameters.values()
        parameters += [one for one in own if one.kind is inspect.Parameter.KEYWORD_ONLY]
        function.__doc__ = f"{inspect.getdoc(function)}\n\nOptions:\n" + "\n".join(lines) + "\n"
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return function

    return add


def _run(command: str, first: tuple[Any, ...], options: dict[str, Any], **more: Any) -> Any:
    """Make the command's options of keywords, and run it; `first` is what it takes without a name."""
    cls, name = resolve(COMMANDS[command].options), command.replace("-", "_")
    unnamed = [field.name for field in dataclasses.fields(cls) if field.metadata["positional"]]
    if first and (not unnamed or unnamed[0] in options):
        raise UserError(f"{name} takes its options by name, e.g. {name}({fields_of(cls)[0].name}=…)")
    if len(first) > 1:
        raise UserError(f"{name} takes several {unnamed[0]} as one list")
    chosen = from_keywords(cls, {**options, **dict(zip(unnamed, first, strict=False))}, name)
    chosen.check()
    with quiet_stderr():
        function = resolve(COMMANDS[command].function)
    return function(chosen, **more)


@_documented("prepare")
def prepare(*, coordinates: Coordinates | str | tuple[float, float] = "pixels", **options: Any) -> dict[str, Any]:
    """Crop, resize and normalise annotated faces into `data/<dataset>/`; returns its manifest.

    `source` may be in memory, too: `(images, landmarks)`, an iterable of pairs (picture, points) or a
    `tf.data.Dataset`. Pictures (H, W, 3) are RGB of 0…255, points (K, 2) count pixels of each picture, the
    centre of the first at 0, or what `coordinates` says; NaN is a point that is not annotated. `spec` may be a
    `DatasetSpec`; without one a scheme of K points is made.
    """
    from kd_loss.datasets.prepare_command import Given
    from kd_loss.schemes.spec import DatasetSpec

    source, spec = options.get("source", ""), options.get("spec", "")
    in_memory = not isinstance(source, str | os.PathLike)
    if not in_memory and not isinstance(spec, DatasetSpec):
        if coordinates != "pixels":
            raise UserError("coordinates are of faces in memory: files say themselves what theirs count")
        return _run("prepare", (), options)
    given = Given(
        source=source if in_memory else None,
        spec=spec if isinstance(spec, DatasetSpec) else None,
        coordinates=coordinates,
    )
    objects = {"source": in_memory, "spec": given.spec is not None}
    return _run("prepare", (), {k: v for k, v in options.items() if not objects.get(k)}, given=given)


@_documented("show")
def show(**options: Any) -> list[Path]:
    """Draw prepared faces and augmented ones; returns the two pictures."""
    return _run("show", (), options)


@_documented("methods")
def list_methods(*names: Any, **options: Any) -> list[dict[str, str]]:
    """Print the table of methods; returns its rows."""
    return _run("methods", names, options)


@_documented("train-teacher")
def train_teacher(*, callbacks: Sequence[keras.callbacks.Callback] = (), **options: Any) -> list[Path]:
    """Train the tough and the tolerant teacher of a dataset; returns their run folders.

    `callbacks` of Keras take part in every training.
    """
    return _run("train-teacher", (), options, callbacks=callbacks)


@_documented("train-student")
def train_student(*, callbacks: Sequence[keras.callbacks.Callback] = (), **options: Any) -> Path:
    """Train a student, distilled or alone; returns its run folder, with `best.h5` in it.

    `callbacks` of Keras go before those that save: early stopping, wandb, mlflow need nothing else.
    """
    return _run("train-student", (), options, callbacks=callbacks)


@_documented("train-keypoints")
def train_keypoints(**options: Any) -> Path:
    """Train a detector of keypoints that nobody annotated; returns its run folder."""
    return _run("train-keypoints", (), options)


@_documented("distil-keypoints")
def distil_keypoints(**options: Any) -> Path:
    """Train a small detector on the answers of another; returns its run folder."""
    return _run("distil-keypoints", (), options)


@_documented("test-keypoints")
def test_keypoints(*weights: Any, **options: Any) -> list[dict[str, Any]]:
    """Judge detectors by the landmarks that can be read from their keypoints; returns a row for each."""
    return _run("test-keypoints", weights, options)


@_documented("export-keypoints")
def export_keypoints(*weights: Any, **options: Any) -> dict[Path, float]:
    """Export a detector of keypoints for other runtimes; returns each file and how far its answers are from Keras's."""
    return _run("export-keypoints", weights, options)


@_documented("animate-keypoints")
def animate_keypoints(*weights: Any, **options: Any) -> Path:
    """Move a picture by the keypoints of a clip; returns the .gif's path."""
    return _run("animate-keypoints", weights, options)


@_documented("test")
def test(**options: Any) -> dict[str, Any]:
    """Test networks on a prepared dataset, write the report; returns what is in `metrics.json`."""
    return _run("test", (), options)


@_documented("predict")
def predict(*sources: Any, **options: Any) -> list[FaceLandmarks]:
    """Predict pictures and videos and write the results into a folder; returns the faces.

    To get landmarks without files: `LandmarkPredictor`.
    """
    return _run("predict", sources, options)


@_documented("compare")
def compare(**options: Any) -> dict[str, Any]:
    """Train a student by each method on equal terms and test them; returns what is in `compare.json`."""
    return _run("compare", (), options)


@_documented("export")
def export_network(*weights: Any, **options: Any) -> list[dict[str, Any]]:
    """Export a student for other runtimes; returns a row for the network and one for each file, as in `export.json`."""
    return _run("export", weights, options)


@_documented("import")
def import_network(*old: Any, **options: Any) -> Path:
    """Make a network of this package of an old `.h5` of Keras 2; returns the new file."""
    return _run("import", old, options)


@_documented("benchmark")
def benchmark_networks(*weights: Any, **options: Any) -> dict[str, Any]:
    """Measure time, memory and size of networks; returns what is in `benchmark.json`."""
    return _run("benchmark", weights, options)


@_documented("draw-loss")
def draw_loss(**options: Any) -> Path:
    """Draw the terms of KD-Loss; returns the picture's path."""
    return _run("draw-loss", (), options)


@_documented("demo")
def run_demo(**options: Any) -> dict[str, Any]:
    """Do the whole job on drawn faces; returns the metrics of the test."""
    return _run("demo", (), options)
