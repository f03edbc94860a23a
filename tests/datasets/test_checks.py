"""A prepared dataset that is not what it was: one line that names the file, and every sound one opens."""

import copy
import json
import resource
import shutil

import numpy as np
import pytest

from kd_loss.datasets.checks import check_manifest
from kd_loss.datasets.prepared import open_dataset
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


@pytest.fixture
def folder(data_folder, tmp_path):
    """A copy of the prepared dataset to damage."""
    shutil.copytree(data_folder / "synthetic", tmp_path / "synthetic")
    return tmp_path / "synthetic"


def opened(folder):
    return open_dataset("synthetic", folder.parent).split("test")


def rewrite(folder, key, change):
    path = folder / "test" / f"{key}.npy"
    values = np.array(np.load(path))
    changed = change(values)
    np.save(path, values if changed is None else changed)


def put(index, value):
    def change(values):
        values[index] = value

    return change


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            "landmarks",
            put((3, 7, 0), np.nan),
            "landmarks.npy: face 3 has a coordinate that is not a number next to one",
        ),
        ("landmarks", put((4,), np.nan), "landmarks.npy: face 4 has no annotated point"),
        ("landmarks", put((5, 0), np.inf), "landmarks.npy: face 5 has a coordinate further than 10 crops away"),
        ("landmarks", put((6, 2, 1), 1e30), "landmarks.npy: face 6 has a coordinate further"),
        ("soft", put((0, 1, 1), -1e30), "soft.npy: face 0 has a coordinate further"),
        ("landmarks", lambda v: v.astype(np.float64), "landmarks.npy has float64"),
        ("landmarks", lambda v: v.astype(">f4"), "landmarks.npy has >f4"),
        ("landmarks", lambda v: v[:, :67], r"expected float32 \(10, 68, 2\)"),
        ("landmarks", lambda v: v[:9], r"expected float32 \(10, 68, 2\)"),
        ("landmarks", np.asfortranarray, "order"),
        ("images", lambda v: v[:, ::2, ::2], "images.npy has uint8"),
        ("images", lambda v: v.astype(np.int8), "images.npy has int8"),
        ("affine", put((2,), 0), "affine.npy: face 2 has a transform that cannot be inverted"),
        ("affine", put((1, 0, 2), np.nan), "affine.npy: face 1 has a transform"),
        ("subset", lambda v: np.array(["x"] * len(v)), "subset.npy does not match the counts"),
        ("group", lambda v: np.arange(len(v)), "group.npy has int64"),
        (
            "name",
            lambda v: np.full(len(v), 0x7FFFFFFF, np.uint32).view("U1"),
            "name.npy contains something other than text",
        ),
        ("name", lambda v: v.astype(object), "name.npy is damaged"),
    ],
)
def test_arrays(folder, key, change, message):
    rewrite(folder, key, change)
    with pytest.raises(UserError, match=message):
        opened(folder)


def test_a_point_that_is_not_annotated_is_valid(folder):
    rewrite(folder, "landmarks", put((3, 7), np.nan))
    assert np.isnan(opened(folder).landmarks[3, 7]).all()


@pytest.mark.parametrize("values", [np.ones(9, np.uint8), np.full(10, np.nan), np.array(["x"] * 10)])
def test_attributes(folder, values):
    np.save(folder / "test" / "attribute-blur.npy", values)
    with pytest.raises(UserError, match="attribute-blur.npy (has|contains)"):
        opened(folder)


@pytest.mark.parametrize("key", ["images", "landmarks", "affine", "name"])
def test_every_byte_of_a_header(folder, key):
    """Each byte of the header changed in four ways: a sound dataset or one line, never another exception."""
    path = folder / "test" / f"{key}.npy"
    sound = path.read_bytes()
    refused = []
    for place in range(128):
        for value in (0, 0x28, 0x39, 0xFF):
            path.write_bytes(sound[:place] + bytes([value]) + sound[place + 1 :])
            try:
                assert len(opened(folder)) == 10
            except UserError as error:
                refused.append(str(error))
    assert len(refused) > 200
    assert all(f"{key}.npy" in message for message in refused)


EDITS = [
    (("size",), "48"), (("size",), 96), (("size",), None), (("size",), 10**12), (("size",), True),
    (("crop",), None), (("crop",), []), (("crop", "margin"), "0.15"), (("crop", "margin"), float("nan")),
    (("crop", "margin"), None), (("crop", "border"), -1), (("crop", "border"), 0.5),
    (("counts",), None), (("counts",), {}), (("counts",), {"test": 10}), (("counts", "test"), {"test": "10"}),
    (("counts", "test"), {"test": -10}), (("counts", "test"), {}), (("counts", "test"), {"test": 9}),
    (("sha256",), None), (("sha256",), {}), (("sha256",), {"train/landmarks.npy": 3}),
    (("spec",), None), (("spec",), {}), (("spec", "points"), "68"), (("spec", "points"), 67), (("spec", "official"), 3),
    (("spec", "official"), {"a": "b"}), (("spec", "test_subsets"), 3), (("spec", "test_subsets"), {"a": 3}),
    (("spec", "test_subsets"), {"a": [3]}), (("spec", "pairs"), [[0]]), (("spec", "pairs"), [[0, "1"]]),
    (("spec", "parts"), {"a": "jaw"}), (("spec", "parts"), []), (("spec", "normalisers"), {"a": [[0], [0]]}),
    (("spec", "normalisers"), {"a": 1}), (("spec", "edges"), 7), (("spec", "name"), "\ud800"), (("spec", "x"), 1),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), EDITS)
def test_manifests(folder, place, value):
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError) as raised:
        opened(folder)
    assert "\n" not in str(raised.value)


def test_every_entry_is_needed(synthetic):
    for key in ("spec", "size", "counts", "sha256", "crop"):
        manifest = copy.deepcopy(synthetic.manifest)
        del manifest[key]
        with pytest.raises(UserError, match=f"it lacks {key}"):
            check_manifest(synthetic.folder, manifest)


def test_pictures_are_not_read_when_a_dataset_is_opened(folder):
    """Pictures of 2 GB, of which the system has no page yet: opening reads none of them."""
    manifest = json.loads((folder / "manifest.json").read_text())
    size = 1024 - 2 * manifest["crop"].get("border", 0)
    manifest["size"], manifest["counts"]["test"] = size, {"test": 680}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for key in ("landmarks", "soft", "affine", "subset", "group", "name"):
        rewrite(folder, key, lambda values: np.repeat(values, 68, axis=0))
    images = folder / "test" / "images.npy"
    np.lib.format.open_memmap(images, "w+", np.uint8, (680, 1024, 1024, 3)).flush()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert len(opened(folder)) == 680
    # half a million pages of 4 KiB; the system maps up to 16 of them at a fault
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults < 10_000
    assert images.stat().st_blocks * 512 < 1 << 20
