"""Closed streams, native libraries that talk, and Ctrl-C at any moment: one line and the right exit code."""

import functools
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from kd_loss.datasets.prepared import open_dataset
from kd_loss.system.files import sha256
from kd_loss.system.terminal import counted
from tests.networks.test_size_limits import onnx_file

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]
PREPARE_OWN = "prepare --dataset four --scheme s.json --source . --size 32 --data ../made"
PREPARE = "prepare --dataset synthetic --count 12 --size 32"


def shell(line, cwd, data=None):
    """A command line of `kd-loss` with redirections, in a shell."""
    command = f'"{sys.executable}" -m kd_loss {line}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, env=environment, input=data, timeout=300, check=False
    )


def checksums(folder):
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*.npy"))}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    assert shell(PREPARE, folder).returncode == 0
    return checksums(folder / "data")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(undisturbed, tmp_path, closed):
    """A file that is opened must not get the number of a closed stream, into which libraries write."""
    done = shell(f"{PREPARE} {closed}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert checksums(tmp_path / "data") == undisturbed


def test_an_error_without_a_standard_error(tmp_path):
    done = shell("prepare --dataset nonsense 2>&-", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


def test_a_full_standard_output_is_one_line(tmp_path):
    done = shell(f"{PREPARE} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the disk is full at standard output")


def test_a_picture_on_a_closed_standard_input(tmp_path):
    done = shell("predict - --detector none <&-", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(b"error: ")
    assert b"standard input" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_display_that_is_not_there(tmp_path, monkeypatch):
    """Qt ends a process that has none."""
    for name in ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":987")
    (tmp_path / "film.mp4").write_text("")
    done = shell("predict film.mp4 --show", tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert done.stderr.startswith(b"error: --show needs a display")


def test_pictures_whose_names_are_not_utf8_are_prepared(tmp_path):
    points = np.array([[5, 6], [40, 8], [20, 30], [33, 50]], np.float32)
    (tmp_path / "own").mkdir()
    for index in range(4):
        stem = os.path.join(os.fsencode(tmp_path / "own"), b"\xff\xfe%d" % index)
        picture = np.random.default_rng(index).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Path(os.fsdecode(stem + b".png")).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        np.save(os.fsdecode(stem + b".npy"), points + index)
    (tmp_path / "s.json").write_text('{"name": "four", "points": 4}')
    done = shell("prepare --dataset four --scheme s.json --source own --size 32", tmp_path)
    assert done.returncode == 0, done.stderr
    split = open_dataset("four", tmp_path / "data").split("train")
    assert all(name.startswith("\udcff\udcfe") for name in split.name.tolist())


def test_nul_in_options_is_one_line(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"source": "a\0b"}))
    done = shell("prepare --dataset w300 --config c.json", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"source" in done.stderr


def test_more_faces_than_the_disk_has_room_for(tmp_path):
    done = shell("prepare --dataset synthetic --count 1000000000", tmp_path)
    assert done.returncode == 2
    assert b"1,250,000,000 faces of 224 px take" in done.stderr
    assert not (tmp_path / "data").exists()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_libraries_do_not_talk_between_our_lines(tmp_path, monkeypatch):
    """A picture at which libpng warns, and one that is cut, at which it warns again."""
    png = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))[1].tobytes()
    bad_profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))
    for name, data in (("a", png[:33] + bad_profile + png[33:]), ("b", png[: len(png) // 2])):
        (tmp_path / f"{name}.png").write_bytes(data)
    rows = [f"{name}.png," + ",".join(str(5 + 11 * i % 47) for i in range(8)) for name in "ab"]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    (tmp_path / "s.json").write_text('{"name": "four", "points": 4}')
    done = shell(PREPARE_OWN, tmp_path)
    lines = done.stderr.decode().splitlines()
    assert lines
    assert all(text.startswith(("bad: ", "warning: ", "error: ")) for text in lines), lines
    monkeypatch.setenv("KD_LOSS_NATIVE_MESSAGES", "1")
    assert b"libpng warning" in shell(PREPARE_OWN, tmp_path).stderr


def damaged_films_and_pictures(folder):
    """Files at which libjpeg, libtiff, OpenCV and FFmpeg print something."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    for suffix, start, values in ((".jpg", 700, bytes(range(1, 200, 7))), (".tif", 4, b"\xf0\xff\xff\x7f")):
        data = bytearray(cv2.imencode(suffix, smooth)[1].tobytes())
        data[start : start + len(values)] = values
        (folder / f"spoilt{suffix}").write_bytes(data)
    writer = cv2.VideoWriter(str(folder / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(4):
        writer.write(noise[:48, :64])
    writer.release()
    data = bytearray((folder / "film.mp4").read_bytes())
    for place in range(1000, len(data) - 2000, 300):
        data[place : place + 8] = b"\xff" * 8
    (folder / "film.mp4").write_bytes(data)
    (folder / "text.mp4").write_text("no film")


def test_nothing_of_opencv_and_ffmpeg_between_our_lines(tmp_path, monkeypatch):
    damaged_films_and_pictures(tmp_path)
    line = "predict . --detector none --output ../out"
    done = shell(line, tmp_path)
    assert done.returncode == 2
    ours = ("warning: skipped: ", "error: ", "spoilt.jpg: 1 face", "film.mp4: ")
    lines = [text for text in (done.stdout + done.stderr).decode().replace("\r", "\n").splitlines() if text.strip()]
    assert len(lines) > 3
    assert all(text.startswith(ours) for text in lines), lines
    monkeypatch.setenv("KD_LOSS_NATIVE_MESSAGES", "1")
    shown = shell(line, tmp_path).stderr
    for library in (b"Corrupt JPEG data", b"TIFF_Error", b"[mpeg4 @", b"moov atom not found", b"VIDEOIO(FFMPEG)"):
        assert library in shown


def test_nothing_of_onnx_runtime_between_our_lines(tmp_path, monkeypatch):
    """A network that opens and fails when it runs: ONNX Runtime prints the failure as well as raising it."""
    node = onnx.helper.make_node
    nodes = [
        node("ReduceMean", ["image"], ["mean"], axes=[0, 1, 2], keepdims=0),
        node("Gather", ["mean", "place"], ["eight"]),
        node("Reshape", ["eight", "to"], ["points"]),
    ]
    onnx_file(tmp_path / "net.onnx", nodes, place=np.arange(8), to=np.array([1, 4, 2]))
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    line = "predict a.png --weights net.onnx --detector none --output out"
    done = shell(line, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1
    assert done.stdout == b""
    monkeypatch.setenv("KD_LOSS_NATIVE_MESSAGES", "1")
    assert b"onnxruntime:" in shell(line, tmp_path).stderr


def interrupted(line, cwd, delay):
    """Exit code, error and seconds of a command that gets Ctrl-C after a delay."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *line.split()]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts with & ignores it
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, preexec_fn=heed
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    return process.returncode, error.decode()


@pytest.mark.parametrize("delay", [0.6, 2.0, 5.0, *(pytest.param(d, marks=pytest.mark.slow) for d in (1.0, 3.5, 7.0))])
def test_ctrl_c_in_the_first_seconds(tmp_path, data_folder, delay):
    """While modules are imported, while the dataset is opened, while a network is built and traced."""
    line = (
        f"-m tests.tiny train-student --arch tiny --dataset synthetic --data {data_folder} --runs {tmp_path} "
        "--method none --epochs 500 --size 32 --quiet"
    )
    assert interrupted(line, ROOT, delay) == (130, "stopped\n")


def test_ctrl_c_is_reported_while_the_error_stream_is_muted(tmp_path):
    """As it is while the modules of a command are imported."""
    script = tmp_path / "muted.py"
    script.write_text(
        "import os, signal, time\n"
        "from kd_loss.system.terminal import quiet_stderr\n"
        "from kd_loss.system.terminal import at_once, catch_interrupts, interruptible, open_streams\n"
        "catch_interrupts(), open_streams(), interruptible()\n"
        "with quiet_stderr(), at_once():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
    )
    assert interrupted(str(script), tmp_path, 0.5) == (130, "stopped\n")


def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    line = f"-m kd_loss prepare --dataset synthetic --count 3000 --size 128 --data {tmp_path}"
    code, error = interrupted(line, tmp_path, 2.5)
    assert (code, error.splitlines()[-1]) == (130, "stopped")
    assert not list(tmp_path.iterdir())


def test_numbers_and_words():
    assert [counted(n, "face") for n in (0, 1, 2, 1200)] == ["0 faces", "1 face", "2 faces", "1,200 faces"]
