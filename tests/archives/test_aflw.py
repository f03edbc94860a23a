"""AFLW and CFP as tables: rows by yaw, persons in one split."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from kd_loss.archives.aflw import SUBSETS, read_aflw
from kd_loss.archives.cfp import read_cfp
from kd_loss.archives.merge import add_faces
from kd_loss.archives.registry import ArchiveRequest, read_archive
from kd_loss.archives.sample import Archive
from kd_loss.imaging.rotations import to_angles, to_matrices
from kd_loss.schemes.benchmarks import AFLW21, CFP30, W300
from kd_loss.schemes.full_head import AFLW
from kd_loss.schemes.mirror import propose_mirror
from kd_loss.schemes.pose import POSES
from kd_loss.system.errors import UserError

YAWS = (0, -29.9, 30, 59.9, -60, 90, 120)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((50, 50, 3), np.uint8))


def row(name, points, empty=()):
    cells = [f"{v}" for v in np.arange(2.0 * points) % 37]
    for index in empty:
        cells[2 * index : 2 * index + 2] = ["", ""]
    return ",".join([name, *cells])


@pytest.fixture
def aflw(tmp_path):
    names = [f"images/image{i}.jpg" for i in range(1, len(YAWS) + 1)]
    for name in names:
        picture(tmp_path / name)
    (tmp_path / "landmarks.csv").write_text("\n".join(row(name, 21, empty=(0, 12)) for name in names))
    (tmp_path / "yaw.csv").write_text("\n".join(f"{n},{y}" for n, y in zip(names, YAWS, strict=True)))
    return tmp_path


def test_faces_with_missing_points_and_rows_by_yaw(aflw):
    archive = read_aflw(aflw)
    assert not archive.problems
    assert [s.subset for s in archive.samples] == [SUBSETS[i] for i in (0, 0, 1, 1, 2, 2, 2)]
    points = archive.samples[0].landmarks
    assert np.flatnonzero(np.isnan(points[:, 0])).tolist() == [0, 12]
    assert points[1].tolist() == [2, 3]
    assert float(archive.samples[4].attributes["yaw"]) == -60
    assert set(AFLW21.test_subsets) == set(SUBSETS)
    assert AFLW21.default_normaliser == "box"


def test_numbers_that_end_in_nought_are_for_testing_whatever_the_fraction(tmp_path):
    names = [f"images/image{i:05}.jpg" for i in (10, 11, 19, 20, 30, 101)] + ["images/portrait.jpg"]
    for name in names:
        picture(tmp_path / name)
    (tmp_path / "landmarks.csv").write_text("\n".join(row(name, 21) for name in names))
    for fraction in (0.0, 0.1):
        splits = {s.group: s.split for s in read_aflw(tmp_path, fraction).samples}
        assert [splits[name] for name in names[:-1]] == ["test", "train", "train", "test", "test", "train"]
    assert {s.group for s in add_faces(Archive(W300), read_aflw(tmp_path, 0.0)).samples} == {
        f"aflw/{names[i]}" for i in (1, 2, 5, 6)
    }


def test_the_poses_have_the_yaw_of_the_table_with_the_other_sign(tmp_path):
    names = [f"images/image{i}.jpg" for i in range(1, 6)]
    yaws = (60.0, -30.0, 0.0, 85.0, 120.0)
    rows = []
    for name, yaw in zip(names, yaws, strict=True):
        picture(tmp_path / name)
        turn = to_matrices([0.0, np.radians(yaw), 0.0])  # positive: to the left of the picture
        points = ((AFLW @ turn.T)[:, :2] * 0.05 + 25).reshape(-1)
        rows.append(",".join([name, *(f"{v:.3f}" for v in points)]))
    (tmp_path / "landmarks.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"no yaw.csv"):
        read_archive(POSES["pose_aflw"], ArchiveRequest(source=str(tmp_path)))
    (tmp_path / "yaw.csv").write_text("\n".join(f"{n},{y}" for n, y in zip(names, yaws, strict=True)))
    archive = read_archive(POSES["pose_aflw"], ArchiveRequest(source=str(tmp_path)))
    angles = [to_angles(sample.place.rotation) for sample in archive.samples]
    np.testing.assert_allclose(angles, [[-60, 0, 0], [30, 0, 0], [0, 0, 0], [-85, 0, 0]], atol=0.05)
    assert all(sample.place.width == pytest.approx(36, abs=2.5) for sample in archive.samples)  # 720 units
    assert "1 faces are turned away" in archive.warnings[0]
    # as further faces of another dataset of poses they have a yaw alone; a pose by PnP cannot be added
    base = read_archive(POSES["pose_synthetic"], ArchiveRequest(count=6))
    joined = add_faces(base, archive).samples[len(base.samples) :]
    assert [sample.name for sample in joined] == [f"pose_aflw/{sample.name}" for sample in archive.samples]
    assert all(sample.extra and sample.place.yaw_alone for sample in joined)
    assert [sample.place.known_yaw[0] for sample in joined] == [-60, 30, 0, -85]
    assert not any(sample.place.yaw_alone for sample in (*base.samples, *archive.samples))
    with pytest.raises(UserError, match="its poses are computed from landmarks"):
        add_faces(base, Archive(POSES["pose_w300"], [replace(archive.samples[0], place=None)]))
    with pytest.raises(
        UserError, match="--extra-data w300 has 68 landmarks, but the dataset 'pose_synthetic' has head pose"
    ):
        add_faces(base, Archive(W300))


def test_the_known_yaw_is_that_of_the_table_however_the_head_leans_and_nods(tmp_path):
    from_front = to_matrices([np.radians(-12), 0, 0]) @ to_matrices([0, np.radians(40), 0])
    turn = to_matrices([0, 0, np.radians(25)]) @ from_front
    points = ((AFLW @ turn.T)[:, :2] * 0.05 + 25).reshape(-1)
    picture(tmp_path / "images/image1.jpg")
    cells = ["images/image1.jpg", *(f"{v:.3f}" for v in points)]
    (tmp_path / "landmarks.csv").write_text(",".join(cells))
    (tmp_path / "yaw.csv").write_text("images/image1.jpg,40")
    [sample] = read_archive(POSES["pose_aflw"], ArchiveRequest(source=str(tmp_path))).samples
    assert sample.place.known_yaw == pytest.approx((-40, 25), abs=1.5)
    # along the image's axes the yaw of such a head is another one
    assert abs(to_angles(sample.place.rotation)[0] + 40) > 2


def test_the_command_knows_both(aflw):
    assert read_archive(AFLW21, ArchiveRequest(source=str(aflw))).scheme is AFLW21


def test_without_yaws_there_is_a_word_and_a_bad_table_is_one_line(aflw):
    table = aflw / "yaw.csv"
    table.write_text(table.read_text().partition("\n")[2])
    assert "no yaw of images/image1.jpg" in read_aflw(aflw).problems[0]
    for bad in ("a", "a,b", "a,nan", "\x00"):
        table.write_text(bad)
        with pytest.raises(UserError) as error:
            read_aflw(aflw)
        assert "\n" not in str(error.value)
    table.unlink()
    assert "no rows by yaw" in read_aflw(aflw).warnings[0]
    (aflw / "landmarks.csv").unlink()
    with pytest.raises(UserError, match=r"no landmarks.csv"):
        read_aflw(aflw)


def test_faces_of_which_one_point_is_known_are_not_added(aflw):
    table = aflw / "landmarks.csv"
    lines = table.read_text().splitlines()
    # of the 68 the left corner of the mouth alone
    lines[0] = row("images/image1.jpg", 21, empty=(6, 8, 9, 11, 14, 17, 20))
    table.write_text("\n".join(lines))
    joined = add_faces(Archive(W300), read_aflw(aflw, test_fraction=0.0))
    assert len(joined.samples) == len(YAWS) - 1
    known = np.flatnonzero(~np.isnan(joined.samples[0].landmarks[:, 0]))
    assert known.tolist() == [8, 30, 36, 39, 42, 45, 48, 54]
    assert all(sample.outline.shape == (68, 2) for sample in joined.samples)


def test_the_pictures_of_a_person_stay_in_one_split(tmp_path):
    names = [f"images/{p:03}/{kind}/{n:02}.jpg" for p in range(8) for kind in ("frontal", "profile") for n in (1, 2)]
    for name in names:
        picture(tmp_path / name)
    (tmp_path / "landmarks.csv").write_text("\n".join(row(name, 30) for name in names))
    archive = read_archive(CFP30, ArchiveRequest(source=str(tmp_path), test_fraction=0.25))
    assert archive.scheme is CFP30
    split = {}
    for sample in archive.samples:
        split.setdefault(sample.group, set()).add(sample.split)
    assert len(split) == 8
    assert sum(found == {"test"} for found in split.values()) == 2
    assert all(len(found) == 1 for found in split.values())
    assert {s.subset for s in archive.samples} == {"frontal", "profile"}


def test_thirty_points_in_another_layout_are_read_as_before(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "faces.csv").write_text(row("a.png", 30))
    assert len(read_cfp(tmp_path).samples) == 1


def test_the_pairs_of_aflw_are_what_its_faces_say(real_faces):
    faces = np.stack([s.landmarks for s in read_aflw(real_faces / "AFLW").samples[:1500]])
    proposed = propose_mirror(faces)
    assert proposed.pairs == tuple(sorted(AFLW21.pairs))
    assert proposed.sure
    assert proposed.margin > 0.03  # of the face: the next likely partner lies 4 % farther
