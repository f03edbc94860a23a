"""MediaPipe's face mesh as a peer; run by a Python with `mediapipe==0.10.21`, whose package holds its models."""

import sys
import time
from pathlib import Path

import cv2
import mediapipe
import numpy as np

names, output = sys.argv[1:]
mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1, min_detection_confidence=0.3)
landmarks, times = [], []
for name in Path(names).read_text(encoding="utf-8").splitlines():
    stored = cv2.imread(name, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is None:
        sys.exit(f"{name} does not decode as an image")
    image = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    start = time.perf_counter()
    faces = mesh.process(image).multi_face_landmarks
    times.append(1000 * (time.perf_counter() - start))
    points = [(p.x * width - 0.5, p.y * height - 0.5) for p in faces[0].landmark] if faces else [(np.nan, np.nan)] * 468
    landmarks.append(points)
np.savez(output, landmarks=landmarks, milliseconds=times)
