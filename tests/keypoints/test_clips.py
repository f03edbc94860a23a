"""Clips: what belongs together, pairs, and bad input in one line."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_loss.keypoints.clips import Clips, PairLoader, drawn_clips, frame_order, read_clips
from kd_loss.system.errors import UserError


def write(path, value=0, shape=(20, 30, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, value, np.uint8))


def folder(tmp_path, persons=6):
    for person in range(persons):
        for clip in range(2):
            for frame in range(3):
                write(tmp_path / f"some_one{person}_{clip}{frame}.png", 30 * person + 10 * clip + frame)
    return tmp_path


def test_names_define_clip_and_person(tmp_path):
    clips = read_clips(folder(tmp_path), 16)
    assert clips.frames.shape == (36, 16, 16, 3)
    assert clips.names[:2] == ["some_one0_0", "some_one0_1"]
    assert clips.persons[:3] == ["some_one0", "some_one0", "some_one1"]
    assert (clips.frames[:, 0, 0, 0] // 10 * 10 == np.repeat(np.arange(12) // 2 * 30 + np.arange(12) % 2 * 10, 3)).all()


def declared(path, side):
    """A PNG whose header says so many pixels on each side, and that holds none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: declared(path, 60_000), "does not decode as an image"),
        (lambda path: path.write_bytes(b""), "does not decode as an image"),
        (os.mkfifo, "is not a regular file"),
        (Path.mkdir, "is not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read"),
    ],
)
def test_a_frame_that_cannot_be_read_is_one_line(tmp_path, spoil, message):
    folder(tmp_path, persons=1)
    spoil(tmp_path / "some_one0_19.png")
    with pytest.raises(UserError, match=f"some_one0_19.png {message}"):
        read_clips(tmp_path, 16)


def test_a_name_that_is_no_text_is_a_clip_like_others(tmp_path):
    folder(tmp_path, persons=2)
    for number in b"01":
        write(tmp_path / "x.png")
        os.rename(tmp_path / "x.png", os.path.join(os.fsencode(tmp_path), b"b\xff_1%c.png" % number))
    clips = read_clips(tmp_path, 16)
    assert len(clips.persons) == 5
    assert len(clips.checksum) == 64
    assert sorted(np.concatenate(clips.split(0.3))) == list(range(5))


def test_a_folder_of_frames_is_a_clip(tmp_path):
    for clip in ("cat", "dog"):
        for frame in range(12):
            write(tmp_path / clip / f"{frame:04d}.png")
    clips = read_clips(tmp_path, 16)
    assert clips.names == ["cat", "dog"]
    assert np.bincount(clips.clip).tolist() == [12, 12]


def test_persons_are_never_in_both_parts(tmp_path):
    clips = read_clips(folder(tmp_path), 16)
    train, held = clips.split(0.3)
    assert len(held)
    assert sorted([*train, *held]) == list(range(12))
    assert not {clips.persons[i] for i in train} & {clips.persons[i] for i in held}
    assert len(clips.split(0.0)[1]) == 0


@pytest.mark.parametrize(("persons", "each"), [(3, 10), (5, 4), (2, 1), (1, 7)])
def test_few_persons_are_not_in_both_parts_either(persons, each):
    """Whatever their names: those of one person are split by clips."""
    for draw in range(50):
        of = [f"{draw}-{person}" for person in range(persons) for _ in range(each)]
        names = [f"{person}_{number}" for number, person in enumerate(of)]
        clips = Clips(np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, int), names, of)
        for share in (0.05, 0.1, 0.9):
            train, held = clips.split(share)
            assert len(train)
            assert len(held)
            assert persons == 1 or not {of[i] for i in train} & {of[i] for i in held}


def test_a_single_clip_is_trained_on(tmp_path):
    for frame in range(2):
        write(tmp_path / "cat" / f"{frame}.png", frame)
    train, held = read_clips(tmp_path, 16).split(0.1)
    assert (train.tolist(), held.tolist()) == ([0], [])


def test_folders_within_a_folder_are_clips_of_one_person(tmp_path):
    for clip in ("alice/a", "alice/b", "bob/a", "cat_1", "cat_2", "images"):
        for frame in range(2):
            write(tmp_path / clip / f"{frame}.png")
    clips = read_clips(tmp_path, 16)
    assert clips.names == ["alice/a", "alice/b", "bob/a", "cat_1", "cat_2", "images"]
    assert clips.persons == ["alice", "alice", "bob", "cat", "cat", "images"]


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    names = ["a2.png", "a10.png", "a1.png", "b1.png", "11.png"]
    assert sorted(names, key=lambda name: frame_order(tmp_path / name)) == [
        "11.png", "a1.png", "a2.png", "a10.png", "b1.png",
    ]  # fmt: skip


def test_the_middle_of_drawn_frames():
    whole, middle = drawn_clips(1, 64, 2), drawn_clips(1, 32, 2, crop=0.5)
    np.testing.assert_array_equal(middle.frames, whole.frames[:, 16:48, 16:48])


def test_other_pictures_have_another_checksum(tmp_path):
    first = read_clips(folder(tmp_path), 16).checksum
    assert read_clips(tmp_path, 16).checksum == first
    write(tmp_path / "some_one0_00.png", 7)
    assert read_clips(tmp_path, 16).checksum != first


def test_pairs_are_two_frames_of_one_clip_and_repeat_by_epoch(tmp_path):
    clips = read_clips(folder(tmp_path), 16)
    loader = PairLoader(clips, np.arange(12), 4, seed=3)
    batches = [loader[i][0] for i in range(len(loader))]
    levels = np.concatenate([[b["source"][:, 0, 0, 0], b["driving"][:, 0, 0, 0]] for b in batches], axis=1)
    assert (levels[0] // 10 == levels[1] // 10).all()
    assert (levels[0] != levels[1]).all()
    assert sorted(levels[0] // 10) == sorted(np.arange(12) // 2 * 3 + np.arange(12) % 2)
    again = PairLoader(clips, np.arange(12), 4, seed=3)
    assert all((again[1][0][name] == batches[1][name]).all() for name in batches[1])
    again.epoch = 1
    assert (again[1][0]["affine"] != batches[1]["affine"]).any()


def test_the_middle_is_taken(tmp_path):
    image = np.zeros((40, 80, 3), np.uint8)
    image[10:30, 30:50] = 255
    for frame in range(2):
        cv2.imwrite(str(tmp_path / f"a_0{frame}.png"), image)
    assert (read_clips(tmp_path, 8, crop=0.5).frames == 255).all()
    assert (read_clips(tmp_path, 8).frames[:, 0] == 0).all()


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such folder of clips"):
        read_clips(tmp_path / "none", 16)
    with pytest.raises(UserError, match="has no images"):
        read_clips(tmp_path, 16)
    write(tmp_path / "a_00.png")
    write(tmp_path / "b_00.png")
    with pytest.raises(UserError, match="no pair can be made in .*each of its 2 clips has one frame"):
        read_clips(tmp_path, 16)
    write(tmp_path / "a_01.png")
    assert read_clips(tmp_path, 16).left_out == 1
    write(tmp_path / "a_02.png", shape=(20, 31, 3))
    with pytest.raises(UserError, match="a_00.png has 30 × 20 pixels, a_02.png has 31 × 20"):
        read_clips(tmp_path, 16)
    (tmp_path / "a_02.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="a_02.png does not decode as an image"):
        read_clips(tmp_path, 16)
