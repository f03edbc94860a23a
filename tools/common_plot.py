"""The README's image: error on 300W's common set against parameters, the shipped students among published networks.

`python -m tools.common_plot` reads the cards in `models/students` and writes `docs/pictures/common.png`, and
`docs/pictures/students.jpg`, drawn faces with the predictions of each student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_loss.evaluation.plots import new_axes, size_plot, to_png
from kd_loss.evaluation.published import published_points
from kd_loss.inference.output import draw_faces
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.networks import load_network
from kd_loss.synthetic.faces import draw_face
from kd_loss.system.files import read_json

ROOT = Path(__file__).parents[1]
#: what a card says of figures on the complete official set
OFFICIAL = "300W common, official and complete"


def shipped(folder: Path) -> list[tuple[str, float, float]]:
    """Name, parameters in millions and NME in % of the students with a figure on the official common set."""
    found = []
    for path in sorted(folder.glob("*.json")):
        card = read_json(path, "a card")
        for figures in card["metrics"].values():
            if isinstance(figures, dict) and str(figures.get("of")).startswith(OFFICIAL):
                found.append(
                    (path.stem, load_network(path.with_suffix(".h5")).model.count_params() / 1e6, figures["nme"])
                )
                break
    return found


def backbone_plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Error on common against milliseconds in LiteRT; the area of a point grows with the parameters."""
    figure, axes = new_axes(8, 4.5)
    for row in rows:
        axes.scatter(row["ms"], row["common"], s=60 * row["parameters"] / 1e6, color="tab:red", alpha=0.6, zorder=3)
        axes.annotate(row["arch"], (row["ms"], row["common"]), (8, 4), textcoords="offset points", fontsize=7.5)
    axes.margins(0.14)
    axes.set(xlabel="ms per face in LiteRT, two threads", ylabel="NME in % on 300W common (outer eye corners)")
    return to_png(figure)


def student_sheet(folder: Path, faces: int = 5, side: int = 200) -> np.ndarray:
    """Drawn faces with the landmarks that each student in a folder predicts, a row each, RGB."""
    rows = []
    for path in sorted(folder.glob("*.h5")):
        predictor = LandmarkPredictor.load(path, detector="none")
        crops = [draw_face(side, 7, index) for index in range(faces)]
        row = [draw_faces(crop, [predictor.predict_crop(crop)], pose=False) for crop in crops]
        label = np.full((26, side * faces, 3), 255, np.uint8)
        cv2.putText(label, path.stem, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        rows += [label, np.hstack(row)]
    return np.vstack(rows)


def main() -> None:
    own = shipped(ROOT / "models" / "students")
    picture = size_plot(own, published_points("w300", "common"), "NME in % on 300W common (outer eye corners)")
    (ROOT / "docs" / "pictures" / "common.png").write_bytes(picture)
    sheet = student_sheet(ROOT / "models" / "students")
    cv2.imwrite(str(ROOT / "docs" / "pictures" / "students.jpg"), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    folder = ROOT / "docs" / "experiments"
    (folder / "backbones.png").write_bytes(backbone_plot(read_json(folder / "backbones.json", "the figures")["rows"]))
    print(", ".join(f"{name} {millions:.2f} M {nme:g}" for name, millions, nme in own))


if __name__ == "__main__":
    main()
