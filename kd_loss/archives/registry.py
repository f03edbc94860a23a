"""The readers of archives by the name of their dataset: a new archive is one file here and one line in `READERS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from kd_loss.archives import poses
from kd_loss.archives.aflw import read_aflw, read_aflw_poses
from kd_loss.archives.cfp import read_cfp
from kd_loss.archives.cofw import read_cofw
from kd_loss.archives.folder import read_folder
from kd_loss.archives.formats import READERS as FORMATS
from kd_loss.archives.formats import found_format
from kd_loss.archives.sample import Archive
from kd_loss.archives.synthetic import draw_archive, draw_poses
from kd_loss.archives.w300 import read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.benchmarks import LANDMARK_SCHEMES
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import POSES, PoseScheme
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class ArchiveRequest:
    """The options of a reader, besides the scheme.

    Attributes:
        source: the folder, or a CSV file; empty for drawn faces.
        format: `auto`; `folder` for a plain folder of images and points, whatever the dataset's name; or the format
            of an annotation tool, see `archives.formats`.
        test_fraction: share of the groups held out for testing if the archive has no split.
        count, size, margin, seed: parameters of drawn faces.
    """

    source: str = ""
    format: str = "auto"
    test_fraction: float = 0.1
    count: int = 2000
    size: int = 224
    margin: float = 0.15
    seed: int = 0

    def folder(self, dataset: str) -> Path:
        """Return the source; raise `UserError` if there is none."""
        if not self.source:
            raise UserError(f"give the folder of the faces: kd-loss prepare --dataset {dataset} --source FOLDER")
        return Path(self.source)


#: scheme and request -> archive
Reader = Callable[[Any, ArchiveRequest], Archive]


def _plain(scheme: Any, request: ArchiveRequest) -> Archive:
    return read_folder(request.folder(scheme.name), scheme, request.test_fraction)


def _split_by_us(read: Callable[[Path, float], Archive]) -> Reader:
    """An archive without a split of its own, unless the folder is a plain one."""

    def reader(scheme: Any, request: ArchiveRequest) -> Archive:
        source = request.folder(scheme.name)
        plain = request.format == "folder" or _is_plain(source)
        return _plain(scheme, request) if plain else read(source, request.test_fraction)

    return reader


def _official(read: Callable[[Path], Archive]) -> Reader:
    """A benchmark's own layout with its own split, unless the folder is a plain one."""
    return _split_by_us(lambda source, _: read(source))


def _drawn(scheme: Any, request: ArchiveRequest) -> Archive:
    return draw_archive(scheme.name, request.count, request.size, request.margin, request.seed)


def _drawn_poses(scheme: Any, request: ArchiveRequest) -> Archive:
    return draw_poses(scheme, request.count, request.size, request.margin, request.seed)


def _posed(read: Callable[[Path, PoseScheme, float], Archive]) -> Reader:
    return lambda scheme, request: read(request.folder(scheme.name), scheme, request.test_fraction)


def _poses_of_landmarks(scheme: Any, request: ArchiveRequest) -> Archive:
    """Read poses derived from annotated points: the archive of the scheme that places the crops."""
    request.folder(scheme.name)
    landmarks = read_archive(LANDMARK_SCHEMES[scheme.points], request)
    return Archive(scheme, landmarks.samples, landmarks.warnings, landmarks.problems)


#: dataset -> its reader; any other dataset is a plain folder
READERS: dict[str, Reader] = {
    "w300": _official(read_w300),
    "cofw": _official(read_cofw),
    "wflw": _official(read_wflw),
    "aflw": _split_by_us(read_aflw),
    "cfp30": _split_by_us(read_cfp),
    "synthetic": _drawn,
    "synthetic_cofw": _drawn,
    "synthetic_wflw": _drawn,
    "pose_synthetic": _drawn_poses,
    "pose_w300": _poses_of_landmarks,
    "pose_cofw": _poses_of_landmarks,
    "pose_wflw": _poses_of_landmarks,
    "pose_biwi": _posed(poses.read_biwi),
    "pose_300wlp": _posed(poses.read_300wlp),
    "pose_aflw2000": _posed(poses.read_300wlp),
    "pose_pointing04": _posed(poses.read_pointing04),
    "pose_aflw": _posed(read_aflw_poses),
}


#: benchmark -> entries of its official folder; if one of them exists, no other format is considered
LAYOUTS = {
    "w300": ("afw", "helen", "lfpw", "ibug"),
    "cofw": ("COFW_train_color.mat", "COFW_test_color.mat"),
    "wflw": ("WFLW_annotations",),
}


def annotation_format(dataset: str, request: ArchiveRequest) -> str:
    """Detect the annotation tool that wrote the source; empty for an archive or a plain folder."""
    if request.format != "auto":
        return "" if request.format == "folder" else request.format
    source = Path(request.source)
    layout = LAYOUTS.get(dataset.lower(), ())
    if not request.source or not source.exists() or any((source / name).exists() for name in layout):
        return ""
    return _found_format(source.absolute(), source.stat().st_mtime_ns) or ""


@lru_cache
def _found_format(source: Path, _changed: int) -> str | None:
    """Call `found_format`, which reads a whole JSON file, only once per source."""
    return found_format(source)


def read_made(name: str, request: ArchiveRequest) -> Archive:
    """Read the output of an annotation tool and make a scheme of this name from it."""
    return FORMATS[annotation_format(name, request)](request.folder(name), None, name, request.test_fraction)


def read_archive(scheme: Scheme, request: ArchiveRequest) -> Archive:
    """Read the archive of a built-in dataset or custom scheme, from a plain folder or an annotation tool."""
    if isinstance(scheme, LandmarkScheme) and (written := annotation_format(scheme.name, request)):
        return FORMATS[written](request.folder(scheme.name), scheme, "", request.test_fraction)
    built_in = {**LANDMARK_SCHEMES, **POSES}.get(scheme.name) == scheme
    return READERS.get(scheme.name, _plain)(scheme, request) if built_in else _plain(scheme, request)


def request_of(options: Any) -> ArchiveRequest:
    """Build the request from the options of `prepare`."""
    return ArchiveRequest(**{name: getattr(options, name) for name in ArchiveRequest.__dataclass_fields__})


def merged_request(request: ArchiveRequest, folder: str) -> ArchiveRequest:
    """Build the request for faces added for training only: another source, none held out for testing."""
    format = request.format if request.format == "folder" else "auto"
    return replace(request, source=folder, test_fraction=0.0, format=format)


def _is_plain(source: Path) -> bool:
    """Whether it is a CSV, or has `.npy` files beside the images, the layout of the KD-Loss reference code."""
    if source.is_file():
        return True
    places = (source, source / "train")
    return any(next(place.glob("*.npy"), None) is not None for place in places if place.is_dir())
