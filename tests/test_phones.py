"""The samples for phones cut the crops that Python cuts: their own lines, translated word by word, on stored pixels.

There is no Kotlin or Swift compiler here: what is not between `<crop>` and `</crop>` is not run by any test.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from kd_loss.imaging.crop import crop_face
from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.synthetic.faces import draw_face

PHONES = Path(__file__).parents[1] / "examples" / "phones"
STUDENT = PHONES.parents[1] / "models" / "students" / "student_w300_tiny.tflite"
#: one-line functions of the samples, in both languages, and the same in Python
HELPERS = {
    "down": ("floor(value).toInt()", "Int(floor(value))", math.floor),
    "up": ("ceil(value).toInt()", "Int(ceil(value))", math.ceil),
    "nearest": ("Math.rint(value).toInt()", "Int(value.rounded(.toNearestOrEven))", round),
    "whole": ("Math.floorDiv(value, by)", "Int(floor(Double(value) / Double(by)))", lambda value, by: value // by),
    "channel": (
        *("(pixel shr (16 - 8 * c)) and 255", "(pixel >> (16 - 8 * c)) & 255"),
        lambda pixel, c: (pixel >> (16 - 8 * c)) & 255,
    ),
}
KOTLIN = [
    (r"fun (\w+)\((.*)\): IntArray \{", r"def \1(\2):"),
    (r"(\w+): (?:IntArray|Int|Double)", r"\1"),
    (r"for \((\w+) in 0 until (.*)\) \{", r"for \1 in range(\2):"),
    (r"if \((.*)\) \{", r"if \1:"),
    (r"IntArray\((.*)\)", r"[0] * (\1)"),
]
SWIFT = [
    (r"func (\w+)\((.*)\) -> \[Int\] \{", r"def \1(\2):"),
    (r"_ (\w+): (?:\[Int\]|Int|Double)", r"\1"),
    (r"for (\w+) in 0\.\.<(.*) \{", r"for \1 in range(\2):"),
    (r"if (.*) \{", r"if \1:"),
    (r"\[Int\]\(repeating: 0, count: (.*)\)", r"[0] * (\1)"),
    (r"Double\(", "float("),
]
BOTH = [(r"\b(?:val|var|let) ", ""), ("&&", "and"), (r"//.*", ""), (r"^ *\}$", "")]


def crop_of(name):
    """`cropFace` of a sample as a Python function."""
    text = (PHONES / name).read_text(encoding="utf-8")
    place, rules = (0, KOTLIN) if name.endswith(".kt") else (1, SWIFT)
    for helper, bodies in HELPERS.items():
        assert re.search(rf"private fun\w* {helper}\(.*{re.escape(bodies[place])}", text), helper
    lines = re.search(r"// <crop>\n(.*)// </crop>", text, re.DOTALL)[1].splitlines()
    for pattern, replacement in [*BOTH, *rules]:
        lines = [re.sub(pattern, replacement, line) for line in lines]
    scope = {helper: bodies[2] for helper, bodies in HELPERS.items()}
    exec("\n".join(lines), scope)
    return scope["cropFace"]


def packed(image):
    """Pixels as 0xRRGGBB, row by row, as both samples have them."""
    red, green, blue = np.moveaxis(image.astype(int), 2, 0)
    return (red << 16 | green << 8 | blue).ravel().tolist()


@pytest.mark.parametrize("name", ["FaceLandmarks.kt", "FaceLandmarks.swift"])
def test_the_crop_is_pythons(name):
    image = np.random.default_rng(0).integers(0, 256, (37, 41, 3), np.uint8)
    crop = crop_of(name)
    squares = [(3.2, 5.7, 13.0), (-4.3, -2.6, 20.0), (1.1, 2.2, 33.0), (10.0, -8.0, 47.5), (60.0, 60.0, 5.0)]
    for square in squares:  # enlarged, across the edge, by blocks of 2, of 2 and across, beside the picture
        found = np.reshape(crop(packed(image), 41, 37, *square, 16), (16, 16, 3))
        expected = crop_face(image, np.array(square), 16).astype(int)
        assert np.abs(found - expected).max() <= 1  # OpenCV's weights have 15 bits
        assert np.abs(found - expected).mean() < 0.2


@pytest.mark.parametrize("name", ["FaceLandmarks.kt", "FaceLandmarks.swift"])
def test_the_landmarks_are_pythons(name):
    predictor = LandmarkPredictor.load(STUDENT)
    image, size = draw_face(180, 0, 3), predictor.card.size
    square = np.array([12.3, 9.1, 160.4])
    found = np.reshape(crop_of(name)(packed(image), 180, 180, *square.tolist(), size), (1, size, size, 3))
    mine = square[:2] + (predictor.network.run(found.astype(np.uint8))[0] + 0.5) * square[2]
    theirs = predictor.predict_squares([image], [square])[0].landmarks
    assert np.linalg.norm(mine - theirs, axis=1).max() < 0.05


def test_the_numbers_to_check_a_phone_with():
    for case in json.loads((PHONES / "check.json").read_text()):
        image = np.array(case["pixels"], np.uint8).reshape(case["height"], case["width"], 3)
        crop = crop_face(image, np.array(case["square"]), case["size"])
        assert np.abs(crop.ravel().astype(int) - case["crop"]).max() <= 1
        for name in ("FaceLandmarks.kt", "FaceLandmarks.swift"):
            found = crop_of(name)(packed(image), case["width"], case["height"], *case["square"], case["size"])
            assert np.abs(np.array(found) - case["crop"]).max() <= 1
