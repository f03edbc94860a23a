"""Damaged and hostile files: a `UserError` or an answer, never another exception, a crash or a full memory.

Each kind of file is tried in a process of its own, with a limit on its memory: what breaks in a library's C++ code
breaks the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_loss.archives.pts import parse_pts
from kd_loss.export.convert import to_litert, to_onnx
from kd_loss.imaging.pictures import BadSample
from kd_loss.networks import Card, build_network, load_network, save_network
from kd_loss.schemes.benchmarks import W300
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import quiet_stderr

ROOT = Path(__file__).parents[2]
#: what a process may take more than it has when it starts on the files
ROOM_MB = 3000
RUNNER = """
import os, resource, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from pathlib import Path
from kd_loss.system.errors import UserError
{imports}
folder, room = Path(sys.argv[1]), int(sys.argv[2]) << 20
files = sorted(p for p in folder.iterdir() if p.suffix == {suffix!r})
{warm}
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
used = int(status["VmSize"].split()[0]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
refused = 0
for path in files:
    print(path.name, flush=True)
    try:
        {call}
    except UserError as error:
        refused += 1
        assert "\\n" not in str(error)
print("refused", refused, "of", len(files))
"""


def run(folder: Path, suffix: str, call: str, imports: str, warm: str = "") -> int:
    """How many files were refused; fails where the process did."""
    code = RUNNER.format(imports=imports, suffix=suffix, call=call, warm=warm)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(ROOM_MB)],
        capture_output=True, text=True, timeout=500, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1:] or ["nothing"]
    assert done.returncode == 0, f"after {last[0]}: {done.stderr[-2000:]}"
    return int(last[0].split()[1])


def mutations(data: bytes, count: int, seed: int) -> list[bytes]:
    """Truncated, with bytes changed, with blocks swapped, with a block of 0xff."""
    rng = np.random.default_rng(seed)
    results = []
    for i in range(count):
        changed = bytearray(data)
        a, b = sorted(rng.integers(0, len(data), 2).tolist())
        # half of the damage goes to the head of the file, where its structure is
        if i % 2:
            a, b = a % min(4096, len(data)), b % min(4096, len(data))
        if i % 4 == 0:
            changed = changed[:b]
        elif i % 4 == 1:
            for place in rng.integers(0, min(4096, len(data)), 8):
                changed[place] = rng.integers(0, 256)
        elif i % 4 == 2:
            size = min(64, len(data) - max(a, b))
            changed[a : a + size], changed[b : b + size] = changed[b : b + size], changed[a : a + size]
        else:
            changed[a : a + 16] = b"\xff" * 16
        results.append(bytes(changed))
    return results


@pytest.fixture(scope="module")
def network():
    return build_network(Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15))


def scatter(folder: Path, source: Path, count: int, card: bool) -> None:
    """Damaged copies of a file, each with a sound card beside it if asked."""
    for i, data in enumerate(mutations(source.read_bytes(), count, 0)):
        (folder / f"{i:03d}{source.suffix}").write_bytes(data)
        if card:
            (folder / f"{i:03d}.json").write_bytes(source.with_suffix(".json").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds", [["picture", "pts", "npy", "csv", "video"], ["spec", "config", "card", "manifest", "array"]]
)
def test_a_share_of_every_kind(tmp_path, kinds):
    """What `tools/fuzz.py` tries by the ten thousand: a hundredth of it, from another seed."""
    command = [sys.executable, ROOT / "tools" / "fuzz.py", "--factor", "0.01", "--seed", "7", "--output", tmp_path]
    done = subprocess.run([*command, "--kinds", *kinds], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "fuzz.json").read_text())
    assert found["all"]["tracebacks"] == found["all"]["crashes"] == found["all"]["lost"] == 0
    assert found["all"]["inputs"] >= 40
    assert all(found["kinds"][kind]["refused"] > 0 for kind in kinds if found["kinds"][kind]["inputs"] > 5)
    assert found["all"]["mb"] < ROOM_MB


def test_pictures(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp"):
        for i, data in enumerate(mutations(cv2.imencode(suffix, image)[1].tobytes(), 60, 1)):
            (tmp_path / f"{suffix[1:]}-{i}.img").write_bytes(data)
    imports = "from kd_loss.inference.sources import read_picture"
    assert 60 < run(tmp_path, ".img", "assert read_picture(path).ndim == 3", imports) < 300


@pytest.mark.slow
def test_keras_files(network, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    save_network(network, source / "net.h5")
    folder = tmp_path / "damaged"
    folder.mkdir()
    scatter(folder, source / "net.h5", 60, card=True)
    imports = "from kd_loss.networks import load_network"
    warm = f"load_network(Path({str(source / 'net.h5')!r}))"
    assert run(folder, ".h5", "load_network(path)", imports, warm) > 15


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_files_of_other_runtimes(network, tmp_path, suffix):
    source = tmp_path / "source"
    source.mkdir()
    with quiet_stderr():
        (to_litert if suffix == ".tflite" else to_onnx)(network, source / f"net{suffix}", "fp32", None)
    folder = tmp_path / "damaged"
    folder.mkdir()
    scatter(folder, source / f"net{suffix}", 60, card=False)
    imports = "from kd_loss.runtimes.crop_network import open_network"
    warm = f"open_network(Path({str(source / f'net{suffix}')!r}))"
    assert run(folder, suffix, "open_network(path)", imports, warm) > 15


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(key=st.sampled_from([*Card.__dataclass_fields__, "more"]), value=JSON, drop=st.booleans())
def test_cards(key, value, drop):
    card = Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15)
    values = {name: getattr(card, name) for name in Card.__dataclass_fields__}
    values[key] = value
    if drop:
        values.pop(key)
    with contextlib.suppress(UserError):
        assert Card.from_dict(values, "the card").landmark_scheme().points >= 2


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="0123456789.-+einfa {}\n:_version,ptsO\x00é", max_size=200))
def test_point_files(text):
    with contextlib.suppress(BadSample):
        assert np.isfinite(parse_pts(text, 3)).all()


def test_code_in_a_model_is_not_run(network, tmp_path):
    """A Lambda layer, in both of Keras's formats; its function would write a file."""
    import keras

    proof, name = tmp_path / "proof", str(tmp_path / "proof")
    code = keras.layers.Lambda(lambda x: (open(name, "w").close(), x)[1], output_shape=(68, 2))
    model = keras.Model(network.model.input, code(network.model.output))
    proof.unlink(missing_ok=True)
    for suffix in (".h5", ".keras"):
        path = tmp_path / f"lambda{suffix}"
        model.save(path)
        network.card.write(path)
        proof.unlink(missing_ok=True)
        with pytest.raises(UserError, match="holds a Lambda layer, which is Python code"):
            load_network(path)
        assert not proof.exists()


def test_hostile_sizes_and_links(network, tmp_path):
    path = tmp_path / "net.h5"
    save_network(network, path)
    sound = path.read_bytes()
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"units": 136', '"units": 2000000000')
    with pytest.raises(UserError, match=r"with the number 2e\+09"):
        load_network(path)
    path.write_bytes(sound)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_dataset("more", (1 << 20, 1 << 20), "f4", chunks=(64, 64))
    with pytest.raises(UserError, match="claims more than 1024 MiB"):
        load_network(path)
    path.write_bytes(sound)
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(UserError, match="links elsewhere"):
        load_network(path)
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(UserError, match="no architecture"):
        load_network(path)
    bomb = tmp_path / "net.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({}))
        archive.writestr("model.weights.h5", bytes(1 << 20) * 1100)
    with pytest.raises(UserError, match="unpacks to more than 1024 MiB"):
        load_network(bomb)
