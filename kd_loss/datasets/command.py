"""The command `prepare`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_loss.configuration import check_values, option
from kd_loss.errors import UserError, check_name
from kd_loss.ownership import check_replaceable
from kd_loss.wording import counted

if TYPE_CHECKING:
    from kd_loss.datasets.sample import Sample

FORMATS = ("auto", "folder", "coco", "cvat", "label_studio", "yolo_pose", "labelme")
#: benchmark -> what lies in its official folder, one of it at least; there nothing else is looked for
LAYOUTS = {
    "w300": ("afw", "helen", "lfpw", "ibug"),
    "cofw": ("COFW_train_color.mat", "COFW_test_color.mat"),
    "wflw": ("WFLW_annotations",),
}
FOLDER = "folder of images with .npy, .pts or one CSV"


@dataclass(frozen=True)
class PrepareOptions:
    """Crop, resize and normalise annotated faces into data/<dataset>/, ready for training."""

    dataset: str = option(
        "",
        "w300, cofw, wflw, aflw, cfp30, synthetic, synthetic_cofw, synthetic_wflw, or a name of your own; head poses: "
        "pose_synthetic, pose_w300, pose_cofw, pose_wflw, pose_biwi, pose_300wlp, pose_aflw2000, pose_pointing04",
    )
    source: str = option(
        "", "folder of the archive, a CSV, or what an annotation tool wrote; not needed for synthetic faces"
    )
    spec: str = option("", "JSON file that describes your own landmarks: points, pairs, parts, normalisers")
    format: str = option(
        "auto",
        "auto; folder: images with one .npy or .pts each, or one CSV; or what an annotation tool wrote",
        choices=FORMATS,
    )
    pairs: str = option(
        "check",
        "check: refuse a scheme whose mirrored pairs scramble the training faces; given: keep them",
        choices=("check", "given"),
    )
    size: int = option(224, "side of a crop in pixels", within=(16, 1024), group="crops")
    margin: float = option(
        0.15, "added to each side of the landmark box, as a fraction of its longer side", within=(0, 2)
    )
    room: float = option(
        0.25, "photograph kept on each side of a crop, for augmentation, as a share of its side", within=(0, 1)
    )
    also: list[str] = option(
        [],
        "more training faces, partly annotated, of other schemes: cfp30=FOLDER, wflw=FOLDER or spec.json=FOLDER",
        group="faces",
    )
    map_points: str = option(
        "",
        "write the points of another scheme: w300, or wflw=FOLDER with faces to fit the map on; says what it costs",
        group="faces",
    )
    variance: float = option(0.90, "share of the variance that the soft landmarks keep", above=0, below=1)
    test_fraction: float = option(
        0.1, "share of photographs for testing, where the source has no split", above=0, below=1
    )
    skip_bad: bool = option(False, "leave bad samples out instead of refusing the whole")
    count: int = option(
        2000,
        "faces to draw for training (synthetic); a quarter more for testing",
        within=(4, math.inf),
        group="drawn faces",
    )
    seed: int = option(0, "of the drawn faces", within=(0, 2**32 - 1))
    data: Path = option(Path("data"), "folder of the prepared datasets", group="results")
    config: str = option("", "JSON or TOML file with options; those of the command line win")


def read_archive(options: PrepareOptions) -> Any:
    """The archive that the options name."""
    from kd_loss.schemes.kinds import chosen_scheme
    from kd_loss.schemes.pose import PoseScheme
    from kd_loss.schemes.spec import DatasetSpec

    if is_made(options):
        return _read_annotations(options, None)
    spec = chosen_scheme(options.dataset, options.spec)
    return {PoseScheme: _read_poses, DatasetSpec: _read_landmarks}[type(spec)](options, spec)


def annotation_format(options: PrepareOptions) -> str:
    """The format of the annotation tool that wrote the source; empty for an archive or a folder."""
    if options.format != "auto":
        return "" if options.format == "folder" else options.format
    source = Path(options.source)
    layout = LAYOUTS.get(options.dataset.lower(), ())
    if not options.source or not source.exists() or any((source / name).exists() for name in layout):
        return ""
    return _found_format(source.absolute(), source.stat().st_mtime_ns) or ""


@lru_cache
def _found_format(source: Path, _changed: int) -> str | None:
    """As `archives.formats.found_format`, which reads a JSON file to the end, once for a source."""
    from kd_loss.archives.formats import found_format

    return found_format(source)


def is_made(options: PrepareOptions) -> bool:
    """Whether the scheme is to be made from the source: no spec is given, nor the name of one that is known."""
    from kd_loss.schemes.pose import POSES
    from kd_loss.schemes.spec import SPECS

    known = options.dataset.lower().replace("-", "_") in {**SPECS, **POSES}
    return not options.spec and not known and bool(annotation_format(options))


def dataset_name(options: PrepareOptions) -> str:
    """The name of the dataset, before its points are mapped.

    Raises:
        UserError: there is no such scheme, or no name for a folder.
    """
    from kd_loss.archives.annotations import own_name
    from kd_loss.schemes.kinds import chosen_scheme

    if not is_made(options):
        if options.source and not options.dataset and not options.spec and not Path(options.source).exists():
            raise UserError(f"no such file or folder: {options.source}")
        return chosen_scheme(options.dataset, options.spec).name
    name = options.dataset or own_name(Path(options.source))
    check_name(name, "a dataset; give another with --dataset")
    return name


def _read_annotations(options: PrepareOptions, spec: Any) -> Any:
    from kd_loss.archives.formats import READERS

    name = dataset_name(options) if spec is None else ""
    return READERS[annotation_format(options)](_source(options), spec, name, options.test_fraction)


def _read_poses(options: PrepareOptions, scheme: Any) -> Any:
    from kd_loss.datasets.poses import read_poses

    return read_poses(scheme, options, read_archive)


def _read_landmarks(options: PrepareOptions, spec: Any) -> Any:
    if annotation_format(options):
        return _read_annotations(options, spec)
    if options.spec:
        from kd_loss.datasets.folder import read_folder

        return read_folder(_source(options), spec, options.test_fraction)
    name = spec.name
    if name.startswith("synthetic"):
        from kd_loss.datasets.synthetic import draw_archive

        return draw_archive(name, options.count, options.size, options.margin, options.seed)
    from kd_loss.archives.aflw import read_aflw
    from kd_loss.archives.cfp import read_cfp

    source = _source(options)
    if options.format == "folder" or _is_plain_folder(source):
        from kd_loss.datasets.folder import read_folder

        return read_folder(source, spec, options.test_fraction)
    if name == "w300":
        from kd_loss.datasets.w300 import read_w300 as read
    elif name == "cofw":
        from kd_loss.datasets.cofw import read_cofw as read
    elif name == "wflw":
        from kd_loss.datasets.wflw import read_wflw as read
    else:
        return {"aflw": read_aflw, "cfp30": read_cfp}[name](source, options.test_fraction)
    return read(source)


def _with_others(archive: Any, options: PrepareOptions) -> Any:
    """The archive with the training faces of those that `--also` names."""
    from kd_loss.datasets.combine import add_faces
    from kd_loss.schemes.kinds import landmark_scheme

    if options.also:
        landmark_scheme(archive.spec, f"--also adds faces with landmarks: not to a dataset of a {archive.spec.noun}")
    for text in options.also:
        scheme, equals, folder = text.partition("=")
        if not equals or not scheme or not folder:
            raise UserError(f"--also {text} is not of the form scheme=folder, e.g. cfp30=/path/CFP")
        own = scheme.endswith(".json")
        other = replace(
            options,
            dataset="" if own else scheme,
            spec=scheme if own else "",
            source=folder,
            also=[],
            test_fraction=0.0,
            format=options.format if options.format == "folder" else "auto",
        )
        archive = add_faces(archive, read_archive(other))
    return archive


def _map_target(options: PrepareOptions) -> tuple[Any, PrepareOptions | None]:
    """The scheme of `--map-points`, and the options that read the faces to fit the map on."""
    from kd_loss.schemes.spec import chosen_spec

    name, equals, folder = options.map_points.partition("=")
    if not name or (equals and not folder):
        raise UserError(f"--map-points {options.map_points} is not of the form scheme or scheme=folder: wflw=WFLW/")
    dataset, spec = ("", name) if name.endswith(".json") else (name, "")
    target = chosen_spec(dataset, spec)
    if not folder:
        return target, None
    return target, replace(options, dataset=dataset, spec=spec, source=folder, test_fraction=0.0, format="auto")


def _mapped(archive: Any, options: PrepareOptions, tell: Callable[[str], None]) -> Any:
    """The archive in the scheme that `--map-points` names."""
    if not options.map_points:
        return archive
    from kd_loss.datasets.map_points import annotated_pairs, map_scheme, mapped_archive
    from kd_loss.schemes.kinds import landmark_scheme

    source = landmark_scheme(archive.spec, f"--map-points is for landmarks, not for a dataset of a {archive.spec.noun}")
    target, other = _map_target(options)
    mapping = map_scheme(source, target, annotated_pairs(read_archive(other), source) if other else None)
    tell(mapping.line)
    return mapped_archive(archive, mapping)


def _source(options: PrepareOptions) -> Path:
    if not options.source:
        raise UserError(f"give the folder of the faces: kd-loss prepare --dataset {options.dataset} --source FOLDER")
    return Path(options.source)


def _is_plain_folder(source: Path) -> bool:
    """Whether it is a CSV, or `.npy` files lie beside images, as the KD-Loss reference code keeps its data."""
    if source.is_file():
        return True
    places = (source, source / "train")
    return any(next(place.glob("*.npy"), None) is not None for place in places if place.is_dir())


def _check_target(target: Path, source: str) -> None:
    """Preparing replaces a folder: it has to be a dataset that was prepared before, and not the source."""
    place = target.resolve()
    if source and (place == Path(source).resolve() or place in Path(source).resolve().parents):
        raise UserError(f"the source {source} lies in {target}, which preparing replaces; give another --data")
    check_replaceable(target)


def _check_room(options: PrepareOptions) -> None:
    """Refuse to draw more faces than there is room for, before the first is drawn."""
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
    """Where a detector's box has the landmarks of a scheme, measured on its training faces; empty where it cannot be.

    The shipped finder looks at up to a few hundred photographs; without its file, the Haar cascade.
    """
    import numpy as np

    from kd_loss.datasets.sample import BadSample
    from kd_loss.detection.calibration import measure
    from kd_loss.detection.choice import open_detector

    name = "finder"
    try:
        detector = open_detector(name)
    except UserError:
        name, detector = "haar", open_detector("haar")
    try:
        whole = [sample for sample in samples if not np.isnan(sample.landmarks).any()]
        calibration, looked = measure(((sample.load, sample.landmarks) for sample in _spread(whole)), detector)
    except BadSample:  # it was read a moment ago
        return {}
    return {} if calibration is None else {"detector": name, "looked": looked, **calibration.to_dict()}


def draw_sheets(folder: Path, manifest: dict[str, Any]) -> None:
    """Draw the training faces, so that a wrong scheme is seen before a training; see `kd-loss show`."""
    from kd_loss.datasets.contact_sheets import write_sheets
    from kd_loss.datasets.prepared import PreparedDataset
    from kd_loss.schemes.kinds import scheme_of

    scheme = scheme_of(manifest["spec"], str(folder))
    write_sheets(PreparedDataset(folder, manifest, scheme).split("train"), folder)


def calibration_line(calibration: dict[str, Any]) -> str:
    """What `prepare` says about a calibration."""
    if not calibration:
        return "detectors do not know these faces: predict takes --detector none (cropped pictures) or --box"
    return (
        f"landmark box: {calibration['side']:.2f} of the {calibration['detector']}'s box, moved by "
        f"{calibration['x']:+.2f}, {calibration['y']:+.2f} of it; from {calibration['faces']} of "
        f"{calibration['looked']} faces (spread {calibration['spread'][2]:.2f}, {calibration['spread'][0]:.2f}, "
        f"{calibration['spread'][1]:.2f})"
    )


def _spread(samples: Sequence[Sample], most: int = 300) -> Sequence[Sample]:
    """At most `most` samples from all over a list."""
    return samples[:: max(1, len(samples) // most)][:most]


def run_prepare(options: PrepareOptions) -> dict[str, Any]:
    """Prepare a dataset and say what became of it."""
    from rich.console import Console
    from rich.progress import track

    from kd_loss.datasets.mirror_pairs import scheme_line, with_pairs
    from kd_loss.datasets.prepare import check_crop, prepare

    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
        return track(items, "faces", total, console=console, transient=True, disable=not console.is_terminal)

    options = check_values(options)
    check_crop(options.size, options.margin, options.room)
    if not options.source:
        _check_room(options)
    name = dataset_name(options)
    target = options.data / (f"{name}_{_map_target(options)[0].name}" if options.map_points else name)
    _check_target(target, options.source)
    archive = read_archive(options)
    if is_made(options):
        tell(scheme_line(archive.spec))
    if options.pairs == "check":
        archive = with_pairs(archive, is_made(options), tell)
    archive = _with_others(_mapped(archive, options, tell), options)
    manifest = prepare(
        archive,
        target,
        size=options.size,
        margin=options.margin,
        room=options.room,
        variance=options.variance,
        skip_bad=options.skip_bad,
        calibrate=measure_calibration,
        draw=draw_sheets,
        tell=tell,
        progress=progress,
    )
    counts = ", ".join(f"{sum(c.values())} {split}" for split, c in manifest["counts"].items())
    model = manifest["shape_model"]
    print(
        f"{target}: {counts} faces of {manifest['size']} px, {archive.spec.noun}; soft landmarks "
        f"keep {model['kept']:.1%} of the variance in {model['components']} components"
    )
    print(calibration_line(manifest["calibration"]))
    print(f"look at {target / 'crops.png'} and {target / 'augmented.png'} before training")
    return manifest
