"""From the file of an annotation tool to a student: python examples/own_annotations.py

The example writes what CVAT, Label Studio or a script would export, COCO keypoints of eight points, prepares it and
trains. By command:

    kd-loss prepare --dataset mine --source annotations --size 64
    kd-loss train-student --dataset mine --method none …
"""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

import kd_loss
from kd_loss.synthetic.faces import draw_face, face_landmarks

#: of the 68 points of a drawn face: corners of the eyes, tip of the nose, corners of the mouth, chin
CHOSEN = {
    "right_eye_outer": 36, "right_eye_inner": 39, "left_eye_inner": 42, "left_eye_outer": 45, "nose": 30,
    "mouth_right": 48, "mouth_left": 54, "chin": 8,
}  # fmt: skip


def write_annotations(folder: Path, count: int) -> Path:
    """Drawn faces and `annotations.json`, COCO keypoints: x, y and visibility of each point."""
    images, annotations = [], []
    for index in range(count):
        name = f"face{index:03d}.png"
        picture = draw_face(120, 0, index)
        cv2.imwrite(str(folder / name), np.ascontiguousarray(picture[..., ::-1]))
        images.append({"id": index, "file_name": name, "width": 120, "height": 120})
        points = face_landmarks("w300", 120, 0, index)[list(CHOSEN.values())]
        keypoints = [value for x, y in points.round(2).tolist() for value in (x, y, 2)]
        annotations.append({"id": index, "image_id": index, "category_id": 1, "keypoints": keypoints})
    categories = [{"id": 1, "name": "face", "keypoints": list(CHOSEN)}]
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def main() -> dict[str, object]:
    """Write, prepare, train and test, in a folder that goes away; returns what the test says."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "annotations").mkdir()
        write_annotations(folder / "annotations", 48)
        common = {"dataset": "mine", "data": str(folder / "data")}
        kd_loss.prepare(source=str(folder / "annotations"), size=64, **common)
        run = kd_loss.train_student(
            arch="mobileNetV2", alpha=0.35, method=["none"], epochs=2, batch_size=8, runs=str(folder / "runs"), **common
        )
        metrics = kd_loss.test(weights=run / "best.h5", compare_with_runs=False, output=str(folder / "test"), **common)
        score = metrics["networks"][0]["scores"]["box"]["full"]
        print(f"NME of {score['faces']} test faces: {score['nme']:.1f} % of the box")
        return metrics


if __name__ == "__main__":
    main()
