"""Public head pose archives in their own layouts: BIWI, 300W-LP and AFLW2000, Pointing'04.

* BIWI Kinect: folders of persons with `frame_00003_rgb.png`, `frame_00003_pose.txt` (a rotation matrix, and the head's
  place in mm, before the depth camera) and `rgb.cal` (the colour camera's matrix, distortion, and its rotation and
  place in mm against the depth camera). The crop is a square of a head's width about its place.
* 300W-LP, AFLW2000-3D: images with `.mat` files beside them: `Pose_Para` (pitch, yaw, roll in radians, …), and 68
  points, `pt2d` or `pt3d_68`, which place the crop and, with the rotation, the head.
* Pointing'04: `personne08123-30+45.jpg`, tilt and pan in the name, a `.txt` of the face's centre, width and height.
  Pan is read as positive to the image's right, tilt upwards; roll is 0.
"""

from __future__ import annotations

import io
import math
import re
from functools import partial
from pathlib import Path

import numpy as np

from kd_loss.archives.sample import (
    Archive,
    Sample,
    assign_splits,
    check_landmarks,
    existing_folder,
    pair_files,
    photograph,
)
from kd_loss.imaging.pictures import MOST_OF_NOTE, BadSample, read_file, read_image
from kd_loss.imaging.rotations import against_ray, from_300wlp, from_angles
from kd_loss.schemes.base import HeadPlacement
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.generic_head import WIDTH, place_of
from kd_loss.schemes.pose import PoseScheme

#: width of a head in mm: that of the generic head
HEAD_MM = WIDTH / 5
#: plausibility limit for distances in mm and for a camera matrix in pixels
FARTHEST = 1e6
#: most numbers that a variable of a `.mat` file may hold
MOST_NUMBERS = 1 << 20
_POINTING = re.compile(r"person(?:ne)?(\d\d)(\d)(\d\d)([+-]\d{1,2})([+-]\d{1,2})")


def _numbers(path: Path, count: int) -> np.ndarray:
    """Return the first `count` numbers of a text file; raise `BadSample` if there are fewer or a word is no number."""
    try:
        words = read_file(path, MOST_OF_NOTE).decode("ascii", "replace").split()[:count]
        values = np.array([float(word) for word in words])
    except ValueError:
        raise BadSample("contains something other than numbers") from None
    if len(values) < count or not np.isfinite(values).all():
        raise BadSample(f"has fewer than {count} finite numbers")
    if np.abs(values).max() > FARTHEST:
        raise BadSample(f"holds {values[np.abs(values).argmax()]:g}, which is not plausible for a camera or a head")
    return values


def _rotation(values: np.ndarray) -> np.ndarray:
    matrix = values.reshape(3, 3)
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > 0.01 or np.linalg.det(matrix) < 0:
        raise BadSample("its matrix is not a rotation")
    return matrix


def _square(middle: np.ndarray, side: float) -> np.ndarray:
    """The corners (2, 2) of a square."""
    return np.stack([middle - side / 2, middle + side / 2])


def _split(archive: Archive, fraction: float) -> Archive:
    """Hold out whole groups for testing, since the archives define no split."""
    splits = assign_splits([sample.group for sample in archive.samples], fraction)
    samples = [
        Sample(s.name, s.landmarks, splits[s.group], splits[s.group], s.group, s.load, place=s.place)
        for s in archive.samples
    ]
    return Archive(archive.scheme, samples, archive.warnings, archive.problems)


