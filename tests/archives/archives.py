"""Small official-looking archives, written by the tests that read them."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np

from kd_loss.archives.pts import format_pts
from kd_loss.synthetic.faces import draw_face, face_landmarks

CANVAS = 120


def face(scheme: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture (120, 120, 3) RGB and landmarks of a drawn face."""
    return draw_face(CANVAS, 5, index), face_landmarks(scheme, CANVAS, 5, index)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_w300(root: Path, parts: dict[str, int]) -> Path:
    """Folder name -> number of faces."""
    number = 0
    for part, count in parts.items():
        for _ in range(count):
            image, points = face("w300", number)
            write_image(root / part / f"{1000 + number}_1.png", image)
            (root / part / f"{1000 + number}_1.pts").write_text(format_pts(points))
            number += 1
    return root


def write_wflw(root: Path, train: int = 4, test: int = 2) -> Path:
    notes = root / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    notes.mkdir(parents=True)
    for split, indices in (("train", range(train)), ("test", range(train, train + test))):
        lines = []
        for index in indices:
            image, points = face("wflw", index)
            write_image(root / "WFLW_images" / "0--Parade" / f"{index}.png", image)
            flags = [str(int(index % 2 == 0)), "0", "0", "0", "1", "0"]
            numbers = [f"{v:.6f}" for v in points.reshape(-1)]
            lines.append(" ".join([*numbers, "1", "2", "30", "40", *flags, f"0--Parade/{index}.png"]))
        (notes / f"list_98pt_rect_attr_{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_cofw(root: Path, train: int = 4, test: int = 2) -> Path:
    """MATLAB's layout: transposed arrays behind references, the first picture grey."""
    root.mkdir(parents=True, exist_ok=True)
    for name, images, phis, indices in (
        ("COFW_train_color.mat", "IsTr", "phisTr", range(train)),
        ("COFW_test_color.mat", "IsT", "phisT", range(train, train + test)),
    ):
        with h5py.File(root / name, "w") as file:
            refs = file.create_dataset(images, (1, len(indices)), dtype=h5py.ref_dtype)
            rows = []
            for place, index in enumerate(indices):
                image, points = face("cofw", index)
                stored = image[..., 1].T if place == 0 else image.transpose(2, 1, 0)
                refs[0, place] = file.create_dataset(f"#refs#/{place}", data=stored).ref
                occluded = np.zeros(29)
                occluded[3] = 1
                rows.append(np.concatenate([points[:, 0] + 1, points[:, 1] + 1, occluded]))
            file[phis] = np.array(rows).T
    return root


def counts(archive, split):
    """How many samples of an archive are in a split."""
    return sum(s.split == split for s in archive.samples)
