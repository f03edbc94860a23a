"""Archives with head poses, each a tiny folder of the same layout."""

import os

import cv2
import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csr_array

from kd_loss.archives.pts import format_pts
from kd_loss.archives.registry import ArchiveRequest, read_archive
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepare_command import PrepareOptions, run_prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.imaging import geometry
from kd_loss.imaging.rotations import from_300wlp, from_angles, geodesic, to_angles, to_matrices
from kd_loss.schemes.benchmarks import W300
from kd_loss.schemes.generic_head import MIDDLE, POINTS, WIDTH
from kd_loss.schemes.pose import POSES
from kd_loss.schemes.registry import chosen_scheme
from kd_loss.synthetic.faces import face_landmarks
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick

#: as BIWI's `rgb.cal`: matrix, distortion, rotation and place (mm) against the depth camera, size
CAMERA = "500 0 320\n0 500 240\n0 0 1\n\n0 0 0 0\n\n1 0 0\n0 1 0\n0 0 1\n\n-20 0 0\n\n640 480\n"
GREY = np.full((480, 640, 3), 120, np.uint8)


def read(name, source, **more):
    return read_archive(chosen_scheme(name, ""), ArchiveRequest(source=str(source), **more))


def write_pose(folder, number, angles, place):
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"frame_{number:05d}_rgb.png"), GREY)
    rows = "\n".join(" ".join(f"{v:.8f}" for v in row) for row in from_angles(*angles))
    text = f"{rows}\n\n{' '.join(f'{v:.3f}' for v in place)}\n"
    (folder / f"frame_{number:05d}_pose.txt").write_text(text)
    (folder / "rgb.cal").write_text(CAMERA)


def test_biwi(tmp_path, capsys):
    for person in ("01", "02"):
        for number in range(3, 7):
            write_pose(tmp_path / person, number, (10.0 * number - 50, 5, -3), (20.0, 0, 1000))
    archive = read("pose_biwi", tmp_path)
    assert len(archive.samples) == 8
    splits = [{sample.split for sample in archive.samples if sample.group == person} for person in ("01", "02")]
    assert sorted(splits, key=str) == [{"test"}, {"train"}]  # whole persons
    place = archive.samples[0].place
    # 20 mm to the right of the depth camera is straight before the colour camera; 144 mm wide a metre away
    np.testing.assert_allclose([*place.middle, place.width], [320, 240, 72])
    np.testing.assert_allclose(to_angles(place.rotation), [-20, 5, -3], atol=1e-5)
    np.testing.assert_allclose(archive.samples[0].landmarks, [[284, 204], [356, 276]])
    run_prepare(PrepareOptions(dataset="pose_biwi", source=str(tmp_path), size=32, data=tmp_path / "data"))
    split = open_dataset("pose_biwi", tmp_path / "data").split("test")
    raw = split.scheme.raw(split.target)
    np.testing.assert_allclose(to_angles(to_matrices(raw[:, 0]))[:, 0], [-20, -10, 0, 10], atol=1e-3)
    np.testing.assert_allclose(raw[:, 1], [[0, 0, np.log(1.3)]] * 4, atol=1e-5)  # the crop is 1.3 heads wide
    assert "head pose" in capsys.readouterr().out


def test_damaged_biwi(tmp_path):
    write_pose(tmp_path / "01", 3, (0, 0, 0), (0.0, 0, 1000))
    texts = ("1 2 3", "a " * 12, "2 0 0 0 2 0 0 0 2 0 0 1000", "1 0 0 0 1 0 0 0 1 0 0 -9")
    for number, text in enumerate(texts, 4):
        write_pose(tmp_path / "01", number, (0, 0, 0), (0.0, 0, 1000))
        (tmp_path / "01" / f"frame_{number:05d}_pose.txt").write_text(text)
    write_pose(tmp_path / "01", 8, (0, 0, 0), (0.0, 0, 1000))
    (tmp_path / "01" / "frame_00008_rgb.png").unlink()
    problems = read("pose_biwi", tmp_path).problems
    assert [problem.rpartition(": ")[2] for problem in problems] == [
        "has fewer than 12 finite numbers",
        "contains something other than numbers",
        "its matrix is not a rotation",
        "the head is not in front of the camera",
        "no _rgb.png next to it",
    ]
    (tmp_path / "01" / "rgb.cal").unlink()
    assert len(read("pose_biwi", tmp_path).problems) == 6
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "readme.txt").write_text("nothing")
    for name in ("pose_biwi", "pose_300wlp", "pose_pointing04"):
        with pytest.raises(UserError, match="no annotated face"):
            read(name, empty)


