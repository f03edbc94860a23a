"""Crops by the finder: from pixels of what it looked at to those of the source, and faces that it does not find."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kd_loss.evaluation import found
from kd_loss.evaluation.report_content import lines_of
from kd_loss.evaluation.result import Result
from kd_loss.evaluation.test_command import EvaluationOptions, run_test
from kd_loss.imaging import geometry
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError

STUDENT = Path(__file__).parents[2] / "models" / "students" / "student_w300.tflite"


@pytest.fixture
def annotated(synthetic):
    split = synthetic.split("test")
    about = {"name": "own", "weights": "a.h5", "network": {"parameters": 1, "arch": "tiny", "size": 32}}
    return Result.of(split, np.array(split.landmarks), None, **about)


def answer(monkeypatch, *answers):
    """A predictor that has for each picture these arrays of landmarks, in pixels of the picture."""
    faces = iter([[SimpleNamespace(landmarks=points) for points in here] for here in answers])
    predictor = SimpleNamespace(scheme=W300)
    monkeypatch.setattr(found.LandmarkPredictor, "load", lambda *_, **__: Predictor(predictor, faces))


class Predictor:
    def __init__(self, about, faces):
        self.scheme, self._faces = about.scheme, faces

    def __call__(self, pictures):
        return [next(self._faces) for _ in pictures]


def test_from_the_stored_crop_to_the_source(monkeypatch, annotated):
    """All three pixels of the crop to the right; nobody in the first picture, somebody else in the second, too."""
    split = annotated.split
    pixels = geometry.denormalise(split.landmarks, split.size) + split.border + (3, 0)
    answers = [[points] for points in pixels]
    answers[0] = []
    answers[1] = [pixels[1] + 1000, pixels[1]]
    answer(monkeypatch, *answers)
    result = found.found_result(annotated, flip_test=False)
    assert (result.name, result.network["found"]) == ("own, finder (9 of 10 found)", 9)
    assert np.isnan(result.nme[0])
    moved = np.linalg.norm(result.predicted - result.truth, axis=-1)[1:]
    scale = np.array([affine[0, 0] for affine in split.affine])[1:]
    np.testing.assert_allclose(moved * scale[:, None], 3, atol=1e-3)
    np.testing.assert_allclose((result.normalised - split.landmarks)[1:, :, 0], 3 / split.size, atol=1e-5)
    assert result.scores()["full"].faces == 9
    assert result.network["found_nme_annotated"] == pytest.approx(0, abs=1e-6)
    assert any("excluded from all its figures" in line for line in lines_of([result]))


def test_another_person_is_not_the_face(monkeypatch, annotated):
    split = annotated.split
    pixels = geometry.denormalise(split.landmarks, split.size)
    answer(monkeypatch, *([points + 1000] for points in pixels))
    with pytest.raises(UserError, match="no face of .* was found"):
        found.found_result(annotated, flip_test=False)


def test_photographs_by_the_names_of_the_faces(monkeypatch, annotated, tmp_path):
    """The second face of a photograph is `name#1`, its file without."""
    split = annotated.split
    names = np.array([f"{i // 2}.png#{i % 2}" for i in range(len(split))])
    renamed = dataclasses.replace(annotated, split=dataclasses.replace(split, name=names))
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((8, 8, 3), np.uint8))
    answer(monkeypatch, *([points] for points in annotated.truth))
    assert np.nanmax(found.found_result(renamed, False, str(tmp_path)).nme) == 0
    (tmp_path / "3.png").unlink()
    answer(monkeypatch, *([points] for points in annotated.truth))
    with pytest.raises(UserError, match=r"--source: the photograph .*3.png of a test face cannot be read"):
        found.found_result(renamed, False, str(tmp_path))


def test_the_command(data_folder, tmp_path):
    """The shipped student on drawn faces."""
    options = EvaluationOptions(
        weights=[str(STUDENT)], dataset="synthetic", data=data_folder, output=str(tmp_path), finder=True, beside=False
    )
    own, by_finder = run_test(options)["networks"]
    assert own["name"] == "student_w300"
    assert by_finder["found"] >= 5
    assert by_finder["scores"]["inter_ocular"]["full"]["faces"] == by_finder["found"]
    assert by_finder["scores"]["inter_ocular"]["full"]["nme"] < 2 * own["scores"]["inter_ocular"]["full"]["nme"]
    with pytest.raises(UserError, match="--source is for --finder"):
        run_test(dataclasses.replace(options, finder=False, source=str(tmp_path)))
    with pytest.raises(UserError, match="no such folder: nowhere"):
        run_test(dataclasses.replace(options, source="nowhere"))
