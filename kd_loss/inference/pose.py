"""Head poses in images: the predictor of pose networks, and its result for one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import to_angles, to_matrices
from kd_loss.inference.base import Detector, Predictor, box_of, check_answers
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.inference.result import Face, about
from kd_loss.inference.smoothing import RotationFilter
from kd_loss.runtimes.crop_network import CropNetwork, mirrored, open_network
from kd_loss.schemes.drawing import draw_axes
from kd_loss.schemes.head_pose import HeadPose, camera_matrix
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.pose import MOST_YAW, PoseScheme
from kd_loss.system.deprecation import renamed_keywords
from kd_loss.system.errors import UserError
from kd_loss.system.files import Json


@renamed_keywords(box="crop_box")
@dataclass(frozen=True, eq=False, repr=False)
class FacePose(Face):
    """The pose of one head.

    Attributes:
        rotation: (3, 3), head axes to camera axes, relative to the ray through the head's centre (`schemes.rotations`).
        middle: (x, y) of that centre in pixels of the image; width: of a head there, in pixels.
        crop_box: `(x, y, width, height)` of the square that the network saw, in the same pixels.
        scheme: scheme of the network; score, number: as in `FaceLandmarks`; picture: its height and width.
        margin: of the training crops.
    """

    rotation: np.ndarray
    middle: tuple[float, float]
    width: float
    crop_box: tuple[float, float, float, float]
    scheme: PoseScheme
    margin: float
    score: float | None = None
    picture: tuple[int, int] = (0, 0)
    number: int | None = None

    def __repr__(self) -> str:
        yaw, pitch, roll = (float(v) for v in to_angles(self.rotation))
        return f"FacePose(yaw {yaw:.0f}°, pitch {pitch:.0f}°, roll {roll:.0f}°{about(self)})"

    def pose(self) -> HeadPose | None:
        """Yaw, pitch and roll in degrees; None beyond 99 degrees of yaw, where no face is visible."""
        yaw, pitch, roll = (float(v) for v in to_angles(self.rotation))
        return HeadPose(yaw, pitch, roll) if abs(yaw) <= MOST_YAW else None

    def position(self) -> tuple[float, float, float]:
        """x, y and depth of the head's centre in head widths, for the camera of `head_pose.camera_matrix`."""
        matrix = camera_matrix(*self.picture)
        x, y = (np.asarray(self.middle) - matrix[:2, 2]) / self.width
        return float(x), float(y), float(matrix[0, 0] / self.width)

    def landmark_box(self) -> tuple[float, float, float, float]:
        """A box `(x, y, width, height)` whose crop shows the head where training crops show it on average."""
        x, y, depth = self.scheme.mean[3:]
        side = self.width * float(np.exp(depth))
        length = side / (1 + 2 * self.margin)
        left, top = self.middle[0] - x * side - length / 2, self.middle[1] - y * side - length / 2
        return left, top, length, length

    def plausible(self) -> bool:
        """Whether the head lies in its crop as a head does: the network predicts one even for a wall."""
        x, y, side, _ = self.crop_box
        shift = np.abs(np.asarray(self.middle) - [x + side / 2, y + side / 2]).max()
        return bool(self.pose() is not None and 0.3 < self.width / side < 1.6 and shift < 0.35 * side)

    def smoothed(self, smoother: RotationFilter, seconds: float | None = None) -> FacePose:
        """The pose with filtered rotation, centre and width; `seconds` since the previous frame."""
        rotation, middle, width = smoother(self.rotation, np.asarray(self.middle), self.width, seconds)
        return replace(self, rotation=rotation, middle=(float(middle[0]), float(middle[1])), width=width)

    def draw(self, image: np.ndarray, pose: bool = False) -> np.ndarray:
        """A copy of the image (H, W, 3) RGB with the head's axes; without them if there is no pose."""
        if self.pose() is None:
            return np.ascontiguousarray(image).copy()
        return draw_axes(image, self.rotation, np.asarray(self.middle), 0.6 * self.width)

    def cells(self) -> list[str]:
        """Further cells of a table: the position in head widths; empty if there is no pose."""
        return [f"{v:.3f}" for v in self.position()] if self.pose() is not None else [""] * 3

    def to_dict(self) -> Json:
        """Plain values: scheme, box, score, angles in degrees, position in pixels and in head widths."""
        pose = self.pose()
        known = pose is not None
        return {
            "scheme": self.scheme.name,
            **({} if self.number is None else {"number": self.number}),
            "box": [round(float(v), 3) for v in self.crop_box],
            "score": None if self.score is None else round(self.score, 3),
            "pose": {name: round(value, 1) for name, value in asdict(pose).items()} if pose is not None else None,
            "position": [round(v, 3) for v in self.position()] if known else None,
            "middle": [round(v, 3) for v in self.middle] if known else None,
            "head_width": round(self.width, 3) if known else None,
        }


class PosePredictor(Predictor[FacePose]):
    """Finds faces in photographs and predicts the poses of their heads; for pose networks.

    Attributes:
        scheme: of the poses; others: see `Predictor`.
    """

    def __init__(
        self, network: CropNetwork, detector: str | Detector = "finder", refine: int = 1, confirm: bool = True
    ):
        scheme = network.card.scheme()
        if not isinstance(scheme, PoseScheme):
            raise UserError(f"a network of {network.card.dataset} predicts {scheme.noun}; a head pose is required here")
        super().__init__(network, detector, refine, confirm)
        self.scheme = scheme

    @property
    def columns(self) -> list[str]:
        """Columns of `FacePose.cells`."""
        return ["x", "y", "depth"]

    def smoother(self, cutoff: float, rate: float) -> RotationFilter:
        """A filter for one face of a video."""
        return RotationFilter(cutoff, rate)

    def predict_squares(self, images: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> list[FacePose]:
        """The pose of one head per image, seen in its square `(x, y, side)` in pixels."""
        targets = check_answers(np.asarray(self.network.run(self.crops(images, squares))))
        return [
            self._face(image, square, raw)
            for image, square, raw in zip(images, squares, self.scheme.raw(targets), strict=True)
        ]

    def _face(self, image: np.ndarray, square: np.ndarray, raw: np.ndarray) -> FacePose:
        x, y = geometry.apply(geometry.invert(geometry.normalised_affine(square)), raw[1, :2])
        width = float(square[2]) * float(np.exp(np.clip(-raw[1, 2], -5, 5)))
        return FacePose(
            to_matrices(raw[0]), (float(x), float(y)), width, box_of(square), self.scheme, self.card.margin,
            picture=(image.shape[0], image.shape[1]),
        )  # fmt: skip


#: kind of scheme -> what predicts its targets in photographs
PREDICTORS: dict[type, type[LandmarkPredictor] | type[PosePredictor]] = {
    LandmarkScheme: LandmarkPredictor,
    PoseScheme: PosePredictor,
}


def load_predictor(
    path: str | Path, threads: int | None = None, flip_test: bool = False, confirm: bool = True
) -> LandmarkPredictor | PosePredictor:
    """The predictor for a weights file, chosen by its card; `flip_test`, `confirm`: see `Predictor.load`."""
    network = open_network(Path(path), threads)
    network = mirrored(network) if flip_test else network
    return PREDICTORS[type(network.card.scheme())](network, confirm=confirm)
