"""A command replaces only what kd-loss provably wrote, and one process at a time writes a dataset."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kd_loss.comparison.compare import CompareOptions, run_compare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.demo.demo_command import MARK, DemoOptions, run_demo
from kd_loss.networks.card import Card
from kd_loss.schemes.benchmarks import W300
from kd_loss.speed.benchmark_command import BenchmarkOptions, run_benchmark
from kd_loss.system.errors import UserError
from kd_loss.system.files import alone_in, atomic_file, write_json
from kd_loss.system.overwrite_guard import LOCK, RECORD, Claims, claim, record_folder, recorded
from tools.speed.training import TrainingSpeedOptions, run_training_benchmark

ROOT = Path(__file__).parents[2]


def state(folder):
    """Every entry of a tree: the target of a link, the bytes of a file, None for a folder."""
    return {
        p.relative_to(folder).as_posix(): os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


def test_two_prepares_of_one_dataset_at_once(tmp_path):
    """The second gets one line while the first one is held at its work, which is complete in the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kd_loss", "prepare", "--dataset", "synthetic", "--count", "400", "--size", "32"]
    pipes = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **pipes)
    while not list(tmp_path.glob("data/.tmp-synthetic~*/train")):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    second = subprocess.run(command, **pipes, check=False)
    first.send_signal(signal.SIGCONT)
    assert (second.returncode, second.stdout) == (2, "")
    place = Path("data", "synthetic")
    assert second.stderr == f"error: another kd-loss process is writing {place}; wait until it has finished\n"
    assert first.wait(300) == 0
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["synthetic"]
    assert len(open_dataset("synthetic", tmp_path / "data").split("train")) == 400


@pytest.mark.parametrize("name", ["compare.json", "report.html", "ced.png"])
@pytest.mark.parametrize("text", ["mine", '{"methods": {}}'])
def test_compare_replaces_no_file_of_the_users(data_folder, tmp_path, name, text):
    """Said before anything is trained; JSON of something else is no proof either."""
    (tmp_path / "synthetic" / "mine").mkdir(parents=True)
    (tmp_path / "synthetic" / "mine" / name).write_text(text)
    before = state(tmp_path)
    options = CompareOptions(
        methods=["none"], dataset="synthetic", arch="tiny", epochs=1, size=32, data=data_folder, runs=tmp_path,
        name="mine", head="pooled",
    )  # fmt: skip
    with pytest.raises(UserError, match=f"{name} already exists, and kd-loss did not write it"):
        run_compare(options)
    assert state(tmp_path) == before


@pytest.mark.parametrize("name", ["benchmark.json", "benchmark.png"])
def test_benchmark_replaces_no_file_of_the_users(tmp_path, name):
    (tmp_path / "a.h5").write_text("opened only after the folder was looked at")
    Card("tiny", 1.0, "none", W300.to_dict(), 32, "student", 0.15).write(tmp_path / "a.h5")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    before = state(tmp_path)
    with pytest.raises(UserError, match=f"{name} already exists, and kd-loss did not write it"):
        run_benchmark(BenchmarkOptions(weights=[str(tmp_path / "a.h5")], data=tmp_path / "no", output=tmp_path / "out"))
    assert state(tmp_path) == before


@pytest.mark.parametrize("name", ["training.json", "training.png"])
def test_benchmark_of_training_replaces_no_file_of_the_users(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} already exists, and kd-loss did not write it"):
        run_training_benchmark(TrainingSpeedOptions(size=32, batch_size=8, faces=16, rounds=1, output=tmp_path))
    assert state(tmp_path) == {name: b"mine"}


def test_a_record_does_not_grow_and_a_cut_one_is_mended(tmp_path):
    """What a killed run recorded and did not write; a record whose last name was cut."""
    for _ in range(2):
        claim(tmp_path, ["a", "b"])
    assert (tmp_path / RECORD).read_text() == "a\nb\n"
    (tmp_path / RECORD).write_text("a\nbee")
    assert recorded(tmp_path) == {RECORD, LOCK, "a"}
    claim(tmp_path, ["a", "beetle"])
    (tmp_path / "beetle").write_text("ours")
    claim(tmp_path, ["beetle"])
    assert (tmp_path / RECORD).read_text() == "a\nbeetle\n"


