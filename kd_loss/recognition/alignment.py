"""Face crops for recognition: aligned by five points, as is the field's convention, or about the landmarks' box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from kd_loss.imaging import geometry
from kd_loss.inference.predictor import LandmarkPredictor

#: eyes, nose tip and corners of the mouth in a crop of 112 px, as ArcFace and its relatives align them
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
#: the side in pixels that the template is for
TEMPLATE_SIZE = 112
#: margin of a crop that is not aligned, as in the training of landmark networks
MARGIN = 0.15
#: a second face of at least this share of the first one's width makes an image doubtful
SECOND = 0.6
#: share of an image's shorter side that is taken where no face is found
MIDDLE = 0.8


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Centres of the eyes, tip of the nose and corners of the mouth, (5, 2), from the 68 landmarks (68, 2)."""
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])


def aligning_affine(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The map (2, 3) from an image's pixels to an aligned crop of `size` pixels, from the 68 landmarks (68, 2)."""
    target = geometry.denormalise(geometry.normalise(TEMPLATE, TEMPLATE_SIZE), size)
    return geometry.fit_similarity(five_points(landmarks), target)


def warp(image: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, 3) of an image under a map from its pixels; black outside, averaged when shrunk."""
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if scale < 0.5:
        smaller = max(1, round(image.shape[1] * 2 * scale)), max(1, round(image.shape[0] * 2 * scale))
        shrunk = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
        fx, fy = image.shape[1] / smaller[0], image.shape[0] / smaller[1]
        image, affine = shrunk, geometry.compose(affine, [[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]])
    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Cropped:
    """A crop (S, S, 3) uint8, its landmarks (68, 2) normalised, and the number of faces found in the image."""

    image: np.ndarray
    landmarks: np.ndarray
    faces: int


@dataclass(frozen=True)
class Cropper:
    """Crops the largest face of each image with a finder and a landmark network.

    Attributes:
        predictor: of 68 landmarks.
        size: side of the crops in pixels; align: whether by five points, or about the landmarks' box.
    """

    predictor: LandmarkPredictor
    size: int
    align: bool = True

    def __call__(self, images: Sequence[np.ndarray]) -> list[Cropped]:
        """The crops of images (H, W, 3) uint8 RGB; the middle of an image in which no face is found."""
        found = self.predictor(list(images)) if len(images) else []
        return [self._crop(image, faces) for image, faces in zip(images, found, strict=True)]

    def _crop(self, image: np.ndarray, faces: Sequence[object]) -> Cropped:
        if not faces:
            height, width = image.shape[:2]
            side = MIDDLE * min(height, width)
            affine = geometry.crop_affine([(width - side) / 2 - 0.5, (height - side) / 2 - 0.5, side], self.size)
            return Cropped(warp(image, affine, self.size), np.full((68, 2), np.nan), 0)
        points = faces[0].landmarks  # type: ignore[attr-defined]
        if self.align:
            affine = aligning_affine(points, self.size)
        else:
            affine = geometry.crop_affine(geometry.square_crop(geometry.landmark_box(points), MARGIN), self.size)
        widths = [np.ptp(face.landmarks[:, 0]) for face in faces]  # type: ignore[attr-defined]
        count = sum(bool(width >= SECOND * widths[0]) for width in widths)
        landmarks = geometry.normalise(geometry.apply(affine, points), self.size)
        return Cropped(warp(image, affine, self.size), landmarks, count)


#: images -> their crops
Crops = Callable[[Sequence[np.ndarray]], list[Cropped]]
