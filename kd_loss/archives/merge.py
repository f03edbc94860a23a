"""Faces of other schemes as partly annotated training faces: several archives become one training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kd_loss.archives.sample import Archive, Sample
from kd_loss.archives.seen_points import LABELS, labels_of_68, seen_half, shared_labels
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.benchmarks import AFLW21, CFP30, W300
from kd_loss.schemes.full_head import aflw_as_68
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import PoseScheme
from kd_loss.schemes.same_points import same_points
from kd_loss.system.errors import UserError

#: schemes tied to the 68 points alone, by which they have points of others
BY_68 = (AFLW21, CFP30)


def translate(landmarks: np.ndarray, source: LandmarkScheme, target: LandmarkScheme) -> np.ndarray:
    """Translate points (M, 2) of one scheme to (K, 2) of another, NaN where the first lacks the point.

    >>> from kd_loss.schemes.benchmarks import CFP30, W300
    >>> half = np.arange(60.0).reshape(30, 2)
    >>> translate(half, CFP30, W300)[[36, 45]].tolist()      # the right eye is seen, the left one is not
    [[24.0, 25.0], [nan, nan]]
    """
    result = np.full((target.points, 2), np.nan)
    if not source.half:
        table = same_points(source, target)
        result[table >= 0] = landmarks[table[table >= 0]]
        return result
    outer, inner = source.half
    mirrored = landmarks[outer, 0] > landmarks[inner, 0]
    for own, index in enumerate(source.same[target.name]):
        if index is not None:
            result[target.flip_index[index] if mirrored else index] = landmarks[own]
    return result


def matched(source: LandmarkScheme, target: LandmarkScheme) -> bool:
    """Whether a table says which points of two schemes are the same."""
    # half a face defines by its own table alone on which side its points lie
    own = any(index is not None for index in source.same.get(target.name, ()))
    return own or bool((same_points(source, target) >= 0).any())


def in_scheme(sample: Sample, source: LandmarkScheme, target: LandmarkScheme) -> Sample:
    """Return a face with the points of another scheme that its own has, and which of them are visible.

    AFLW and CFP are tied to the 68 points alone; their points of other schemes are those that these share with the 68.

    Raises `KeyError` if the source's scheme does not say which of its points are the target's.
    """
    if source in BY_68 and target != W300 and not matched(source, target):
        return in_scheme(in_scheme(sample, source, W300), W300, target)
    outline, visibility = sample.outline, None
    if source == AFLW21 and target == W300:
        points, outline = aflw_as_68(sample.landmarks)
    else:
        points = translate(sample.landmarks, source, target)
        outline = None if outline is None else rough_outline(outline, source, target)
    if target == W300 and source == CFP30:
        visibility = seen_half(points, sample.subset == "profile")
    elif sample.visibility is not None and target == W300 and source.name in LABELS:
        visibility = shared_labels(sample.visibility, LABELS[source.name])
    elif sample.visibility is not None and source == W300:
        visibility = labels_of_68(sample.visibility, target)
    return replace(sample, landmarks=points, outline=outline, visibility=visibility)


def rough_outline(outline: np.ndarray, source: LandmarkScheme, target: LandmarkScheme) -> np.ndarray:
    """Translate an outline; points that the source lacks lie in the middle, so that the box stays."""
    points = translate(outline, source, target)
    return np.where(np.isfinite(points), points, np.nanmean(points, axis=0))


def add_faces(archive: Archive, other: Archive) -> Archive:
    """Add the training faces of another archive whose scheme maps its points to those of the first.

    They are `extra`: never held out, never tested on. To poses other poses are added, those of AFLW by
    their yaw alone.

    Raises:
        UserError: the schemes share no points, are landmarks and poses, or the other's poses follow from landmarks.
    """
    scheme, more = archive.scheme, other.scheme
    if isinstance(scheme, PoseScheme) or isinstance(more, PoseScheme):
        return _add_poses(archive, other)
    assert isinstance(scheme, LandmarkScheme)
    assert isinstance(more, LandmarkScheme)
    indices = more.same.get(scheme.name, ())
    by_68 = more in BY_68 and matched(W300, scheme)
    if not (matched(more, scheme) or by_68) or any(i is not None and i >= scheme.points for i in indices):
        known = ", ".join(more.same) or "none"
        raise UserError(
            f"--extra-data {more.name}: that scheme does not define which points of '{scheme.name}' it contains "
            f'(defined: {known}); give a scheme file with "same": {{"{scheme.name}": [an index or null per point]}}'
        )
    # one point alone does not define a crop
    moved = [in_scheme(sample, more, scheme) for sample in other.samples if sample.split == "train"]
    moved = [sample for sample in moved if (~np.isnan(sample.landmarks[:, 0])).sum() >= 2]
    return _merged(archive, other, moved)


def check_kind(scheme: Scheme, more: Scheme) -> None:
    """Raise `UserError` if one is of landmarks and the other of poses."""
    if type(scheme) is not type(more):
        raise UserError(f"--extra-data {more.name} has {more.noun}, but the dataset '{scheme.name}' has {scheme.noun}")


def _add_poses(archive: Archive, other: Archive) -> Archive:
    scheme, more = archive.scheme, other.scheme
    check_kind(scheme, more)
    moved = []
    for sample in other.samples:
        if sample.place is None:
            raise UserError(
                f"--extra-data {more.name}: its poses are computed from landmarks; give an archive of poses, "
                "e.g. pose_aflw=AFLW/"
            )
        if sample.split == "train":
            moved.append(replace(sample, place=replace(sample.place, yaw_alone=sample.place.known_yaw is not None)))
    return _merged(archive, other, moved)


def _merged(archive: Archive, other: Archive, moved: Sequence[Sample]) -> Archive:
    """Add faces of another archive, named after it, as `extra` ones."""
    origin = other.scheme.name
    samples = [
        replace(
            sample,
            name=f"{origin}/{sample.name}",
            split="train",
            subset=origin,
            group=f"{origin}/{sample.group}",
            attributes={},
            extra=True,
        )
        for sample in moved
    ]
    return Archive(
        archive.scheme,
        [*archive.samples, *samples],
        [*archive.warnings, *(f"{origin}: {warning}" for warning in other.warnings)],
        [*archive.problems, *other.problems],
    )