@given(st.sets(st.binary(min_size=1, max_size=12).filter(lambda name: not set(b"/\0") & set(name)), max_size=4))
@example({b"nl\nvictim.json"})
@example({b"cr\rvictim.json", b"back\\nvictim.json", b"\\", b"\xff\n"})
def test_a_record_names_what_was_written_and_nothing_else(names):
    """Whatever a file's name holds: line breaks, backslashes, bytes that are no text."""
    written = {os.fsdecode(name) for name in names if name not in (b".", b"..")}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            claim(Path(folder), sorted(written))
        assert recorded(Path(folder)) - {RECORD, LOCK} == written


def test_what_was_not_written_is_not_claimed(tmp_path):
    """The block fails: the name stays the user's, whose file of that name is not replaced later."""
    claims = Claims(tmp_path, ["a.json", "b.json"])
    write_json(tmp_path / "a.json", {}, claims)
    with pytest.raises(KeyError), atomic_file(tmp_path / "b.json", claims=claims):
        raise KeyError
    assert recorded(tmp_path) - {RECORD, LOCK} == {"a.json"}
    (tmp_path / "b.json").write_text("mine")
    with pytest.raises(UserError, match="b.json already exists, and kd-loss did not write it"):
        Claims(tmp_path, ["a.json", "b.json"])
    with pytest.raises(UserError, match="b.json already exists, and kd-loss did not write it"):
        write_json(tmp_path / "b.json", {}, claims)
    assert (tmp_path / "b.json").read_text() == "mine"


def test_one_process_at_a_time_writes_into_a_folder(tmp_path):
    """The second is refused; afterwards nothing of the lock is left, and an empty new folder goes."""
    place = tmp_path / "out"
    with alone_in(place), pytest.raises(UserError, match="another kd-loss process is writing"), alone_in(place):
        pytest.fail("two at once")
    assert not place.exists()
    with alone_in(place):
        (place / "a").touch()
    assert [p.name for p in place.iterdir()] == ["a"]


def demo(place):
    """A demo's folder as a finished demo leaves it."""
    place.mkdir()
    (place / MARK).touch()
    (place / "report.html").write_text("ours")
    record_folder(place)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "mark", "more", "inside"])
def test_demo_clears_only_a_demo(tmp_path, kind):
    """A file, another folder, a link to a demo, a mark without a record, a demo with a file of the user's in it."""
    place = tmp_path / "demo"
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
        (place / "thesis").write_text("mine")
    elif kind == "link":
        demo(tmp_path / "other")
        place.symlink_to(tmp_path / "other")
    else:
        demo(place)
        if kind == "mark":
            (place / RECORD).unlink()
        elif kind == "more":
            (place / "thesis").write_text("mine")
        else:
            (place / "runs").mkdir()
            (place / "runs" / "thesis").write_text("mine")
    before = state(tmp_path)
    with pytest.raises(UserError, match=f"{place} (holds|already exists|has other contents)"):
        run_demo(DemoOptions(output=place))
    assert state(tmp_path) == before


def test_a_demo_is_replaced(tmp_path, monkeypatch):
    demo(tmp_path / "demo")
    monkeypatch.setattr("kd_loss.demo.demo_command._demo", lambda *_: {"faces": 1})
    assert run_demo(DemoOptions(output=tmp_path / "demo")) == {"faces": 1}
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == sorted([MARK, RECORD])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"sha256": {}}', '{"sha256": 3, "spec": 1, "size": 1, "counts": 1, "crop": 1}']
)
def test_an_invalid_manifest_proves_nothing(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    (tmp_path / "x").write_text("mine")
    assert recorded(tmp_path) <= {"manifest.json"}
    assert not {"x"} & recorded(tmp_path)
    (tmp_path / "manifest.json").write_text(
        json.dumps({"sha256": {"x": ""}, "spec": {}, "size": 1, "counts": {}, "crop": {}})
    )
    assert recorded(tmp_path) == {"manifest.json", "x"}
