"""The command `predict`."""

from __future__ import annotations

import logging
import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from kd_loss.detection import FixedBox, WholePicture, open_detector
from kd_loss.detection.factory import DETECTORS
from kd_loss.inference.base import DETECTOR, Detector
from kd_loss.inference.output import CsvTable, Face, VideoWriter, csv_header, csv_row, origin_of, write_picture
from kd_loss.inference.pose import FacePose, PosePredictor, load_predictor
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.sources import Picture, Video, find_sources
from kd_loss.inference.tracking import FaceTracker
from kd_loss.inference.weights import default_weights, without_keras
from kd_loss.system.bundled import weights_path
from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError
from kd_loss.system.files import LONGEST_NAME, alone_in
from kd_loss.system.overwrite_guard import Claims
from kd_loss.system.terminal import acknowledge_interrupt, counted

log = logging.getLogger(__name__)
Predictor = LandmarkPredictor | PosePredictor
#: bytes of the longest suffix of a result's name, such as `-12.json`
_ENDINGS = 8


def result_names(paths: Sequence[Path], output: Path) -> list[Path]:
    """A path without suffix for each source's results: its stem, or its whole name where stems collide.

    Pictures of the same name in several folders are prefixed with as many parent folders as needed:
    `a/x.jpg` and `b/x.jpg` become `a_x_jpg` and `b_x_jpg`. Raises a `UserError` if one is given twice, or lies in the
    folder of the results.
    """
    results, folders = output.resolve(), {folder: folder.resolve() for folder in {path.parent for path in paths}}
    for path in paths:
        if folders[path.parent] == results and path.is_file():
            raise UserError(f"{path} is inside the output folder; give another --output")
    stems = Counter(path.stem for path in paths)
    names = [path.name.replace(".", "_") if _taken(path.stem, stems) else path.stem for path in paths]
    depth = 0
    while len(set(names)) < len(names):
        depth += 1
        counts = Counter(names)
        for number, path in enumerate(paths):
            if counts[names[number]] > 1:
                above = [part for part in folders[path.parent].parts if part != path.anchor]
                if depth > len(above) + 1:
                    raise UserError(f"{path} is given twice")
                names[number] = "_".join([*above[-depth:], path.name]).replace(".", "_")
    return [output / name for name in names]


def _taken(stem: str, stems: Mapping[str, int]) -> bool:
    """Whether results of that name would collide: `a-2.pts` is the second face of `a`, `faces.csv` the table."""
    of_another = re.fullmatch(r"(.+)-\d+", stem, re.DOTALL)
    return stems[stem] > 1 or stem == "faces" or bool(of_another and of_another[1] in stems)


def make_detector(options: PredictOptions, margin: float) -> Detector:
    """The detector that the options name; `margin` is that of the training crops."""
    if options.box:
        try:
            x, y, width, height = (float(v) for v in options.box.split(","))
        except ValueError:
            raise UserError(f"--box {options.box} is not x,y,width,height in pixels") from None
        if not (np.isfinite([x, y, width, height]).all() and min(width, height) >= 2 and max(width, height) < 1e5):
            raise UserError(f"--box {options.box} has no valid size")
        return FixedBox((x, y, width, height))
    return open_detector(
        options.detector or DETECTOR[options.free],
        options.detector_model,
        min_score=options.min_score,
        smallest=options.smallest,
        margin=margin,
    )


def _header(predictor: Predictor) -> list[str]:
    return csv_header(predictor.columns)


def run_predict(options: PredictOptions) -> list[Face]:
    """Predict and write the results; returns the faces of the pictures and of each video's last frame.

    A picture yields `<name>.png`, `.json` and a `.pts` for each face, and all pictures share `faces.csv`; a video
    yields `<name>.mp4`, `.json` and `.csv`.
    """
    if options.free and options.weights:
        raise UserError("--free chooses a shipped student; remove --weights, or --free")
    if options.plugin:  # Keras is imported only if needed
        from kd_loss.distillation.plugins import load_plugins

        load_plugins(options.plugin)
    sources = find_sources(options.sources, options.output)
    names = result_names([source.path for source in sources], options.output)
    if options.show and any(isinstance(source, Video) for source in sources):
        check_display()
    options = replace(
        options,
        weights=str(weights_path(options.weights or default_weights(options.points, options.free))),
        detector=options.detector or DETECTOR[options.free],
    )
    weights = Path(options.weights)
    fast = without_keras(weights)
    if fast == weights and weights.suffix in (".h5", ".keras") and weights.is_file():
        log.info(
            f"{weights}: Keras and its backend take some seconds to start; kd-loss export {weights} starts at once"
        )
    predictor = load_predictor(fast, flip_test=options.flip_test, confirm=not options.unconfirmed)
    detector = make_detector(options, predictor.card.margin)
    pairs = list(zip(sources, names, strict=True))
    with alone_in(options.output):
        claims = Claims(options.output, _files(pairs, isinstance(predictor, LandmarkPredictor)))
        return _predict(pairs, predictor, detector, options, claims)


