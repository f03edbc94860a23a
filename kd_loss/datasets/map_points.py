"""Conversion of faces between schemes, 98 points to 68 or 68 to 29 and back, with its measured error.

Points common to both schemes are copied (`schemes.same_points`); a linear map computes the others from all points of
the face. It is fitted on faces annotated in both schemes: those of an archive in one scheme that has the points of
the other, or drawn faces, of which every point is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kd_loss.archives.merge import in_scheme
from kd_loss.archives.sample import Archive
from kd_loss.archives.seen_points import LABELS, shared_labels
from kd_loss.imaging import geometry
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.point_map import PointMap, fit_point_map, held_out_error
from kd_loss.schemes.same_points import same_points
from kd_loss.system.errors import UserError

DRAWN = ("w300", "cofw", "wflw")
Faces = tuple[np.ndarray, np.ndarray, np.ndarray | None, str]


@dataclass(frozen=True)
class SchemeMap:
    """A map from the points of one scheme to those of another.

    Attributes:
        source, target: the schemes.
        table: (K,) source index of each target point, −1 for points computed by the fitted map.
        fitted: maps all points to those missing from the table, in the square box of the source's points; None
            if the table is complete.
        errors: (K,) mean error of each point in % of the target's normalising distance, on faces held out from the
            fit; 0 for points of the table.
        faces: number of faces in the fit; origin: a description of them.
    """

    source: LandmarkScheme
    target: LandmarkScheme
    table: np.ndarray
    fitted: PointMap | None
    errors: np.ndarray
    faces: int = 0
    origin: str = ""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Map points (N, M, 2) in pixels to (N, K, 2); a face with NaN gets only the table's points."""
        points = np.asarray(points, np.float64)
        result = np.full((len(points), self.target.points, 2), np.nan)
        if self.fitted is not None:
            whole = np.flatnonzero(~np.isnan(points).any(axis=(1, 2)))
            for index in whole:
                affine = _box(points[index])
                found = self.fitted(geometry.apply(affine, points[index])[None])[0]
                result[index, self.table < 0] = geometry.apply(geometry.invert(affine), found)
        known = self.table >= 0
        result[:, known] = points[:, self.table[known]]
        return result

    @property
    def caution(self) -> str:
        """Return the caveat of a map fitted on drawn faces."""
        return "; photographs cost several times as much as drawn faces" if self.origin == "drawn faces" else ""

    @property
    def line(self) -> str:
        """Describe the map and its error in words."""
        start = f"{self.source.points} points of '{self.source.name}' -> {self.target.points} of '{self.target.name}'"
        fitted = self.table < 0
        if not fitted.any():
            return f"{start}: all by the table of indices, which costs nothing"
        return (
            f"{start}: {int((~fitted).sum())} by the table of indices, {int(fitted.sum())} by a linear map; mean error "
            f"{self.errors[fitted].mean():.2f} % of {self.target.default_normaliser} on those, "
            f"{self.errors.mean():.2f} % on all (worst point {int(self.errors.argmax())}: {self.errors.max():.2f} %; "
            f"{self.faces} {self.origin} in 5 parts, each left out once){self.caution}"
        )


def _box(points: np.ndarray) -> np.ndarray:
    return geometry.normalised_affine(geometry.square_crop(geometry.landmark_box(points), 0.0))


