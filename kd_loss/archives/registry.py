"""The readers of archives by the name of their dataset: a new archive is one file here and one line in `READERS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kd_loss.archives import poses
from kd_loss.archives.cofw import read_cofw
from kd_loss.archives.folder import read_folder
from kd_loss.archives.sample import Archive
from kd_loss.archives.synthetic import draw_archive, draw_poses
from kd_loss.archives.w300 import read_w300
from kd_loss.archives.wflw import read_wflw
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.benchmarks import SPECS
from kd_loss.schemes.pose import POSES, PoseScheme
from kd_loss.system.errors import UserError


@dataclass(frozen=True)
class ArchiveRequest:
    """What a reader is told beside the scheme.

    Attributes:
        source: the folder, or a CSV file; empty for drawn faces.
        format: `auto`, or `folder` for a plain folder of pictures and points whatever the dataset's name is.
        test_fraction: share of the groups for testing, where the archive has no split.
        count, size, margin, seed: of drawn faces.
    """

    source: str = ""
    format: str = "auto"
    test_fraction: float = 0.1
    count: int = 2000
    size: int = 224
    margin: float = 0.15
    seed: int = 0

    def folder(self, dataset: str) -> Path:
        """The source; a `UserError` where there is none."""
        if not self.source:
            raise UserError(f"give the folder of the faces: kd-loss prepare --dataset {dataset} --source FOLDER")
        return Path(self.source)


#: the scheme and what is asked -> the archive
Reader = Callable[[Any, ArchiveRequest], Archive]


def _plain(scheme: Any, request: ArchiveRequest) -> Archive:
    return read_folder(request.folder(scheme.name), scheme, request.test_fraction)


def _official(read: Callable[[Path], Archive]) -> Reader:
    """A benchmark's own layout, unless the folder is a plain one."""

    def reader(scheme: Any, request: ArchiveRequest) -> Archive:
        source = request.folder(scheme.name)
        return _plain(scheme, request) if request.format == "folder" or _is_plain(source) else read(source)

    return reader


def _drawn(scheme: Any, request: ArchiveRequest) -> Archive:
    return draw_archive(scheme.name, request.count, request.size, request.margin, request.seed)


def _drawn_poses(scheme: Any, request: ArchiveRequest) -> Archive:
    return draw_poses(scheme, request.count, request.size, request.margin, request.seed)


def _posed(read: Callable[[Path, PoseScheme, float], Archive]) -> Reader:
    return lambda scheme, request: read(request.folder(scheme.name), scheme, request.test_fraction)


def _poses_of_landmarks(scheme: Any, request: ArchiveRequest) -> Archive:
    """Poses that annotated points tell: the archive of the scheme that places the crops."""
    request.folder(scheme.name)
    landmarks = read_archive(SPECS[scheme.points], request)
    return Archive(scheme, landmarks.samples, landmarks.warnings, landmarks.problems)


#: dataset -> its reader; what is not named here is a plain folder
READERS: dict[str, Reader] = {
    "w300": _official(read_w300),
    "cofw": _official(read_cofw),
    "wflw": _official(read_wflw),
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
}


def read_archive(scheme: Scheme, request: ArchiveRequest) -> Archive:
    """The archive of a built-in dataset, or of a scheme of one's own, which is read from a plain folder."""
    built_in = {**SPECS, **POSES}.get(scheme.name) == scheme
    return READERS.get(scheme.name, _plain)(scheme, request) if built_in else _plain(scheme, request)


def request_of(options: Any) -> ArchiveRequest:
    """The request in the options of `prepare`."""
    return ArchiveRequest(**{name: getattr(options, name) for name in ArchiveRequest.__dataclass_fields__})


def merged_request(request: ArchiveRequest, folder: str) -> ArchiveRequest:
    """For faces that are added for training alone: another source, and none for testing."""
    return replace(request, source=folder, test_fraction=0.0)


def _is_plain(source: Path) -> bool:
    """Whether it is a CSV, or `.npy` files lie beside images, as the KD-Loss reference code keeps its data."""
    if source.is_file():
        return True
    places = (source, source / "train")
    return any(next(place.glob("*.npy"), None) is not None for place in places if place.is_dir())