def read_biwi(source: Path, scheme: PoseScheme, test_fraction: float) -> Archive:
    """Parse a folder of BIWI's persons; whole persons are held out for testing."""
    root = existing_folder(source)
    archive = Archive(scheme)
    for pose in sorted(root.rglob("frame_*_pose.txt")):
        image = pose.with_name(pose.name.replace("_pose.txt", "_rgb.png"))
        try:
            if not image.is_file():
                raise BadSample("no _rgb.png next to it")
            camera, values = _numbers(pose.with_name("rgb.cal"), 25), _numbers(pose, 12)
            matrix, turn, shift = camera[:9].reshape(3, 3), _rotation(camera[13:22]), camera[22:25]
            head, at = turn @ _rotation(values[:9]), turn @ values[9:] + shift
            if at[2] < 100:
                raise BadSample("the head is not in front of the camera")
        except BadSample as error:
            archive.problems.append(f"{pose}: {error}")
            continue
        x, y, depth = matrix @ at
        middle, width = np.array([x, y]) / depth, float(matrix[0, 0] * HEAD_MM / depth)
        place = HeadPlacement(against_ray(head, at), (float(middle[0]), float(middle[1])), width)
        name, group = image.relative_to(root).as_posix(), pose.parent.relative_to(root).as_posix()
        archive.samples.append(
            Sample(name, _square(middle, width), "train", "train", group, partial(read_image, image), place=place)
        )
    archive.require_samples(root, "folders of persons with frame_…_pose.txt, frame_…_rgb.png and rgb.cal (BIWI)")
    return _split(archive, test_fraction)


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return yaw, pitch and roll in degrees, in the archive's convention, and (68, 2) points in pixels from 0."""
    from scipy.io import loadmat, whosmat

    wanted = ("Pose_Para", "pt3d_68", "pt2d")
    data = io.BytesIO(read_file(path, MOST_OF_NOTE))
    try:
        there = {name: (math.prod(shape), kind) for name, shape, kind in whosmat(data)}
        large = next((name for name in wanted if there.get(name, (0, ""))[0] > MOST_NUMBERS), None)
        data.seek(0)
        values = {} if large else loadmat(data, variable_names=list(wanted))
    except Exception as error:  # SciPy raises many exception types for a damaged file
        raise BadSample(f"is not a .mat file that SciPy can read ({type(error).__name__})") from None
    if large:
        raise BadSample(f"its {large} declares {there[large][0]:,} numbers")

    def numbers(name: str) -> np.ndarray:
        try:
            return np.asarray(values.get(name, ()), np.float64)
        except (TypeError, ValueError):
            raise BadSample(f"its {name} is {there[name][1]}, not numbers") from None

    if numbers("Pose_Para").size < 3:
        raise BadSample("has no Pose_Para")
    pitch, yaw, roll = np.degrees(numbers("Pose_Para").reshape(-1)[:3])
    for key in wanted[1:]:
        points = numbers(key)
        if points.ndim == 2 and points.shape[1] == 68 and np.isfinite(points[:2]).all():
            return np.array([yaw, pitch, roll]), check_landmarks(points[:2].T - 1, 68)
    raise BadSample("has no 68 points (pt3d_68 or pt2d)")


def read_300wlp(source: Path, scheme: PoseScheme, test_fraction: float) -> Archive:
    """Parse a folder of 300W-LP or AFLW2000, with its sub-folders; a photograph's views stay together."""
    root = existing_folder(source)
    archive = Archive(scheme)
    for folder in sorted({path.parent for path in root.rglob("*.mat")}):
        if folder.name.lower() == "code" or "landmarks" in folder.relative_to(root).parts:
            continue  # `landmarks/` of 300W-LP holds points only
        pairs, problems = pair_files(folder, ".mat")
        archive.problems += problems
        for image, note in pairs:
            try:
                angles, points = _read_mat(note)
                if not np.isfinite(angles).all():
                    raise BadSample("an angle is not a finite number")
                place = place_of(points, W300, from_300wlp(*angles))
                if place is None:
                    raise BadSample("its points do not match the rotation in Pose_Para")
            except BadSample as error:
                archive.problems.append(f"{note}: {error}")
                continue
            name = image.relative_to(root).as_posix()
            group = photograph(image.stem) if scheme.name == "pose_300wlp" else name
            archive.samples.append(
                Sample(name, points, "train", "train", group, partial(read_image, image), place=place)
            )
    archive.require_samples(root, "images with .mat files of Pose_Para and 68 points (300W-LP, AFLW2000)")
    return _split(archive, test_fraction)


def read_pointing04(source: Path, scheme: PoseScheme, test_fraction: float) -> Archive:
    """Parse Pointing'04's folders; whole persons are held out for testing."""
    root = existing_folder(source)
    archive = Archive(scheme)
    for image in sorted(path for path in root.rglob("person*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")):
        found = _POINTING.fullmatch(image.stem)
        note = image.with_suffix(".txt")
        try:
            if found is None:
                raise BadSample("its name does not contain tilt and pan")
            if not note.is_file():
                raise BadSample(f"no {note.name} next to it")
            words = read_file(note, MOST_OF_NOTE).decode("ascii", "replace").split()
            x, y, width, height = (float(word) for word in words[-4:])
            if not (np.isfinite([x, y, width, height]).all() and min(width, height) >= 2):
                raise ValueError
        except BadSample as error:
            archive.problems.append(f"{image}: {error}")
            continue
        except (OSError, ValueError):
            archive.problems.append(f"{note}: does not end with the face's centre, width and height")
            continue
        tilt, pan = float(found[4]), float(found[5])
        side = max(width, height)
        place = HeadPlacement(from_angles(-pan, tilt, 0.0), (x, y), side)  # pan is positive to the image's left
        archive.samples.append(
            Sample(
                image.relative_to(root).as_posix(), _square(np.array([x, y]), side), "train", "train", found[1],
                partial(read_image, image), place=place,
            )
        )  # fmt: skip
    archive.require_samples(root, "images personne…±tilt±pan.jpg with .txt files beside them (Pointing'04)")
    return _split(archive, test_fraction)
