import contextlib
import csv
import dataclasses
import json
import logging
import os
import struct

import cv2
import numpy as np
import pytest

from kd_loss.detection import Detection
from kd_loss.inference.predict_command import PredictOptions, run_predict
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in
from kd_loss.system.overwrite_guard import RECORD
from tests.inference.conftest import POINTS
from tests.inference.videos import film, uneven


@pytest.fixture(autouse=True)
def trusting(monkeypatch):
    """These networks have learned nothing: what they predict wanders and shrinks."""
    monkeypatch.setattr("kd_loss.inference.base.confirmed", lambda *_: True)
    monkeypatch.setattr("kd_loss.inference.tracking.SHRUNK", 0.0)
    monkeypatch.setattr("kd_loss.inference.tracking.SMALLEST", 2.0)


def test_a_picture_that_cannot_be_read_is_skipped(weights, tmp_path):
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 48, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    options = PredictOptions(
        sources=[str(tmp_path)], weights=str(weights), output=tmp_path / "out", detector="none", batch_size=2
    )
    with pytest.raises(UserError, match=r"1 of 3 images was skipped: .*b.png"):
        run_predict(options)
    with (tmp_path / "out" / "faces.csv").open() as file:
        assert [row["source"].rpartition("/")[2] for row in csv.DictReader(file)] == ["a.png", "c.png"]


def test_the_command_with_a_detector(weights, tmp_path, capsys, monkeypatch):
    found = [Detection((4, 4, 30, 30), 2.0), Detection((10, 10, 20, 20), 1.0)]
    monkeypatch.setattr("kd_loss.inference.predict_command.open_detector", lambda *_, **__: lambda image: found)
    picture = tmp_path / "photo.png"
    cv2.imwrite(str(picture), np.full((48, 48, 3), 90, np.uint8))
    options = PredictOptions(sources=[str(picture)], weights=str(weights), output=tmp_path / "out", draw_pose=True)
    assert len(run_predict(options)) == 2
    names = {"photo.png", "photo.json", "photo.pts", "photo-2.pts", "faces.csv", RECORD}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    faces = json.loads((tmp_path / "out" / "photo.json").read_text())["faces"]
    assert [face["score"] for face in faces] == [2.0, 1.0]
    assert set(faces[0]["pose"]) == {"yaw", "pitch", "roll"}
    header, *rows = csv.reader((tmp_path / "out" / "faces.csv").read_text().splitlines())
    assert len(header) == len(rows[0]) == 12 + 136
    assert [float(v) for v in rows[1][-2:]] == faces[1]["landmarks"][-1]
    assert "2 faces ->" in capsys.readouterr().out
    monkeypatch.undo()
    for changes, message in (
        ({"detector": "har"}, "did you mean 'haar'"),
        ({"detector": "finder", "min_score": 3.0}, "--min-score 3"),
        ({"detector": "haar", "smallest": 20.0}, "--smallest is for the finder"),
        ({"refine": -1}, "--refine -1"),
        ({"detect_every": 0}, "--detect-every"),
        ({"smooth": -1.0}, "--smooth"),
        ({"box": "1,2,3"}, "--box 1,2,3 is not"),
        ({"box": "1,2,3,nan"}, "no valid size"),
        ({"detector": "yunet"}, "--detector-model FILE"),
        ({"detector": "yunet", "detector_model": "none.onnx"}, "no such detector model"),
        ({"detector": "yunet", "detector_model": str(weights)}, "does not load as a YuNet model"),
    ):
        with pytest.raises(UserError, match=message):
            run_predict(dataclasses.replace(options, **changes))


