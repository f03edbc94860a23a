"""Detectors side by side: `python -m tools.detection --source 300W --detectors finder haar blazeface=FILE`.

On the test photographs of 300W: how many annotated faces each finds, how many boxes it gives beside them, the
milliseconds of a photograph resized to 640 pixels, the memory of its process, and the NME of `--weights` with crops
from its boxes, from them refined once, and from the landmarks themselves; the same photographs with smaller faces,
darkened and over-exposed. With `--cfp` and `--aflw`, the images that the finder did not learn from, by yaw; with
`--groups`, photographs with several faces each and their lists of boxes; with `--photographs`, the boxes on images
of anything, drawn into `--output`; with `--unlabelled`, of photographs that show one face each, how many have a box.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kd_loss.archives.sample import Sample
from kd_loss.archives.w300 import read_w300
from kd_loss.detection import Detection, Detector, open_detector
from kd_loss.evaluation.metrics import normalising_distance, point_errors
from kd_loss.evaluation.report import print_table
from kd_loss.imaging import geometry
from kd_loss.imaging.pictures import IMAGE_SUFFIXES, read_image
from kd_loss.system.files import write_json
from tools.finder import sets
from tools.finder.faces import face_of_68, read_cfp
from tools.finder.hold_out import held_out, held_out_number, odd_number
from tools.finder.measure import matches
from tools.finder.turned import read_turned

#: longer side of the photographs whose milliseconds are measured
SIDE = 640


def memory() -> float:
    """The most memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def milliseconds(detector: Detector, images: list[np.ndarray]) -> float:
    """The median of an image of `SIDE` pixels, after a few to warm up."""
    for image in images[:3]:
        detector(image)
    times = []
    for image in images:
        start = time.perf_counter()
        detector(image)
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times))


def first_match(found: list[Detection], row: np.ndarray) -> Detection | None:
    """The surest answer about a face."""
    return max((face for face in found if matches(face, row)), key=lambda face: face.score, default=None)


