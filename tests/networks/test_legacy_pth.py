"""The reader of legacy `.pth` files, on files written here byte by byte: PyTorch is not asked."""

import collections
import io
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from kd_loss.networks.legacy_pth import MAGIC, PROTOCOL, read_legacy_pth
from kd_loss.system.errors import UserError


class Storage:
    """What stands for a storage while a file is written."""

    def __init__(self, key, values, kind="FloatStorage"):
        self.key, self.values, self.kind = key, values, kind


class Tensor:
    """A window on a storage, which pickles as PyTorch's does."""

    def __init__(self, storage, offset, shape, strides, state=None):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())
        self.state = state

    def __reduce__(self):
        made = sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments
        return made if self.state is None else (*made, self.state)


@pytest.fixture
def torch_names(monkeypatch):
    """Modules with the names that the pickles use; nothing in them computes."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_):
        raise AssertionError("the reader called PyTorch")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for kind in ("FloatStorage", "LongStorage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch", "__qualname__": kind}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def write(path, torch, tensors, storages, little=True, magic=MAGIC):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return "storage", getattr(torch, value.kind), value.key, "cpu", len(value.values), None
            return None

    with path.open("wb") as file:
        for value in (magic, PROTOCOL, {"little_endian": little}):
            pickle.dump(value, file, protocol=2)
        buffer = io.BytesIO()
        Pickler(buffer, protocol=2).dump(tensors)
        file.write(buffer.getvalue())
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(struct.pack("<q", len(storage.values)) + storage.values.tobytes())


def test_strides_offsets_and_shared_storages(tmp_path, torch_names):
    numbers = np.arange(12, dtype=np.float32)
    one, two = Storage("1", numbers), Storage("2", np.array([7], np.int64), "LongStorage")
    tensors = collections.OrderedDict(
        plain=Tensor(one, 0, (3, 4), (4, 1)),
        turned=Tensor(one, 0, (4, 3), (1, 4)),  # lies column by column
        part=Tensor(one, 5, (2,), (2,)),
        count=Tensor(two, 0, (), ()),
    )
    write(tmp_path / "net.pth", torch_names, tensors, [one, two])
    read = read_legacy_pth(tmp_path / "net.pth")
    assert list(read) == ["plain", "turned", "part", "count"]
    np.testing.assert_array_equal(read["plain"], numbers.reshape(3, 4))
    np.testing.assert_array_equal(read["turned"], numbers.reshape(3, 4).T)
    np.testing.assert_array_equal(read["part"], [5, 7])
    assert read["count"] == 7
    assert read["count"].dtype == np.int64
    assert read["turned"].flags.c_contiguous
    assert read["plain"].flags.writeable


def test_a_file_that_calls_anything_is_refused_and_nothing_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'was here')!r}, 'w')",)

    path = tmp_path / "net.pth"
    for place in range(4):  # in each of the pickles
        values = [MAGIC, PROTOCOL, {"little_endian": True}, {}]
        values[place] = Evil()
        path.write_bytes(b"".join(pickle.dumps(value, protocol=2) for value in values))
        with pytest.raises(UserError, match="not a PyTorch dictionary of tensors: it names .*exec"):
            read_legacy_pth(path)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "window",
    [
        *((0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 2), (3, 1))),
        *((0, (10**9, 10**9), (0, 0)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2,), (1, 1))),
        (0, (2,), (1,), {"strides": (-(10**6),)}),  # a window that the pickle changes when it was checked
    ],
)
def test_a_window_outside_of_its_storage_is_refused(tmp_path, torch_names, window):
    storage = Storage("1", np.arange(4, dtype=np.float32))
    write(tmp_path / "net.pth", torch_names, {"w": Tensor(storage, *window)}, [storage])
    with pytest.raises(UserError, match="not a PyTorch dictionary of tensors"):
        read_legacy_pth(tmp_path / "net.pth")


def test_an_invalid_file_is_one_line(tmp_path, torch_names):
    path = tmp_path / "net.pth"
    with pytest.raises(UserError, match="no such weights"):
        read_legacy_pth(path)
    storage = Storage("1", np.arange(4, dtype=np.float32))
    tensors = {"w": Tensor(storage, 0, (4,), (1,))}
    write(path, torch_names, tensors, [storage])
    whole = path.read_bytes()
    for content, message in (
        (b"", "Ran out of input"),
        (b"PK\x03\x04 and so on", "written by PyTorch 1.6 or later"),
        (whole[:-3], "buffer is smaller"),
        (whole[: len(whole) // 2], "not a PyTorch dictionary of tensors"),
        (pickle.dumps(1, protocol=2) + whole, "its header is wrong"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_legacy_pth(path)
    write(path, torch_names, tensors, [storage], little=False)
    with pytest.raises(UserError, match="big-endian"):
        read_legacy_pth(path)
    write(path, torch_names, {"w": Tensor(storage, 0, (4,), (1,)), "epoch": 3}, [storage])
    with pytest.raises(UserError, match="contents other than tensors"):
        read_legacy_pth(path)