def _predict(
    pairs: list[tuple[Picture | Video, Path]],
    predictor: Predictor,
    detector: Detector,
    options: PredictOptions,
    claims: Claims,
) -> list[Face]:
    """The faces of all sources, with results written; raises a `UserError` at the end if some were skipped."""
    problems: list[UserError] = []
    of, requested = len(pairs), pairs
    pairs = [pair for pair in requested if len(os.fsencode(pair[1].name)) <= LONGEST_NAME - _ENDINGS]
    for source, _ in (pair for pair in requested if pair not in pairs):
        _leave_out(UserError(f"{source.path}: its name is too long for the names of its results"), problems, of)
    pictures = [(source, name) for source, name in pairs if isinstance(source, Picture)]
    faces = _predict_pictures(pictures, predictor, detector, options, claims, problems) if pictures else []
    for source, name in pairs:
        if isinstance(source, Video):
            try:
                faces += _predict_video(source.open(), name, predictor, detector, options, claims)
            except UserError as error:
                _leave_out(error, problems, of)
    if of == 1 and problems:
        raise problems[0]
    if problems:
        kind = "image" if all(isinstance(source, Picture) for source, _ in requested) else "source"
        verb = "was" if len(problems) == 1 else "were"
        raise UserError(f"{len(problems)} of {counted(of, kind)} {verb} skipped: {problems[0]}")
    return faces


def _files(pairs: Sequence[tuple[Picture | Video, Path]], points: bool) -> list[str]:
    """The files that the results will certainly include."""
    files = [] if all(isinstance(source, Video) for source, _ in pairs) else ["faces.csv"]
    for source, name in pairs:
        picture = ("png", "json", "pts") if points else ("png", "json")
        suffixes = ("mp4", "json", "csv") if isinstance(source, Video) else picture
        files += [f"{name.name}.{suffix}" for suffix in suffixes]
    return files


def _leave_out(problem: UserError, problems: list[UserError], of: int) -> None:
    """Record why one of several sources was skipped; for a single source the error is the command's own."""
    if of > 1:
        log.warning(f"skipped: {problem}")
    problems.append(problem)


def _predict_pictures(
    pictures: list[tuple[Picture, Path]],
    predictor: Predictor,
    detector: Detector,
    options: PredictOptions,
    claims: Claims,
    problems: list[UserError],
) -> list[Face]:
    whole = isinstance(detector, WholePicture)
    step = options.batch_size if whole else 1
    faces: list[Face] = []
    empty = 0
    with CsvTable(options.output / "faces.csv", _header(predictor), claims) as table:
        for start in range(0, len(pictures), step):
            batch, images, unread = _read(pictures[start : start + step])
            for problem in unread:
                _leave_out(problem, problems, len(pictures))
            if not batch:
                continue
            if whole:  # cropped as in training, in batches
                found: list[Sequence[Face]] = [[face] for face in predictor.predict_many(images)]
            else:
                try:
                    found = [predictor.detect(images[0], detector, options.refine)]
                except UserError as error:
                    _leave_out(UserError(f"{batch[0][0].path}: {error}"), problems, len(pictures))
                    continue
            for (picture, name), image, here in zip(batch, images, found, strict=True):
                origin = origin_of(str(picture.path), image, options.weights)
                write_picture(name, image, here, options.draw_pose, claims, origin)
                for number, face in enumerate(here, 1):
                    table.writerow(csv_row(str(picture.path), "", None, face, number))
                    if isinstance(face, FacePose) and face.pose() is None:
                        log.warning(f"{picture.path}: no pose of face {number}: its yaw is outside −99…99 degrees")
                faces += here
                empty += not here
                many = counted(len(here), "face") if here else "no face"
                print(f"{picture.path}: {many} -> {name.with_name(name.name + '.png')}")
    if empty:
        of = counted(len(pictures), "image")
        haar = options.detector == "haar"
        log.info(
            f"no face in {empty} of {of}; try {'--detector finder' if haar else '--smallest 10 or --detector haar'}"
            f"{' (for research only)' if options.free else ''}; for cropped faces: --detector none; "
            "for what is no face: --box"
        )
    return faces


def _read(
    batch: list[tuple[Picture, Path]],
) -> tuple[list[tuple[Picture, Path]], list[np.ndarray], list[UserError]]:
    """The readable ones of a batch, their pictures, and the errors of the others."""
    good, images, problems = [], [], []
    for picture, name in batch:
        try:
            images.append(picture.read())
            good.append((picture, name))
        except UserError as error:
            problems.append(error)
    return good, images, problems


