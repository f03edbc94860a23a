"""The command `prepare`."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError, check_name
from kd_loss.system.overwrite_guard import check_replaceable
from kd_loss.system.terminal import counted

if TYPE_CHECKING:
    from kd_loss.archives.sample import Archive, Sample
    from kd_loss.schemes.base import Scheme
    from kd_loss.schemes.landmarks import LandmarkScheme

log = logging.getLogger(__name__)
FORMATS = ("auto", "folder", "coco", "cvat", "label_studio", "yolo_pose", "labelme")


@dataclass(frozen=True)
class PrepareOptions(Options):
    """Crop, resize and normalise annotated faces into data/<dataset>/, ready for training."""

    dataset: str = option(
        "",
        "w300, cofw, wflw, aflw, cfp30, synthetic, synthetic_cofw, synthetic_wflw, or a name of your own; head poses: "
        "pose_synthetic, pose_w300, pose_cofw, pose_wflw, pose_biwi, pose_300wlp, pose_aflw2000, pose_aflw, "
        "pose_pointing04",
    )
    source: str = option(
        "", "folder of the archive, a CSV, or an annotation tool's export; not needed for synthetic faces"
    )
    scheme: str = option(
        "", "JSON file that describes your own landmarks: points, pairs, parts, normalisers", also="--spec"
    )
    format: str = option(
        "auto",
        "auto; folder: images with one .npy or .pts each, or one CSV; or the format of an annotation tool",
        choices=FORMATS,
    )
    pairs: str = option(
        "check",
        "check: refuse a scheme whose mirrored pairs scramble the training faces; given: keep them",
        choices=("check", "given"),
    )
    size: int = option(224, "side of a crop in pixels", within=(16, 1024), group="crops")
    margin: float = option(
        0.15, "margin on each side of the landmark box, as a fraction of its longer side", within=(0, 2)
    )
    border: float = option(
        0.25, "photograph kept on each side of a crop, for augmentation, as a share of its side", within=(0, 1),
        also="--room",
    )  # fmt: skip
    extra_data: list[str] = option(
        [],
        "more training faces, partly annotated, of other schemes: cfp30=FOLDER, wflw=FOLDER or scheme.json=FOLDER; to "
        "head poses: pose_aflw=FOLDER",
        group="faces",
        also="--also",
    )
    shape_variance: float = option(
        0.90, "share of the variance kept by the soft landmarks", above=0, below=1, also="--variance"
    )
    map_points: str = option(
        "",
        "write the points of another scheme: w300, or wflw=FOLDER with faces to fit the map on; prints its error",
        group="faces",
    )
    test_fraction: float = option(
        0.1, "share of photographs held out for testing if the source has no split", above=0, below=1
    )
    skip_bad: bool = option(False, "skip bad samples instead of stopping")
    count: int = option(
        2000,
        "faces to draw for training (synthetic); a quarter more for testing",
        within=(4, math.inf),
        group="drawn faces",
    )
    seed: int = option(0, "seed of the drawn faces", within=(0, 2**32 - 1))
    data: Path = option(Path("data"), "folder of the prepared datasets", group="results")


def _with_others(archive: Archive, options: PrepareOptions) -> Archive:
    """Add the training faces of the archives given by `--extra-data`."""
    from kd_loss.archives.merge import add_faces, check_kind
    from kd_loss.archives.registry import merged_request, read_archive, request_of
    from kd_loss.schemes.registry import chosen_scheme

    for text in options.extra_data:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise UserError(f"--extra-data {text} is not of the form scheme=folder, e.g. cfp30=/path/CFP")
        scheme = chosen_scheme("", name) if name.endswith(".json") else chosen_scheme(name, "")
        check_kind(archive.scheme, scheme)
        archive = add_faces(archive, read_archive(scheme, merged_request(request_of(options), folder)))
    return archive


def _scheme_of(options: PrepareOptions) -> tuple[str, Scheme | None]:
    """Return the dataset's name, before its points are mapped, and its scheme; None if it is made from the source.

    Raises:
        UserError: there is no such scheme, or the name is not valid for a folder.
    """
    from kd_loss.archives.annotations import own_name
    from kd_loss.archives.registry import annotation_format, request_of
    from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
    from kd_loss.schemes.pose import POSES
    from kd_loss.schemes.registry import chosen_scheme

    known = options.dataset.lower().replace("-", "_") in {**LANDMARK_SCHEMES, **POSES}
    if not options.scheme and not known and annotation_format(options.dataset, request_of(options)):
        name = options.dataset or own_name(Path(options.source))
        check_name(name, "a dataset; give another with --dataset")
        return name, None
    if options.source and not options.dataset and not options.scheme and not Path(options.source).exists():
        raise UserError(f"no such file or folder: {options.source}")
    scheme = chosen_scheme(options.dataset, options.scheme)
    return scheme.name, scheme


@dataclass(frozen=True)
class Given:
    """The parts of a dataset that are given in memory instead of files.

    Attributes:
        source: arrays, an iterable or `tf.data`, see `archives.memory`; None: taken from the options.
        scheme: the scheme; None: taken from the options, or made.
        coordinates: the unit of the points of `source`.
    """

    source: Any = None
    scheme: LandmarkScheme | None = None
    coordinates: Any = "pixels"


def _given_scheme(options: PrepareOptions, given: Given) -> tuple[str, LandmarkScheme | None]:
    """Like `_scheme_of`, for a source or scheme in memory."""
    from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
    from kd_loss.schemes.pose import POSES
    from kd_loss.schemes.registry import chosen_scheme, landmark_scheme

    name, built_in = options.dataset, {**LANDMARK_SCHEMES, **POSES}
    known = name.lower().replace("-", "_") in built_in
    if given.scheme is not None:
        name = name or given.scheme.name
        check_name(name, "a dataset; give another with dataset=…")
        if name.lower().replace("-", "_") in built_in and built_in[name.lower().replace("-", "_")] != given.scheme:
            raise UserError(f"'{name}' is a benchmark; give your own dataset another name: dataset=…")
        return name, replace(given.scheme, name=name)
    if options.scheme or known:
        chosen = landmark_scheme(chosen_scheme(name, options.scheme), "faces in memory have landmarks, no head poses")
        return chosen.name, chosen
    if not name:
        raise UserError("give the faces in memory a name: dataset=…")
    check_name(name, "a dataset; give another with dataset=…")
    return name, None


def _map_target(text: str) -> tuple[Any, str]:
    """Parse `--map-points scheme[=folder]` into the scheme and the folder of the faces to fit the map on."""
    from kd_loss.schemes.benchmarks import chosen_landmark_scheme

    name, equals, folder = text.partition("=")
    if not name or (equals and not folder):
        raise UserError(f"--map-points {text} is not of the form scheme or scheme=folder: wflw=WFLW/")
    return chosen_landmark_scheme("", name) if name.endswith(".json") else chosen_landmark_scheme(name, ""), folder


def _mapped(archive: Archive, options: PrepareOptions) -> Archive:
    """Convert the archive to the scheme of `--map-points`."""
    if not options.map_points:
        return archive
    from kd_loss.archives.registry import merged_request, read_archive, request_of
    from kd_loss.datasets.map_points import aflw_archive, annotated_pairs, map_scheme, mapped_archive
    from kd_loss.schemes.benchmarks import AFLW21, W300
    from kd_loss.schemes.registry import landmark_scheme

    source = landmark_scheme(
        archive.scheme, f"--map-points is for landmarks, not for a dataset of a {archive.scheme.noun}"
    )
    target, folder = _map_target(options.map_points)
    if source == AFLW21 and target == W300 and not folder:
        return aflw_archive(archive)
    request = replace(merged_request(request_of(options), folder), format="auto")
    mapping = map_scheme(source, target, annotated_pairs(read_archive(target, request), source) if folder else None)
    log.info(mapping.line)
    return mapped_archive(archive, mapping)


def _check_target(target: Path, source: str) -> None:
    """Raise unless the folder to be replaced is a prepared dataset and not the source."""
    place = target.resolve()
    if source and (place == Path(source).resolve() or place in Path(source).resolve().parents):
        raise UserError(f"the source {source} lies in {target}, which preparing replaces; give another --data")
    check_replaceable(target)


def _check_room(options: PrepareOptions) -> None:
    """Raise if there is not enough disk space for the faces, before the first is drawn."""
    faces = options.count + options.count // 4
    needed = faces * 3 * options.size**2
    place = options.data.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{counted(faces, 'face')} of {options.size} px take {needed / 1e9:,.0f} GB, {place} has room for "
            f"{free / 1e9:,.0f} GB; give a smaller --count or another --data"
        )


def measure_calibration(samples: Sequence[Sample]) -> dict[str, Any]:
    """Measure, on training faces, where a scheme's landmarks lie in a detector's box; empty if it cannot be measured.

    The shipped finder runs on up to a few hundred photographs; without its file, the Haar cascade does.
    """
    import numpy as np

    from kd_loss.detection.calibration import measure
    from kd_loss.detection.factory import open_detector
    from kd_loss.imaging.pictures import BadSample

    name = "finder"
    try:
        detector = open_detector(name)
    except UserError:
        name, detector = "haar", open_detector("haar")
    try:
        whole = [sample for sample in samples if not sample.extra and not np.isnan(sample.landmarks).any()]
        calibration, looked = measure(((sample.load, sample.landmarks) for sample in _spread(whole)), detector)
    except BadSample:  # the file changed since it was read
        return {}
    return {} if calibration is None else {"detector": name, "looked": looked, **calibration.to_dict()}


def draw_sheets(folder: Path, manifest: dict[str, Any]) -> None:
    """Draw the training faces, so that a wrong scheme shows before a training; see `kd-loss show`."""
    from kd_loss.datasets.contact_sheets import write_sheets
    from kd_loss.datasets.prepared import PreparedDataset
    from kd_loss.schemes.registry import scheme_of

    scheme = scheme_of(manifest["spec"], str(folder))
    write_sheets(PreparedDataset(folder, manifest, scheme).split("train"), folder)


def calibration_line(calibration: dict[str, Any]) -> str:
    """Return the message of `prepare` about a calibration."""
    if not calibration:
        return (
            "how a detector's box relates to the landmarks is not known: too few faces have every landmark and are "
            "found by it; predict takes --detector none (cropped images) or --box"
        )
    return (
        f"landmark box: {calibration['side']:.2f} of the {calibration['detector']}'s box, moved by "
        f"{calibration['x']:+.2f}, {calibration['y']:+.2f} of it; from {calibration['faces']} of "
        f"{calibration['looked']} faces (spread {calibration['spread'][2]:.2f}, {calibration['spread'][0]:.2f}, "
        f"{calibration['spread'][1]:.2f})"
    )


def _spread(samples: Sequence[Sample], most: int = 300) -> Sequence[Sample]:
    """Return at most `most` samples, spread over a list."""
    return samples[:: max(1, len(samples) // most)][:most]


def run_prepare(options: PrepareOptions, given: Given | None = None) -> dict[str, Any]:
    """Prepare a dataset and print a summary; `given` holds the parts of it that are in memory."""
    from rich.console import Console
    from rich.progress import track

    from kd_loss.archives.memory import read_memory
    from kd_loss.archives.registry import read_archive, read_made, request_of
    from kd_loss.datasets.mirror_pairs import scheme_line, with_pairs
    from kd_loss.datasets.prepare import check_crop, prepare
    from kd_loss.schemes.registry import landmark_scheme

    console = Console(stderr=True)

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        shown = console.is_terminal and log.isEnabledFor(logging.INFO)
        return track(items, "faces", total, console=console, transient=True, disable=not shown)

    check_crop(options.size, options.margin, options.border)
    in_memory = given is not None and given.source is not None
    if not options.source and not in_memory:
        _check_room(options)
    name, scheme = _scheme_of(options) if given is None else _given_scheme(options, given)
    target = options.data / (f"{name}_{_map_target(options.map_points)[0].name}" if options.map_points else name)
    _check_target(target, options.source)
    if given is not None and in_memory:
        archive = read_memory(
            given.source,
            landmark_scheme(scheme, "") if scheme else None,
            name,
            coordinates=given.coordinates,
            test_fraction=options.test_fraction,
        )
    else:
        archive = read_archive(scheme, request_of(options)) if scheme else read_made(name, request_of(options))
    if scheme is None:
        log.info(scheme_line(landmark_scheme(archive.scheme, "")))
    if options.pairs == "check":
        archive = with_pairs(archive, scheme is None)
    archive = _with_others(_mapped(archive, options), options)
    manifest = prepare(
        archive,
        target,
        size=options.size,
        margin=options.margin,
        room=options.border,
        variance=options.shape_variance,
        skip_bad=options.skip_bad,
        calibrate=measure_calibration,
        draw=draw_sheets,
        progress=progress,
    )
    counts = ", ".join(f"{sum(c.values())} {split}" for split, c in manifest["counts"].items())
    model = manifest["shape_model"]
    print(
        f"{target}: {counts} faces of {manifest['size']} px, {archive.scheme.noun}; soft landmarks "
        f"keep {model['kept']:.1%} of the variance in {model['components']} components"
    )
    print(calibration_line(manifest["calibration"]))
    print(f"look at {target / 'crops.png'} and {target / 'augmented.png'} before training")
    return manifest
