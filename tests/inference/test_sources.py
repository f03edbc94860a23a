"""Pictures of every kind, and what is none."""

import io
import os
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest

from kd_loss.inference import sources
from kd_loss.inference.sources import Picture, Video, find_sources, read_picture
from kd_loss.system.errors import UserError


def gradient(height=24, width=36):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 8, columns * 6, np.full_like(rows, 90)], axis=2).astype(np.uint8)


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def test_folders_are_searched_to_the_bottom(tmp_path):
    names = ("b.png", "x/a.jpg", "x/y/a.jpg", ".hidden/c.png", "out/d.png", "x/out/e.png", "x/notes.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "x" / "circle").symlink_to(tmp_path)
    found = find_sources([str(tmp_path)], tmp_path / "x" / ".." / "out")
    relative = [picture.path.relative_to(tmp_path).as_posix() for picture in found]
    assert relative == ["b.png", "x/a.jpg", "x/out/e.png", "x/y/a.jpg"]


def test_finding_sources(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt"):
        (tmp_path / name).write_text("")
    assert [p.path.name for p in find_sources([str(tmp_path)])] == ["a.JPG", "b.png"]
    assert find_sources(["-"])[0].path.name == "stdin"
    (tmp_path / "v.mp4").write_text("no video")
    for given, message in (
        (["nowhere.jpg"], "no such image or video: nowhere.jpg"),
        ([], "give an image"),
    ):
        with pytest.raises(UserError, match=message):
            find_sources(given)
    for given, message in (("17", "the camera 17"), (str(tmp_path / "v.mp4"), ".*v.mp4 as a video")):
        [video] = find_sources([given])  # a bad one does not stop the others
        with pytest.raises(UserError, match=f"cannot open {message}"):
            video.open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image or video in the folder"):
        find_sources([str(tmp_path / "empty")])


def test_colours_come_as_rgb(tmp_path):
    rgb = gradient()
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    np.testing.assert_array_equal(read_picture(write(tmp_path / "a.png", bgr)), rgb)
    with_alpha = np.dstack([bgr, np.full(bgr.shape[:2], 128, np.uint8)])
    np.testing.assert_array_equal(read_picture(write(tmp_path / "b.png", with_alpha)), rgb)
    deep = bgr.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_picture(write(tmp_path / "c.png", deep)), rgb)
    grey = read_picture(write(tmp_path / "d.png", bgr[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(bgr[..., :1], 3, axis=2))


def test_a_photograph_is_turned_upright(tmp_path):
    """EXIF orientation 6: the stored picture has to be turned clockwise by a quarter."""
    upright = gradient()
    stored = cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(stored, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    seen = read_picture(tmp_path / "a.jpg")
    assert seen.shape == upright.shape
    assert np.abs(seen.astype(int) - upright).mean() < 4


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(png)
    with pytest.raises(UserError, match="bomb.png does not decode"):
        read_picture(tmp_path / "bomb.png")


def test_standard_input(monkeypatch):
    data = cv2.imencode(".png", cv2.cvtColor(gradient(), cv2.COLOR_RGB2BGR))[1].tobytes()

    class Stdin:
        buffer = io.BytesIO(data)

    monkeypatch.setattr(sources.sys, "stdin", Stdin)
    [picture] = find_sources(["-"])
    assert isinstance(picture, Picture)
    np.testing.assert_array_equal(picture.read(), gradient())
    Stdin.buffer = io.BytesIO(b"nothing")
    with pytest.raises(UserError, match="standard input does not decode"):
        picture.read()


def test_frames_of_a_video(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (36, 24))
    for i in range(5):
        writer.write(np.full((24, 36, 3), 40 * i, np.uint8))
    writer.release()
    [video] = find_sources([str(path)])
    assert isinstance(video, Video)
    video.open()
    assert (video.rate, video.count, video.camera) == (10, 5, False)
    assert [round(float(frame.mean()) / 40) for frame in video] == [0, 1, 2, 3, 4]


def film(path, frames=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (36, 24))
    for i in range(frames):
        writer.write(np.full((24, 36, 3), 40 * i % 256, np.uint8))
    writer.release()
    return path


def test_a_list_of_other_files_is_no_video(tmp_path):
    """FFmpeg takes a text that starts with `ffconcat` for a list of files to read, and a name with % for many."""
    film(tmp_path / "private.avi")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {tmp_path / 'private.avi'}\n")
    (tmp_path / "play.mkv").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'private.avi'}\n#EXT-X-ENDLIST\n")
    (tmp_path / "%02d.mov").write_text("no video")
    for i in range(3):
        write(tmp_path / f"{i:02d}.mov.png", gradient())
        (tmp_path / f"{i:02d}.mov.png").rename(tmp_path / f"{i:02d}.mov")
    for name in ("list.mp4", "play.mkv", "%02d.mov"):
        with pytest.raises(UserError, match=f"cannot open .*{name} as a video"):
            Video(str(tmp_path / name)).open()


def test_many_videos_are_not_open_at_once(tmp_path):
    source = film(tmp_path / "0.avi").read_bytes()
    for i in range(1, 300):
        (tmp_path / f"{i}.avi").write_bytes(source)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        videos = find_sources([str(tmp_path)])
        assert [sum(1 for _ in video) for video in videos] == [5] * 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_pipe_and_a_pixel_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match="pipe.png is not a regular file"):
        find_sources([str(tmp_path)])[0].read()
    with pytest.raises(UserError, match="dot.png is an image of 36 × 1 pixels, too small"):
        read_picture(write(tmp_path / "dot.png", gradient(1)))


def test_closed_standard_input_is_one_line(monkeypatch):
    monkeypatch.setattr(sources.sys, "stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        find_sources(["-"])[0].read()