def test_no_face_is_an_empty_list_and_a_hint(weights, tmp_path, caplog):
    caplog.set_level(logging.INFO, "kd_loss")
    cv2.imwrite(str(tmp_path / "sky.png"), np.full((64, 64, 3), 200, np.uint8))
    options = PredictOptions(sources=[str(tmp_path / "sky.png")], weights=str(weights), output=tmp_path / "out")
    assert run_predict(options) == []
    result = json.loads((tmp_path / "out" / "sky.json").read_text())
    assert (result["faces"], result["width"], result["height"]) == ([], 64, 64)
    assert "--detector none" in caplog.text


def test_mirrored_answers_have_a_confidence(weights, tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), np.full((64, 64, 3), 200, np.uint8))
    files = {"sources": [str(tmp_path / "face.png")], "weights": str(weights), "detector": "none"}
    [once] = run_predict(PredictOptions(**files, output=tmp_path / "once"))
    [twice] = run_predict(PredictOptions(**files, output=tmp_path / "twice", flip_test=True))
    assert once.confidence is None
    # the network answers the same whatever it sees: its answers agree where its points are symmetrical
    turned = POINTS[W300.flip_index] * (-1, 1)
    apart = np.linalg.norm(POINTS - turned, axis=1)
    np.testing.assert_allclose(twice.confidence, 1 / (1 + ((apart + apart.mean()) / 0.03) ** 2), rtol=1e-3)
    middle = (once.landmarks + (once.landmarks[W300.flip_index] * (-1, 1) + (63, 0))) / 2
    np.testing.assert_allclose(twice.landmarks, middle, atol=1e-2)
    [observed] = json.loads((tmp_path / "twice" / "face.json").read_text())["faces"]
    assert len(observed["confidence"]) == 68
    header = (tmp_path / "twice" / "faces.csv").read_text().splitlines()[0].split(",")
    assert "confidence67" in header