def test_300wlp_and_aflw2000(tmp_path):
    """A turned generic head, seen from far away, in their angles; coordinates start at 1."""
    yaw, pitch, roll = 40.0, -10.0, 5.0  # to the picture's left
    rotation = from_300wlp(yaw, pitch, roll)
    head = (np.array(list(POINTS.values()), float) - MIDDLE) / WIDTH
    points = np.full((68, 2), 200.0)
    points[list(POINTS)] = (head @ rotation.T)[:, :2] * 150 + [220, 210]
    parameters = np.array([[*np.radians([pitch, yaw, roll]), 0, 0, 0, 1e-3]])
    folder = tmp_path / "AFW"
    folder.mkdir()
    for number in range(4):
        stem = f"AFW_100{number // 2}_{number % 2 + 1}_0"  # two faces of each photograph
        cv2.imwrite(str(folder / f"{stem}.jpg"), GREY)
        key, values = ("pt2d", points.T + 1) if number % 2 else ("pt3d_68", np.vstack([points.T + 1, np.zeros(68)]))
        savemat(folder / f"{stem}.mat", {"Pose_Para": parameters, key: values})
    (tmp_path / "landmarks" / "AFW").mkdir(parents=True)
    savemat(tmp_path / "landmarks" / "AFW" / "AFW_1000_1_0_pts.mat", {"pts_2d": points})
    archive = read("pose_300wlp", tmp_path, test_fraction=0.5)
    assert not archive.problems
    assert len({s.group for s in archive.samples}) == 2  # a photograph's views stay together
    assert {s.split for s in archive.samples} == {"train", "test"}
    place = archive.samples[0].place
    np.testing.assert_allclose([*place.middle, place.width], [220, 210, 150])
    assert to_angles(place.rotation)[0] == pytest.approx(-40, abs=2)
    assert len({s.group for s in read("pose_aflw2000", tmp_path).samples}) == 4
    savemat(folder / "AFW_1000_1_0.mat", {"Pose_Para": parameters})
    (folder / "AFW_1000_2_0.mat").write_bytes(b"no matrix")
    problems = read("pose_300wlp", tmp_path).problems
    assert "has no 68 points" in problems[0]
    assert "not a .mat file that SciPy can read" in problems[1]
    savemat(folder / "AFW_1000_1_0.mat", {"Pose_Para": [[0, 0, np.pi]], "pt2d": points.T})
    assert "do not match the rotation in Pose_Para" in read("pose_300wlp", tmp_path).problems[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Pose_Para": np.array([["a", {}], [1, 2]], object), "pt2d": np.eye(2, 68)}, "its Pose_Para is cell, not num"),
        ({"Pose_Para": "yaw", "pt2d": np.eye(2, 68)}, "its Pose_Para is char, not numbers"),
        ({"Pose_Para": {"yaw": 1.0, "pitch": 2.0}, "pt2d": np.eye(2, 68)}, "its Pose_Para is struct, not numbers"),
        ({"Pose_Para": [[0, 0, 0]], "pt2d": csr_array(np.eye(2, 68))}, "its pt2d is sparse, not numbers"),
        ({"Pose_Para": [[0, 0, 0]], "pt3d_68": np.array([["a"] * 68] * 2, object)}, "its pt3d_68 is cell, not numbers"),
        ({"Pose_Para": np.zeros((1, 2**21)), "pt2d": np.eye(2, 68)}, "its Pose_Para declares 2,097,152 numbers"),
        ({"pt2d": np.eye(2, 68)}, "has no Pose_Para"),
    ],
)
def test_a_mat_file_of_other_types_is_one_line(tmp_path, values, message):
    cv2.imwrite(str(tmp_path / "AFW_1.jpg"), GREY)
    savemat(tmp_path / "AFW_1.mat", values, do_compression=True)
    [problem] = read("pose_300wlp", tmp_path).problems
    assert message in problem


def test_notes_that_are_pipes_are_problems(tmp_path):
    cv2.imwrite(str(tmp_path / "AFW_1.jpg"), GREY)
    os.mkfifo(tmp_path / "AFW_1.mat")
    [problem] = read("pose_300wlp", tmp_path).problems
    assert problem.endswith("AFW_1.mat: is not a regular file")
    for name in ("frame_00003_pose.txt", "rgb.cal"):
        write_pose(tmp_path / name, 3, (0, 0, 0), (0, 0, 1000))
        (tmp_path / name / name).unlink()
        os.mkfifo(tmp_path / name / name)
        [problem] = read("pose_biwi", tmp_path / name).problems
        assert problem.endswith("is not a regular file")


@pytest.mark.parametrize("place", [(0, 0, 1e300), (1e300, 0, 1000), (0, -1e12, 1000), (0, 0, 1e7)])
def test_a_head_that_is_nowhere_is_skipped(tmp_path, place):
    """And does not end what `--skip-bad` goes on with."""
    for number in range(3, 9):
        write_pose(tmp_path / f"{number:02d}", number, (0, 0, 0), (20.0, 0, 1000) if number > 3 else place)
    manifest = run_prepare(
        PrepareOptions(dataset="pose_biwi", source=str(tmp_path), size=32, data=tmp_path / "data", skip_bad=True)
    )
    assert manifest["skipped"] == 1


