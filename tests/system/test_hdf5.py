"""What crashes HDF5 is detected by a child process; `datasets/test_cofw.py` has what COFW refuses."""

import struct

import h5py
import numpy as np
import pytest

from kd_loss.archives.cofw import read_cofw
from kd_loss.importing.legacy_file import read_old_file
from kd_loss.networks.model_file import check_model_file
from kd_loss.system import hdf5, sandbox
from kd_loss.system.errors import UserError
from kd_loss.system.hdf5 import open_hdf5


def with_names(path, name="layer_names"):
    """A file with a list of names, which HDF5 keeps in a heap of its own."""
    with h5py.File(path, "w") as file:
        file.attrs[name] = ["a", "bb", "ccc"]
        file.attrs["model_config"] = "{}"
        file["numbers"] = np.arange(4.0)
    return path


def endless(path):
    """The size of the heap's first entry becomes 0: HDF5 looks for the next one there, for ever."""
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + 16 + 8
    assert struct.unpack_from("<Q", data, place)[0] > 0
    struct.pack_into("<Q", data, place, 0)
    path.write_bytes(data)
    return path


def test_a_valid_file_is_read_and_tried_once(tmp_path, monkeypatch):
    path = with_names(tmp_path / "a.h5")
    with open_hdf5(path) as file:
        assert file["numbers"][()].tolist() == [0, 1, 2, 3]
    monkeypatch.setattr(sandbox, "_trial", lambda *_: pytest.fail("tried again"))
    with open_hdf5(path) as file:
        assert list(file.attrs["layer_names"]) == ["a", "bb", "ccc"]


def test_what_this_process_wrote_is_not_tried(tmp_path, monkeypatch):
    path = with_names(tmp_path / "a.h5")
    hdf5.trust(path)
    monkeypatch.setattr(sandbox, "_trial", lambda *_: "was tried")
    with open_hdf5(path) as file:
        assert "numbers" in file
    path.write_bytes(path.read_bytes() + b"\0")  # another file since
    with pytest.raises(UserError, match="was tried"), open_hdf5(path):
        pass


@pytest.mark.parametrize("read", [check_model_file, read_old_file])
def test_names_without_an_end(tmp_path, read):
    path = endless(with_names(tmp_path / "a.h5"))
    with pytest.raises(UserError, match=r"a\.h5 does not load: reading it does not come to an end"):
        read(path)


def test_names_without_an_end_in_a_mat_file(tmp_path):
    endless(with_names(tmp_path / "COFW_train_color.mat"))
    with pytest.raises(UserError, match="reading it does not come to an end"):
        read_cofw(tmp_path)


def test_names_that_claim_all_memory(tmp_path):
    """The length of a name stands beside its place in the heap, and is allocated before the heap is asked."""
    path = with_names(tmp_path / "a.h5")
    data = bytearray(path.read_bytes())
    place = data.index(b"layer_names")
    where = [i for i in range(place, place + 120) if data[i : i + 4] == struct.pack("<I", 3)]
    struct.pack_into("<I", data, where[-1], 0xF0000000)
    path.write_bytes(data)
    with pytest.raises(UserError, match="does not load: it needs more than 3072 MiB of memory"):
        check_model_file(path)