def judge(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One detector on everything; in a process of its own."""
    kind, _, model = name.partition("=")
    before = memory()
    detector = open_detector(kind, model, min_score=options.min_score)
    samples = [sample for sample in read_w300(options.source).samples if sample.split == "test"]
    images = [_of_side(sample.load()) for sample in samples[:40]]
    row: dict[str, Any] = {"detector": kind + ("" if not model else f" ({Path(model).stem})")}
    row["ms"] = milliseconds(detector, images)
    row["MB"] = memory() - before
    row |= on_300w(detector, samples, options.weights)
    shots = sets.of_samples(samples)
    some = shots[:: max(1, len(shots) // options.copies)] if options.copies else []
    for title, changed in (*sets.by_size(some), *sets.copies(some)) if some else ():
        row[title] = sets.count(detector, changed)[:2]
    if options.cfp:
        row |= on_cfp(detector, options.cfp)
    if options.aflw:
        held = [picture for picture in read_turned(options.aflw) if held_out_number(picture.group)]
        for title, part in sets.by_yaw(held):
            row[f"AFLW, {title}"] = sets.count(detector, part)[:2]
    if options.groups:
        found, faces, elsewhere = sets.count(detector, sets.groups(options.groups), sets.about)
        row |= {"groups": (found, faces), "groups, elsewhere": elsewhere}
    for folder in options.unlabelled:
        paths = [path for path in sorted(folder.glob(options.pattern)) if odd_number(path.name)]
        seen = [path.name for path in paths if detector(read_image(path))]
        row[folder.name] = (len(seen), len(paths))
        if options.output:
            missed = [path.name for path in paths if path.name not in seen]
            write_json(options.output / f"{folder.name}-{kind}{Path(model).stem}-missed.json", missed)
    for folder in options.photographs:
        row[folder.name] = on_photographs(detector, folder, options, kind + Path(model).stem)
    return row


def _of_side(image: np.ndarray) -> np.ndarray:
    scale = SIDE / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def on_300w(detector: Detector, samples: list[Sample], weights: str) -> dict[str, Any]:
    """Found of the annotated faces, boxes beside them, and the NME of the found ones by way of cropping."""
    found: list[tuple[Sample, Detection]] = []
    more, scores = 0, []
    for sample in samples:
        answers = detector(sample.load())
        face = first_match(answers, face_of_68(sample.landmarks))
        more += len(answers) - (face is not None)
        if face is not None:
            found.append((sample, face))
            scores.append(face.score)
    row = {"faces": len(samples), "found": len(found), "more": more, "5 % of scores below": np.percentile(scores, 5)}
    if not weights:
        return row
    from kd_loss.inference.predictor import LandmarkPredictor

    predictor = LandmarkPredictor.load(weights, confirm=False)
    predictor.settled = 0.0  # every face is cropped again
    truth = np.array([sample.landmarks for sample, _ in found])
    distance = normalising_distance(truth, predictor.scheme, predictor.scheme.default_normaliser)
    ways: dict[str, list[np.ndarray]] = {"landmark box": [], "box": [], "refined once": []}
    for sample, face in found:
        image = sample.load()
        x0, y0, x1, y1 = geometry.landmark_box(sample.landmarks)
        ways["landmark box"].append(predictor.predict_crop(image, (x0, y0, x1 - x0, y1 - y0)).landmarks)
        for refine, way in enumerate(["box", "refined once"]):
            ways[way].append(predictor.detect(image, lambda _, face=face: [face], refine)[0].landmarks)
    return row | {
        f"NME {way}": float(point_errors(np.array(points), truth, distance).mean()) for way, points in ways.items()
    }


def on_cfp(detector: Detector, folder: Path) -> dict[str, Any]:
    """Found of frontal faces and profiles of the persons that were held out."""
    row: dict[str, Any] = {}
    for picture in read_cfp(folder):
        if held_out(picture.group):
            kind = "CFP profiles" if np.isnan(picture.faces[0]).any() else "CFP frontal"
            face = first_match(detector(picture.image), picture.faces[0])
            found, faces = row.get(kind, (0, 0))
            row[kind] = (found + (face is not None), faces + 1)
    return row


def on_photographs(detector: Detector, folder: Path, options: argparse.Namespace, name: str) -> int:
    """Boxes on every second photograph of a folder, as many as were held out; all of a small folder."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    paths = paths[1::2] if len(paths) > 100 else paths
    answers = {}
    for path in paths:
        image = read_image(path)
        answers[path.name] = [(*face.box, face.score) for face in detector(image)]
        if options.output and answers[path.name]:
            for x, y, width, height, score in answers[path.name]:
                corner, far = (round(x), round(y)), (round(x + width), round(y + height))
                cv2.rectangle(image, corner, far, (0, 255, 0), max(1, max(image.shape) // 300))
                cv2.putText(image, f"{score:.2f}", corner, cv2.FONT_HERSHEY_PLAIN, 1.0, (255, 255, 0))
            place = options.output / folder.name / name
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{path.stem}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if options.output:
        write_json(options.output / folder.name / f"{name}.json", answers)
    return sum(len(faces) for faces in answers.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder of 300W")
    parser.add_argument(
        "--detectors", nargs="+", default=["finder", "haar"], help="names, name=FILE where it needs one"
    )
    parser.add_argument("--min-score", type=float, help="in place of each detector's own")
    parser.add_argument("--weights", default="", help="landmark network of 68 points")
    parser.add_argument("--cfp", type=Path, help="folder of CFP")
    parser.add_argument("--aflw", type=Path, help="folder of AFLW, with its yaws")
    parser.add_argument("--groups", type=Path, help="folder of photographs with .xml lists of their faces (dlib)")
    parser.add_argument("--unlabelled", type=Path, nargs="*", default=[], help="folders of photographs of one face")
    parser.add_argument("--pattern", default="**/*.jpg", help="of the names in these folders")
    parser.add_argument("--copies", type=int, default=0, help="test photographs to make small, dark and bright")
    parser.add_argument("--photographs", type=Path, nargs="*", default=[], help="folders of images of anything")
    parser.add_argument("--output", type=Path, help="folder for the images with their boxes")
    options = parser.parse_args()
    rows = []
    for name in options.detectors:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(judge, (name, options)))
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = [[_text(row.get(column)) for column in columns] for row in rows]
    print_table("Detectors", columns, table, turned=True)
    if options.output:
        write_json(options.output / "detection.json", {"rows": rows})


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{value[0]} of {value[1]}"
    return f"{value:.2f}" if isinstance(value, float) else "–" if value is None else str(value)


if __name__ == "__main__":
    main()