def distances(points: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    """Return the distance (N,) that divides the errors of faces (N, K, 2)."""
    if scheme.default_normaliser == "box":
        return np.asarray(np.sqrt(np.prod(np.nanmax(points, axis=1) - np.nanmin(points, axis=1), axis=1)))
    first, second = (points[:, list(g)].mean(axis=1) for g in scheme.normalisers[scheme.default_normaliser])
    return np.asarray(np.linalg.norm(first - second, axis=1))


def drawn_pairs(source: LandmarkScheme, target: LandmarkScheme, count: int = 400, seed: int = 0) -> Faces:
    """Draw faces in both schemes, two of 300W, COFW and WFLW.

    Raises:
        UserError: one of the schemes has no drawn faces.
    """
    from kd_loss.synthetic.faces import face_landmarks

    for scheme, other in ((source, target), (target, source)):
        if scheme.name.removeprefix("synthetic_") not in DRAWN:
            raise UserError(
                f"no data says where the points of '{target.name}' lie on a face of '{source.name}': no faces "
                f"of '{scheme.name}' are drawn; give a folder of faces whose scheme defines which points of "
                f"'{other.name}' it contains: --map-points {target.name}=FOLDER"
            )
    names = [scheme.name.removeprefix("synthetic_") for scheme in (source, target)]
    faces = [np.stack([face_landmarks(name, 400, seed, index) for index in range(count)]) for name in names]
    return faces[0], faces[1], None, "drawn faces"


def annotated_pairs(archive: Archive, source: LandmarkScheme) -> Faces:
    """Return an archive's fully annotated training faces, in its own scheme and in one whose points they all have.

    Raises:
        UserError: the archive's scheme does not define all points of the source.
    """
    scheme = archive.scheme
    assert isinstance(scheme, LandmarkScheme)  # ensured by the command
    table = same_points(scheme, source)
    if (table < 0).any():
        raise UserError(
            f"faces of '{scheme.name}' have {int((table >= 0).sum())} of the {source.points} points of "
            f"'{source.name}'; a map needs faces with all of them"
        )
    samples = [s for s in archive.samples if s.split == "train" and not np.isnan(s.landmarks).any()]
    if not samples:
        raise UserError(f"no training face of '{scheme.name}' has all points")
    own = np.stack([s.landmarks for s in samples])
    return own[:, table], own, np.array([s.group for s in samples]), f"training faces of '{scheme.name}'"


def map_scheme(source: LandmarkScheme, target: LandmarkScheme, faces: Faces | None = None) -> SchemeMap:
    """Compute the map between two schemes.

    Args:
        source: scheme to map from, with M points.
        target: scheme to map to, with K points.
        faces: the same faces in both, (N, M, 2) and (N, K, 2) in pixels, the photograph of each or None, and what they
            are in words; drawn faces by default. Unused if the table is complete.

    Raises:
        UserError: no faces are known in both schemes, or fewer than ten.
    """
    table = same_points(source, target)
    if (table >= 0).all():
        return SchemeMap(source, target, table, None, np.zeros(target.points))
    points, truth, groups, origin = drawn_pairs(source, target) if faces is None else faces
    boxes = [_box(face) for face in points]
    inside = np.stack([geometry.apply(box, face) for box, face in zip(boxes, points, strict=True)])
    goal = np.stack([geometry.apply(box, face) for box, face in zip(boxes, truth, strict=True)])
    distance, goal = distances(goal, target), goal[:, table < 0]
    errors = np.zeros(target.points)
    errors[table < 0] = held_out_error(inside, goal, distance, groups)
    return SchemeMap(source, target, table, fit_point_map(inside, goal), errors, len(points), origin)


def mapped_archive(archive: Archive, mapping: SchemeMap) -> Archive:
    """Convert an archive to another scheme; the result is called `<its own>_<the other>`.

    Partly annotated faces with fewer than two known points in the new scheme are dropped with a warning. Flags of
    points are kept if the table is complete.
    """
    target = replace(
        mapping.target, name=f"{mapping.source.name}_{mapping.target.name}", official={}, test_subsets={}, same={}
    )
    result = Archive(target, [], [*archive.warnings], [*archive.problems])
    points = mapping(np.stack([s.landmarks for s in archive.samples])) if archive.samples else np.zeros((0, 0, 2))
    lost = 0
    for sample, moved in zip(archive.samples, points, strict=True):
        if (~np.isnan(moved[:, 0])).sum() < 2:
            lost += 1
            continue
        flags = {key: value for key, value in sample.attributes.items() if np.ndim(value) == 0}
        if mapping.fitted is None:
            per_point = {k: v for k, v in sample.attributes.items() if np.shape(v) == (mapping.source.points,)}
            flags |= {key: np.asarray(value)[mapping.table] for key, value in per_point.items()}
        visibility = None
        if sample.visibility is not None and mapping.target.name == "w300" and mapping.source.name in LABELS:
            visibility = shared_labels(sample.visibility, LABELS[mapping.source.name])
        result.samples.append(replace(sample, landmarks=moved, attributes=flags, visibility=visibility))
    if lost:
        result.warnings.append(f"{lost} partly annotated faces have no points of '{mapping.target.name}'; skipped")
    return result


def aflw_archive(archive: Archive) -> Archive:
    """Convert AFLW to the 68 points by the head that fits each face (`schemes.full_head`), as `prepare --extra-data`.

    Faces with fewer than two of the points are dropped with a warning. The error is divided by the box of the points.
    """
    source = archive.scheme
    assert isinstance(source, LandmarkScheme)  # ensured by the command
    target = replace(
        W300, name="aflw_w300", official={}, normalisers={}, test_subsets=dict(source.test_subsets), same={}
    )
    moved = [in_scheme(sample, source, W300) for sample in archive.samples]
    kept = [sample for sample in moved if np.isfinite(sample.landmarks[:, 0]).sum() >= 2]
    result = Archive(target, kept, [*archive.warnings], [*archive.problems])
    if len(kept) < len(moved):
        result.warnings.append(f"{len(moved) - len(kept)} faces have fewer than two points of 'w300'; left out")
    return result