def test_a_video(weights, tmp_path, capsys):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(6):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    out = tmp_path / "out"
    options = PredictOptions(
        sources=[str(path)], weights=str(weights), output=out, box="20,10,30,30", smooth=1.0, video_pts=True, frames=4
    )
    [face] = run_predict(options)
    assert face.number == 1
    assert {p.name for p in out.iterdir()} == {"film.mp4", "film.json", "film.csv", "film-pts", RECORD}
    assert sorted(p.name for p in (out / "film-pts").iterdir()) == [f"00000{i}.pts" for i in range(4)]
    frames = json.loads((out / "film.json").read_text())
    assert frames["rate"] == 10
    assert [(f["frame"], len(f["faces"])) for f in frames["frames"]] == [(i, 1) for i in range(4)]
    assert len((out / "film.csv").read_text().splitlines()) == 5
    capture = cv2.VideoCapture(str(out / "film.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert "4 frames, 4 with a face" in capsys.readouterr().out


def picture(path, side=48):
    assert cv2.imwrite(str(path), np.full((side, side, 3), 90, np.uint8))
    return path


def sources_of(table):
    with table.open() as file:
        return [row["source"].rpartition("/")[2] for row in csv.DictReader(file)]


def test_rows_are_there_as_they_are_found(weights, tmp_path, monkeypatch):
    """Ctrl-C at the third of four pictures: what `faces.csv` holds is what the pictures hold."""
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    seen = []

    def detect(image):
        seen.append(image)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return [Detection((4, 4, 30, 30), 2.0)]

    monkeypatch.setattr("kd_loss.inference.predict_command.open_detector", lambda *_, **__: detect)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_predict(PredictOptions(sources=[str(tmp_path)], weights=str(weights), output=out))
    assert sources_of(out / "faces.csv") == ["a.png", "b.png"]
    assert {p.stem for p in out.glob("*.png")} == {"a", "b"}
    assert not list(out.glob(".tmp-*"))


def test_a_name_that_is_not_utf8_loses_no_row(weights, tmp_path):
    picture(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/a\xff.png")
    picture(tmp_path / "b.png")
    options = PredictOptions(sources=[str(tmp_path)], weights=str(weights), output=tmp_path / "out", detector="none")
    with contextlib.suppress(UnicodeEncodeError):  # pytest's own stream; the command's takes any name
        run_predict(options)
    assert sources_of(tmp_path / "out" / "faces.csv")[0] == "a\\udcff.png"


@pytest.mark.parametrize("name", ["a.json", "faces.csv", "a-2.pts"])
def test_a_file_of_the_users_is_not_replaced(weights, tmp_path, monkeypatch, name):
    found = [Detection((4, 4, 30, 30), 2.0), Detection((10, 10, 20, 20), 1.0)]
    monkeypatch.setattr("kd_loss.inference.predict_command.open_detector", lambda *_, **__: lambda image: found)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    options = PredictOptions(
        sources=[str(picture(tmp_path / "a.png"))], weights=str(weights), output=tmp_path / "out"
    )  # fmt: skip
    with pytest.raises(UserError, match=f"{name} already exists, and kd-loss did not write it"):
        run_predict(options)
    assert (tmp_path / "out" / name).read_text() == "mine"
    (tmp_path / "out" / name).unlink()
    for _ in range(2):  # its own may be replaced
        assert len(run_predict(options)) == 2


def test_a_line_break_in_a_name_takes_no_file_of_the_users(weights, tmp_path):
    out = tmp_path / "out"
    common = {"weights": str(weights), "output": out, "detector": "none"}
    run_predict(PredictOptions(sources=[str(picture(tmp_path / "nl\nvictim.png"))], **common))
    (out / "victim.json").write_text("mine")
    with pytest.raises(UserError, match=r"victim.json already exists, and kd-loss did not write it"):
        run_predict(PredictOptions(sources=[str(picture(tmp_path / "victim.png"))], **common))
    assert (out / "victim.json").read_text() == "mine"


def test_a_video_that_cannot_be_read_claims_nothing(weights, tmp_path):
    (tmp_path / "audio.mp4").write_text("no video")
    options = PredictOptions(sources=[str(tmp_path / "audio.mp4")], weights=str(weights), output=tmp_path / "out")
    for _ in range(2):
        with pytest.raises(UserError, match="cannot open"):
            run_predict(options)
        assert not (tmp_path / "out").exists()


def test_the_points_of_a_video_replace_nothing_of_the_users(weights, tmp_path):
    film(tmp_path / "film.avi", 2)
    mine = tmp_path / "out" / "film-pts" / "000001.pts"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    options = PredictOptions(
        sources=[str(tmp_path / "film.avi")], weights=str(weights), output=tmp_path / "out", box="20,10,30,30",
        video_pts=True,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"000001.pts already exists, and kd-loss did not write it"):
        run_predict(options)
    assert mine.read_text() == "mine"
    mine.unlink()
    for _ in range(2):
        run_predict(options)
    assert mine.is_file()


def test_two_at_once_do_not_write_into_one_folder(weights, tmp_path):
    out = tmp_path / "out"
    options = PredictOptions(
        sources=[str(picture(tmp_path / "a.png"))], weights=str(weights), output=out, detector="none"
    )  # fmt: skip
    with alone_in(out), pytest.raises(UserError, match=f"another kd-loss process is writing {out}"):
        run_predict(options)
    assert len(run_predict(options)) == 1


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_frames_that_last_unequally_long(weights, tmp_path, suffix):
    """Ten frames of 100 ms, ten of 300: a valid video, whose times are written."""
    times = [*range(0, 1000, 100), *range(1000, 4000, 300)]
    options = PredictOptions(
        sources=[str(uneven(tmp_path / f"film.{suffix}", times))], weights=str(weights), output=tmp_path / "out",
        box="20,10,30,30",
    )  # fmt: skip
    run_predict(options)
    observed = json.loads((tmp_path / "out" / "film.json").read_text())["frames"]
    assert [frame["time"] for frame in observed] == [ms / 1000 for ms in times]
    with (tmp_path / "out" / "film.csv").open() as file:
        assert [float(row["time"]) for row in csv.DictReader(file)] == [ms / 1000 for ms in times]


def test_an_uneven_truncated_video_is_reported(weights, tmp_path):
    """Its header promises ten seconds more than there are."""
    path = uneven(tmp_path / "film.mkv", [*range(0, 1000, 100), *range(1000, 4000, 300)])
    data = path.read_bytes()
    assert data.count(struct.pack(">d", 4000)) == 1
    path.write_bytes(data.replace(struct.pack(">d", 4000), struct.pack(">d", 14000)))
    options = PredictOptions(sources=[str(path)], weights=str(weights), output=tmp_path / "out", box="20,10,30,30")
    with pytest.raises(UserError, match=r"film.mkv is truncated: 20 of 140 frames"):
        run_predict(options)


def test_one_bad_source_does_not_stop_the_others(weights, tmp_path, capsys, caplog):
    for name in ("a.png", "d.png"):
        picture(tmp_path / name)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((1, 1, 3), np.uint8))
    (tmp_path / "c.mp4").write_text("no video")
    out = tmp_path / "out"
    options = PredictOptions(sources=[str(tmp_path)], weights=str(weights), output=out, detector="none")
    with pytest.raises(UserError, match=r"2 of 4 sources were skipped: .*b.png is an image of 1 × 1 pixels"):
        run_predict(options)
    assert sources_of(out / "faces.csv") == ["a.png", "d.png"]
    assert "skipped: cannot open" in caplog.text
    assert "d.png: 1 face ->" in capsys.readouterr().out


def test_pipes_and_endless_names_do_not_stop_the_others(weights, tmp_path):
    """A name of 244 bytes leaves no room for a temporary one; one of 255 none for those of its results."""
    names = ["a.png", "c" * 240 + ".png", "d" * 251 + ".png"]
    for name in names:
        picture(tmp_path / "x.png").rename(tmp_path / name)
    os.mkfifo(tmp_path / "b.mp4")
    os.mkfifo(tmp_path / "e.png")
    options = PredictOptions(
        sources=[str(tmp_path)], weights=str(weights), output=tmp_path / "out", detector="none"
    )  # fmt: skip
    with pytest.raises(
        UserError, match="3 of 5 sources were skipped: .*its name is too long for the names of its result"
    ):
        run_predict(options)
    assert sources_of(tmp_path / "out" / "faces.csv") == names[:2]
    with pytest.raises(UserError, match="its name is too long"):
        run_predict(dataclasses.replace(options, sources=[str(tmp_path / names[2])]))


def test_a_box_outside_of_the_picture_is_no_face(weights, tmp_path):
    options = PredictOptions(
        sources=[str(picture(tmp_path / "a.png"))], weights=str(weights), output=tmp_path / "out", box="5000,10,30,30"
    )
    with pytest.raises(UserError, match=r"a.png: the box 5000,10,30,30 is outside the image \(48 × 48\)"):
        run_predict(options)


def test_a_cut_video_is_reported(weights, tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    noise = np.random.default_rng(0)
    for _ in range(20):
        writer.write(noise.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    options = PredictOptions(sources=[str(path)], weights=str(weights), output=tmp_path / "out", box="20,10,30,30")
    with pytest.raises(
        UserError, match=r"film.avi is truncated: \d+ of 20 frames could be read; their results are kept"
    ):
        run_predict(options)
    assert 5 < len((tmp_path / "out" / "film.csv").read_text().splitlines()) < 15
    assert len(run_predict(dataclasses.replace(options, frames=3))) == 1  # what was asked for was there


def test_no_display_is_one_line(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    (tmp_path / "film.mp4").write_text("")
    options = PredictOptions(sources=[str(tmp_path / "film.mp4")], weights=str(weights), show=True)
    with pytest.raises(UserError, match="--show needs a display"):
        run_predict(options)
