"""dlib's face detector and 68-point predictor as a peer; run by a Python with `dlib` (or `dlib-bin`), `opencv-python`
and `face_recognition_models`, whose package holds the predictor."""

import importlib.util
import sys
import time
from pathlib import Path

import cv2
import dlib
import numpy as np

names, output = sys.argv[1:]
models = importlib.util.find_spec("face_recognition_models")
if models is None or models.origin is None:
    sys.exit("this Python has no face_recognition_models")
detector = dlib.get_frontal_face_detector()
predictor = dlib.shape_predictor(str(Path(models.origin).with_name("models") / "shape_predictor_68_face_landmarks.dat"))
landmarks, times = [], []
for name in Path(names).read_text(encoding="utf-8").splitlines():
    stored = cv2.imread(name, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is None:
        sys.exit(f"{name} does not decode as an image")
    image = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    start = time.perf_counter()
    faces = detector(image, 0)
    found = [(p.x, p.y) for p in predictor(image, max(faces, key=dlib.rectangle.area)).parts()] if faces else None
    times.append(1000 * (time.perf_counter() - start))
    landmarks.append(found or [(np.nan, np.nan)] * 68)
np.savez(output, landmarks=landmarks, milliseconds=times)