def _predict_video(
    video: Video, name: Path, predictor: Predictor, detector: Detector, options: PredictOptions, claims: Claims
) -> list[Face]:
    every = sys.maxsize if options.box else options.detect_every  # the box is where the face is in the first frame
    tracker = FaceTracker(
        predictor, detector, refine=options.refine, detect_every=every, cutoff=options.smooth, rate=video.rate
    )
    faces: list[Face] = []
    done, with_faces, start = 0, 0, time.perf_counter()
    stopped = closed = False
    columns = (*Progress.get_default_columns()[:3], TimeElapsedColumn(), TextColumn("{task.fields[pace]}"))
    writer = VideoWriter(
        name, str(video.path), video.rate, _header(predictor), claims,
        weights=options.weights, pose=options.draw_pose, pts=options.video_pts,
    )  # fmt: skip
    with writer, Progress(*columns, transient=True, disable=not log.isEnabledFor(logging.INFO)) as progress:
        total = min(video.count or options.frames, options.frames or video.count) or None
        task = progress.add_task(str(video.path), total=total, pace="")
        try:
            for image in islice(video, options.frames or None):
                faces = tracker(image, video.time)
                drawn = writer.write(image, faces, video.time)
                done, with_faces = done + 1, with_faces + bool(faces)
                progress.update(task, advance=1, pace=f"{done / (time.perf_counter() - start):.1f} frames/s")
                if options.show and show(str(video.path), drawn):
                    closed = True
                    break
        except KeyboardInterrupt:
            if not done:
                raise
            acknowledge_interrupt()
            stopped = True
    seconds = time.perf_counter() - start
    print(
        f"{video.path}: {counted(done, 'frame')}, {with_faces} with a face, {done / seconds:.1f} frames/s "
        f"-> {name.with_name(name.name + '.mp4')}"
    )
    if stopped:
        log.info("stopped; the results so far are kept")
        raise KeyboardInterrupt
    if not closed and done != options.frames and video.breaks_off(done):
        raise UserError(
            f"{video.path} is truncated: {done} of {counted(video.count, 'frame')} could be read; "
            "their results are kept"
        )
    return faces


@dataclass(frozen=True)
class PredictOptions(Options):
    """Find faces and their landmarks in pictures and videos."""

    sources: list[str] = option(
        [], "images, videos, folders of these, the index of a camera, or - for an image on standard input",
        positional=True,
    )  # fmt: skip
    weights: str = option("", ".h5, .keras, .onnx or .tflite, or a shipped student's name; default: that of --points")
    points: int = option(68, "shipped student to use: 68 points of 300W, 98 of WFLW or 29 of COFW")
    free: bool = option(
        False,
        "the shipped student under the MIT licence, less accurate, with the detector haar, which comes with OpenCV",
    )
    plugin: list[str] = option([], "Python files that define the network's architecture and its custom layers")
    detector: str = option(
        "",
        "finder (shipped, the default), haar (comes with OpenCV, the default with --free), yunet, blazeface, or none: "
        "an image is one cropped face",
        choices=DETECTORS,
        group="faces",
    )
    detector_model: str = option(
        "", "the detector's file, required by yunet and blazeface, which name its source if it is missing"
    )
    min_score: float | None = option(None, "smallest score of a face; default: the detector's own")
    smallest: float = option(
        0.0,
        "finder: side in pixels of the smallest faces to find, in tiles where that is needed; 0: a 22nd of the "
        "image, a 40th where a face is small",
        within=(0, math.inf),
    )
    unconfirmed: bool = option(
        False, "keep what the network does not confirm as a face: its prediction wanders, shrinks or is hidden"
    )
    box: str = option("", "x,y,width,height of one face's landmarks, instead of a detector")
    refine: int = option(
        1,
        "number of times, at most, that a detected face is cropped again around its predicted landmarks; faces that "
        "the first crop already fits are left alone",
        within=(0, 10),
    )
    flip_test: bool = option(
        False,
        "average the predictions on a face and its mirror image: slightly better, with a confidence, twice the time",
        also="--mirror",
    )
    smooth: float = option(
        0.0,
        "one-euro filter with this cutoff in Hz for a face at rest, e.g. 1; 0: none",
        group="videos and cameras",
        within=(0, math.inf),
        below=1e3,
    )
    detect_every: int = option(
        10, "number of frames between detections; faces are tracked in between", within=(1, math.inf),
        also="--every",
    )  # fmt: skip
    frames: int = option(0, "number of frames to process; 0: until the end or Ctrl-C", within=(0, math.inf))
    video_pts: bool = option(False, "also write a .pts for each face of each frame")
    show: bool = option(False, "show the frames in a window; q closes it")
    draw_pose: bool = option(False, "draw the axes of the head", group="results")
    output: Path = option(Path("predictions"), "folder of the results")
    batch_size: int = option(32, "cropped faces per batch", within=(1, math.inf))


def check_display() -> None:
    """Raises a `UserError` if no window can be opened; tried in a separate process, because Qt aborts it."""
    code = "import cv2; cv2.namedWindow('kd-loss'); cv2.destroyAllWindows()"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode:
        raise UserError("--show needs a display and opencv-python with GUI support, not opencv-python-headless")


def show(title: str, image: np.ndarray) -> bool:
    """Show a frame; returns whether the user closed the window."""
    cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return cv2.waitKey(1) & 0xFF in (27, ord("q"))
