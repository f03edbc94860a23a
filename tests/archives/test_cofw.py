"""The archive of COFW, in MATLAB files."""

import h5py
import numpy as np
import pytest

from kd_loss.archives.cofw import read_cofw
from kd_loss.imaging.pictures import BadSample
from kd_loss.system.errors import UserError
from tests.archives.archives import face, write_cofw

pytestmark = pytest.mark.quick


def test_cofw_grey_and_colour(tmp_path):
    archive = read_cofw(write_cofw(tmp_path))
    grey, colour = archive.samples[:2]
    image, points = face("cofw", 1)
    np.testing.assert_array_equal(colour.load(), image)
    np.testing.assert_allclose(colour.landmarks, points, atol=1e-9)
    assert (grey.load() == face("cofw", 0)[0][..., 1:2]).all()
    assert colour.attributes["occluded"].sum() == 1


def test_a_truncated_mat_file_is_one_line(tmp_path):
    root = write_cofw(tmp_path)
    file = root / "COFW_train_color.mat"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(UserError, match="COFW_train_color.mat: not a complete MATLAB v7.3 file"):
        read_cofw(root)


def test_a_mat_file_with_other_variables_is_one_line(tmp_path):
    import h5py

    with h5py.File(tmp_path / "COFW_test_color.mat", "w") as file:
        file["x"] = 1
    with pytest.raises(UserError, match="no variables IsT and phisT"):
        read_cofw(tmp_path)


def test_a_mat_file_of_other_kinds_is_one_line(tmp_path):
    import h5py

    with h5py.File(tmp_path / "COFW_test_color.mat", "w") as file:
        file.create_group("IsT")
        file["phisT"] = np.zeros((87, 2))
    with pytest.raises(UserError, match="no variables IsT and phisT"):
        read_cofw(tmp_path)


def replace_picture(path, **storage):
    """The first picture of a COFW file as a dataset of another kind."""
    with h5py.File(path, "r+") as file:
        cells = file["IsTr"][()]
        made = file.create_dataset("other", **storage)
        cells.reshape(-1)[0] = made.ref
        file["IsTr"][()] = cells


def test_a_huge_picture_of_cofw_is_not_allocated(tmp_path):
    write_cofw(tmp_path)
    path = tmp_path / "COFW_train_color.mat"
    replace_picture(path, shape=(3, 40_000, 40_000), dtype="u1", chunks=(1, 1000, 1000))
    with pytest.raises(BadSample, match=r"claims 4577 MiB \(shape \(3, 40000, 40000\)\)"):
        read_cofw(tmp_path).samples[0].load()


def test_cofw_reads_no_other_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(range(48)))
    write_cofw(tmp_path)
    path = tmp_path / "COFW_train_color.mat"
    replace_picture(path, shape=(3, 4, 4), dtype="u1", external=[(str(tmp_path / "secret"), 0, 48)])
    with pytest.raises(BadSample, match="other links to another file"):
        read_cofw(tmp_path).samples[0].load()
    with h5py.File(path, "r+") as file:
        del file["phisTr"]
        file["phisTr"] = h5py.ExternalLink("secret", "/")
    with pytest.raises(UserError, match="phisTr links elsewhere"):
        read_cofw(tmp_path)


def test_giant_annotations_of_cofw_are_refused(tmp_path):
    write_cofw(tmp_path)
    with h5py.File(tmp_path / "COFW_train_color.mat", "r+") as file:
        del file["phisTr"]
        file.create_dataset("phisTr", (87, 10**8), "f8", chunks=(87, 100))
    with pytest.raises(UserError, match=r"phisTr claims \d+ MiB"):
        read_cofw(tmp_path)
