"""Labels photographs with 68 landmarks under free licences alone: MediaPipe's face mesh (Apache-2.0) and a table.

The mesh has 468 points. Which of them stand for the 68 is a table of indices, chosen by eye on drawn and made-up faces:
nothing is fitted on annotated photographs, whose terms would then apply. Writes a `.pts` file beside a copy of every
photograph in which one face is found, and beside the folder `free68.json`, the scheme of 300W under another name:
`kd-loss prepare --dataset free --scheme free68.json --source FOLDER`.

    python -m tools.free_faces PICTURES FOLDER --detector face_detection_short_range.tflite --mesh face_landmark.tflite
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_loss.archives.pts import format_pts
from kd_loss.detection import open_detector
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import read_image
from kd_loss.runtimes.files import open_runtime
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.files import write_json

#: for each of the 68 points the points of the mesh whose mean stands for it
TABLE: tuple[tuple[int, ...], ...] = (
    *((127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,)),
    *((400,), (379,), (365,), (397, 288), (361, 288), (323,), (454,), (356,)),
    *((70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,)),
    *((168,), (6, 197), (195,), (4,), (98,), (97,), (2,), (326,), (327,)),
    *((33,), (160,), (158,), (133,), (153,), (144,), (362,), (385,), (387,), (263,), (373,), (380,)),
    *((61,), (40,), (37,), (0,), (267,), (270,), (291,), (321,), (314,), (17,), (84,), (91,)),
    *((78,), (81,), (13,), (311,), (308,), (402,), (14,), (178,)),
)
#: side of the mesh's input, and of its crop in face boxes
SIZE, CROP = 192, 1.5
#: outer corners of the eyes
EYES = 33, 263


def landmarks_of(mesh: np.ndarray) -> np.ndarray:
    """Return the 68 points (68, 2) of the mesh's (468, 2)."""
    return np.stack([mesh[list(points)].mean(axis=0) for points in TABLE])


def _crop(centre: np.ndarray, side: float, angle: float) -> np.ndarray:
    """The map (2, 3) from the image to a crop of the mesh, turned by an angle in radians."""
    turn = geometry.similarity(-angle, SIZE / side, (SIZE / 2, SIZE / 2), False)
    return geometry.compose(turn, np.column_stack([np.eye(2), -centre]))


class Mesh:
    """MediaPipe's face mesh as a function of an image and a face's box."""

    def __init__(self, path: Path):
        self.run = open_runtime(path)

    def __call__(self, picture: np.ndarray, box: tuple[float, float, float, float]) -> tuple[np.ndarray, float]:
        """Return the points (468, 2) in pixels and the score of a face, 0…1; looks twice, the second time upright."""
        x, y, width, height = box
        centre, side, angle = np.array([x + width / 2, y + height / 2]), CROP * max(width, height), 0.0
        for _ in range(2):
            affine = _crop(centre, side, angle)
            crop = cv2.warpAffine(picture, affine, (SIZE, SIZE), flags=cv2.INTER_AREA)
            outputs = self.run(crop[None].astype(np.float32) / 255)
            mesh, score = sorted((np.asarray(o).ravel() for o in outputs.values()), key=len, reverse=True)[:2]
            points = geometry.apply(geometry.invert(affine), mesh.reshape(-1, 3)[:, :2])
            left, right = points[EYES[0]], points[EYES[1]]
            angle = float(np.arctan2(*(right - left)[::-1]))
            x0, y0, x1, y1 = geometry.landmark_box(points)
            centre, side = np.array([x0 + x1, y0 + y1]) / 2, CROP * max(x1 - x0, y1 - y0)
        return points, float(1 / (1 + np.exp(-score[0])))


def label(source: Path, folder: Path, detector: Path, mesh: Path, least: float) -> list[Path]:
    """Copy and label the photographs that show exactly one face; returns the copies."""
    folder.mkdir(parents=True, exist_ok=True)
    find, network, written = open_detector("blazeface", str(detector)), Mesh(mesh), []
    for path in sorted(source.glob("*.jpg")):
        picture = read_image(path)
        faces = find(picture)
        if len(faces) != 1:
            continue
        points, score = network(picture, faces[0].box)
        if score < least:
            continue
        copy = folder / path.name
        shutil.copyfile(path, copy)
        copy.with_suffix(".pts").write_text(format_pts(landmarks_of(points)))
        written.append(copy)
    return written


def free_scheme() -> dict[str, Any]:
    """The scheme of 300W as the values of a scheme file, under the name `free` and without 300W's test subsets."""
    return {key: value for key, value in W300.to_dict().items() if key not in ("official", "test_subsets")} | {
        "name": "free"
    }


def main() -> None:
    """Label a folder of photographs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--mesh", type=Path, required=True)
    parser.add_argument("--least", type=float, default=0.8, help="least score of the mesh, 0…1")
    args = parser.parse_args()
    written = label(args.source, args.folder, args.detector, args.mesh, args.least)
    write_json(args.folder.parent / "free68.json", free_scheme())
    print(f"{len(written)} photographs labelled in {args.folder}")


if __name__ == "__main__":
    main()