def test_pointing04(tmp_path):
    folder = tmp_path / "Person01"
    folder.mkdir()
    for number, name in enumerate(("-30+45", "+0+0", "+15-90", "-90+0")):
        stem = f"personne011{number:02d}{name}"
        cv2.imwrite(str(folder / f"{stem}.jpg"), GREY)
        (folder / f"{stem}.txt").write_text(f"{stem}.jpg\nFace\n193\n150\n80\n100\n")
    archive = read("pose_pointing04", tmp_path)
    assert not archive.problems
    angles = [to_angles(sample.place.rotation).round(6).tolist() for sample in archive.samples]
    assert [-45, -30, 0] in angles  # tilt is pitch; pan is yaw with the other sign: positive to the picture's left
    assert [90, 15, 0] in angles
    np.testing.assert_allclose(archive.samples[0].landmarks, [[143, 100], [243, 200]])
    cv2.imwrite(str(folder / "personne01199.jpg"), GREY)
    cv2.imwrite(str(folder / "personne01198+0+0.jpg"), GREY)
    (folder / "personne01100-30+45.txt").write_text("Face 1 2 x y")
    problems = read("pose_pointing04", tmp_path).problems
    assert len(problems) == 3
    assert "does not end with the face's centre" in problems[0]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """`pose_w300` from a folder in 300W's layout of drawn faces."""
    root = tmp_path_factory.mktemp("w300")
    for part in ("afw", "helen/testset"):
        (root / part).mkdir(parents=True)
        for index in range(6):
            cv2.imwrite(str(root / part / f"{index}.png"), np.full((160, 160, 3), 90, np.uint8))
            (root / part / f"{index}.pts").write_text(format_pts(face_landmarks("w300", 160, 3, index)))
    data = root / "data"
    run_prepare(PrepareOptions(dataset="pose_w300", source=str(root), size=48, data=data))
    run_prepare(PrepareOptions(dataset="w300", source=str(root), size=48, data=data))
    return data


def test_annotated_points_determine_the_pose(annotated):
    poses, points = (open_dataset(name, annotated).split("train") for name in ("pose_w300", "w300"))
    np.testing.assert_array_equal(poses.images, points.images)
    np.testing.assert_allclose(poses.scheme.read(np.asarray(points.landmarks), W300), poses.landmarks, atol=2e-3)
    assert poses.subset.tolist() == ["afw"] * 6


def test_the_pose_follows_the_picture_through_augmentation(annotated):
    """In a batch the closed form is the pose of the moved points."""
    from kd_loss.datasets.augment import Augmentation

    poses, points = (open_dataset(name, annotated).split("train") for name in ("pose_w300", "w300"))
    batches = [
        FaceLoader(FaceSampler(split, seed=5), CropTransform(48, Augmentation()), batch_size=6)[0]
        for split in (poses, points)
    ]
    np.testing.assert_array_equal(batches[0][0], batches[1][0])
    scheme = poses.scheme
    recomputed = scheme.raw(scheme.read(batches[1][1]["landmarks"], W300))
    closed = scheme.raw(batches[0][1]["landmarks"])
    assert geodesic(to_matrices(recomputed[:, 0]), to_matrices(closed[:, 0])).max() < 0.5
    np.testing.assert_allclose(recomputed[:, 1], closed[:, 1], atol=0.01)


def test_what_poses_cannot_be_made_of_is_one_line(tmp_path):
    for changes, message in (
        ({"dataset": "pose_w300"}, "give the folder of the faces"),
        ({"dataset": "pose_w3"}, "did you mean 'pose_w300'"),
    ):
        with pytest.raises(UserError, match=message):
            run_prepare(PrepareOptions(**changes, data=tmp_path))
    with pytest.raises(UserError, match="landmarks, but the dataset '.*' has head pose"):
        run_prepare(PrepareOptions(dataset="pose_synthetic", count=4, extra_data=["wflw=x"], size=32, data=tmp_path))
    assert set(POSES) >= {"pose_synthetic", "pose_w300", "pose_biwi", "pose_300wlp", "pose_aflw2000", "pose_pointing04"}


def test_a_square_crop_keeps_the_turn(annotated):
    """A crop is a shift and a scale: only the middle and the width change in it."""
    split = open_dataset("pose_w300", annotated).split("train")
    affine = geometry.similarity(0.0, 1.2, (0.1, 0), False)
    before = split.scheme.raw(split.target[:1])
    after = split.scheme.raw(split.scheme.move(split.target[:1], affine, False))
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-6)
    np.testing.assert_allclose(after[:, 1, 2] - before[:, 1, 2], -np.log(1.2), atol=1e-6)
