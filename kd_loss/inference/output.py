"""The results of `predict`: annotated images and videos, .json, .csv and .pts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from kd_loss.inference.pose import FacePose
from kd_loss.inference.result import FaceLandmarks
from kd_loss.schemes.drawing import encode_png
from kd_loss.system.errors import UserError, disk_error
from kd_loss.system.files import Json, atomic_file, to_json
from kd_loss.system.overwrite_guard import Claims
from kd_loss.system.versions import __version__

Face = FaceLandmarks | FacePose
#: characters that start a formula; a number may have a sign
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.]+(e[+-]?\d+)?\Z)")


def draw_faces(image: np.ndarray, faces: Iterable[Face], pose: bool) -> np.ndarray:
    """A copy of an image with all faces, and optionally the axes of their head poses."""
    drawn = image
    for face in faces:
        drawn = face.draw(drawn, pose=pose)
    return drawn


def origin_of(source: str, image: np.ndarray, weights: str) -> Json:
    """What a JSON file of results says besides the faces: the source, its size in pixels, network and version."""
    height, width = image.shape[:2]
    return {"source": source, "width": width, "height": height, "weights": weights, "kd_loss": __version__}


def write_picture(
    base: Path, image: np.ndarray, faces: Sequence[Face], pose: bool, claims: Claims, origin: Json
) -> None:
    """`base.png`, `base.json` and, of landmarks, `base.pts`; a second face's points are `base-2.pts`."""
    with atomic_file(base.with_name(base.name + ".png"), claims=claims) as temporary:
        temporary.write_bytes(encode_png(draw_faces(image, faces, pose)))
    with atomic_file(base.with_name(base.name + ".json"), claims=claims) as temporary:
        text = ",\n".join(face.to_json() for face in faces)
        temporary.write_text(to_json(origin)[:-1] + ', "faces": [' + text + "]}\n", encoding="utf-8")
    write_points(base, faces, claims)


def write_points(base: Path, faces: Sequence[Face], claims: Claims) -> None:
    """A `.pts` for each face with landmarks; in a video the face's number is in the name, from the second on."""
    for position, face in enumerate(faces, 1):
        if not isinstance(face, FaceLandmarks):
            continue
        number = face.number or position
        name = base.name + (f"-{number}" if number > 1 else "") + ".pts"
        with atomic_file(base.with_name(name), claims=claims) as temporary:
            temporary.write_text(face.to_pts())


def csv_header(columns: Sequence[str]) -> list[str]:
    """Columns of a table of faces; `columns` are the predictor's own."""
    names = [
        "source",
        "frame",
        "time",
        "face",
        "score",
        "box_x",
        "box_y",
        "box_width",
        "box_height",
        "yaw",
        "pitch",
        "roll",
    ]
    return [*names, *columns]


def csv_row(source: str, frame: int | str, time: float | None, face: Face, number: int) -> list[str]:
    """One face; pixels and seconds to a thousandth, degrees to a tenth, an empty cell where there is no value."""
    pose = face.pose()
    angles = [""] * 3 if pose is None else [f"{v:.1f}" for v in (pose.yaw, pose.pitch, pose.roll)]
    score = "" if face.score is None else f"{face.score:.3f}"
    seconds = "" if time is None else f"{time:.3f}"
    box = [f"{v:.3f}" for v in face.crop_box]
    return [source, str(frame), seconds, str(number), score, *box, *angles, *face.cells()]


class CsvTable:
    """A table that exists from the first row on and is complete after each, however the run ends.

    Use it as a context manager.
    """

    def __init__(self, path: Path, header: list[str], claims: Claims | None = None):
        self.path, self._text = path, io.StringIO()
        self._rows = csv.writer(self._text)
        if claims is not None:
            claims.check(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise disk_error(error, path) from None
        if claims is not None:
            claims.add(path, made=True)
        self.writerow(header)

    def writerow(self, row: list[str]) -> None:
        """Write one row in one system call; a name that is not UTF-8 is escaped.

        A name that a spreadsheet would run as a formula is prefixed with '.
        """
        self._rows.writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in row])
        try:
            data = self._text.getvalue().encode("utf-8", "backslashreplace")
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise disk_error(error, self.path) from None
        self._text.seek(0)
        self._text.truncate()

    def __enter__(self) -> CsvTable:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class VideoWriter:
    """The results of a video, frame by frame: `base.mp4`, `base.json`, `base.csv` and, optionally, `base-pts/`.

    Use it as a context manager; the files appear on exit.
    """

    def __init__(
        self, base: Path, source: str, rate: float, header: list[str], claims: Claims, *,
        weights: str, pose: bool, pts: bool,
    ):  # fmt: skip
        self._claims, self.source, self.weights = claims, source, weights
        self.base, self.rate, self.header, self.pose, self.pts = base, rate, header, pose, pts
        self._stack = ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._frame = 0

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            claims = self._claims
            self._video = stack.enter_context(atomic_file(self._name(".mp4"), ".mp4", claims))
            text = stack.enter_context(atomic_file(self._name(".json"), claims=claims))
            self._json: io.TextIOBase = stack.enter_context(text.open("w", encoding="utf-8"))
            table = stack.enter_context(atomic_file(self._name(".csv"), claims=claims))
            self._csv = stack.enter_context(CsvTable(table, self.header))
            self._stack = stack.pop_all()
        return self

    def _name(self, suffix: str) -> Path:
        return self.base.with_name(self.base.name + suffix)

    def write(self, image: np.ndarray, faces: Sequence[Face], time: float) -> np.ndarray:
        """Add one frame (H, W, 3) RGB and its time in seconds; returns the annotated image."""
        drawn = draw_faces(image, faces, self.pose)
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            try:
                self._writer = cv2.VideoWriter(str(self._video), code, self.rate, self._size)
            except (cv2.error, UnicodeError):  # a name that is not UTF-8
                self._writer = None
            if self._writer is None or not self._writer.isOpened():
                raise UserError(f"cannot write {self._name('.mp4')}: this OpenCV has no encoder for it")
        if (image.shape[1], image.shape[0]) != self._size:
            raise UserError(f"frame {self._frame} of {self.base.name} differs in size from the first")
        self._writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        if not self._frame:
            origin = {**origin_of(self.source, image, self.weights), "rate": self.rate}
            self._json.write(to_json(origin)[:-1] + ', "frames": [')
        entry = {"frame": self._frame, "time": round(time, 3), "faces": [face.to_dict() for face in faces]}
        self._json.write((",\n" if self._frame else "\n") + to_json(entry))
        for face in faces:
            self._csv.writerow(csv_row(self.source, self._frame, time, face, face.number or 1))
        if self.pts:
            write_points(self._name("-pts") / f"{self._frame:06d}", faces, self._claims)
        self._frame += 1
        return drawn

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.release()
        if self._frame == 0 and error[0] is None:
            error = (UserError, UserError(f"no frame in {self.base.name}"), None)
            self._stack.__exit__(*error)  # type: ignore[arg-type]
            raise error[1]  # type: ignore[misc]
        self._json.write("\n]}\n")
        self._stack.__exit__(*error)  # type: ignore[arg-type]
