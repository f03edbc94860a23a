import errno
import os
import subprocess
import sys

import pytest

from kd_loss.system.errors import UserError, disk_error
from kd_loss.system.files import atomic_file, atomic_folder, read_json, sha256, write_json
from kd_loss.system.overwrite_guard import claim

pytestmark = pytest.mark.quick


def full_disk():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "1"


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("old")
    with pytest.raises(UserError, match="disk is full"), atomic_folder(tmp_path / "b") as folder:
        (folder / "x").write_text("new")
        full_disk()
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b" / "x").read_text() == "old"


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".tmp-b~123").mkdir()
    with atomic_folder(tmp_path / "b"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_failed_file_leaves_the_old_one(tmp_path):
    file = tmp_path / "f"
    file.write_text("old")
    with pytest.raises(UserError, match="disk is full"), atomic_file(file) as temporary:
        temporary.write_text("half")
        full_disk()
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_json_there_and_back(tmp_path):
    write_json(tmp_path / "a.json", {"α": [1, 2]})
    assert read_json(tmp_path / "a.json", "the file") == {"α": [1, 2]}


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff", "[" * 100_000])
def test_bad_json_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="JSON"):
        read_json(tmp_path / "a.json", "the card")


def test_sha256_of_nothing(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    assert sha256(tmp_path / "f").startswith("e3b0c44298fc1c14")


def write_x(target):
    with atomic_folder(target) as folder:
        (folder / "x").write_text("new")


def test_a_folder_that_is_not_ours_is_not_replaced(tmp_path):
    """A folder, a file, a link, a folder of ours with one more file: all of them the user's."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.json").write_text('{"sha256": {}}')  # of some other program
    (tmp_path / "file").write_text("mine")
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")
    write_x(tmp_path / "more")
    (tmp_path / "more" / "inner").mkdir()
    (tmp_path / "more" / "inner" / "thesis").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for name, message in (
        ("folder", "did not write it"),
        ("file", "is a file"),
        ("link", "is a link"),
        ("more", "holds inner/thesis"),
    ):
        with pytest.raises(UserError, match=message):
            write_x(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "link").is_symlink()


def test_ours_and_an_empty_folder_are_replaced(tmp_path):
    (tmp_path / "b").mkdir()
    for _ in range(2):
        write_x(tmp_path / "b")
    assert (tmp_path / "b" / "x").read_text() == "new"


HOLD = """
import sys, time
from pathlib import Path
from kd_loss.system.files import atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "x").write_text("first")
    print("there", flush=True)
    sys.stdin.read()
"""


def test_one_writer_at_a_time_and_a_killed_one_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "b")]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout.readline() == b"there\n"
    with pytest.raises(UserError, match="another kd-loss process is writing .*b;"):
        write_x(tmp_path / "b")
    first.communicate(b"")
    assert (tmp_path / "b" / "x").read_text() == "first"
    second = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert second.stdout.readline() == b"there\n"
    second.kill()
    second.communicate()
    assert (tmp_path / "b" / "x").read_text() == "first"
    write_x(tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_folder_that_was_put_aside_comes_back(tmp_path):
    """Killed between the two renames, and the next run fails: the old folder is there again."""
    write_x(tmp_path / "b")
    (tmp_path / "b").rename(tmp_path / ".tmp-b~123-old")
    with pytest.raises(UserError, match="disk is full"), atomic_folder(tmp_path / "b"):
        full_disk()
    assert (tmp_path / "b" / "x").read_text() == "new"


def test_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from kd_loss.system.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".tmp-1-mine").write_text("mine")
    with atomic_file(tmp_path / "b") as file:
        file.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".tmp-1-mine", "b"]


def test_messages_name_the_file_that_was_meant(tmp_path):
    with pytest.raises(UserError) as raised, atomic_file(tmp_path / "a") as file:
        raise OSError(errno.ENOSPC, "No space left on device", str(file))
    assert str(raised.value) == f"the disk is full at {tmp_path / 'a'}; free some space or choose another folder"
    with pytest.raises(UserError) as raised, atomic_folder(tmp_path / "b") as folder:
        raise OSError(errno.EACCES, "Permission denied", str(folder / "train" / "x.npy"))
    assert str(raised.value) == f"cannot write {tmp_path / 'b' / 'train' / 'x.npy'}: Permission denied"
    with pytest.raises(UserError, match=r"^/source/a.png: Input/output error$"), atomic_folder(tmp_path / "b"):
        raise OSError(errno.EIO, "Input/output error", "/source/a.png")
    assert "disk is full" in str(disk_error(OSError("4194304 requested and 8 written"), tmp_path))


def test_claims(tmp_path):
    claim(tmp_path, ["a", "b"])
    (tmp_path / "a").write_text("ours")
    claim(tmp_path, ["a", "b", "c"])
    (tmp_path / "d").write_text("mine")
    with pytest.raises(UserError, match="d already exists, and kd-loss did not write it"):
        claim(tmp_path, ["c", "d"])


def test_a_name_that_is_not_utf8_is_kept_in_json(tmp_path):
    name = os.fsdecode(b"a\xff.png")
    write_json(tmp_path / "a.json", {name: 1})
    assert read_json(tmp_path / "a.json", "the file") == {name: 1}


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "card.json")
    with pytest.raises(UserError, match="is not a regular file"):
        read_json(tmp_path / "card.json", "the card")


def test_no_message_has_a_temporary_name(tmp_path):
    with (
        pytest.raises(UserError, match=rf"^{tmp_path}/page/model.onnx is damaged$"),
        atomic_folder(tmp_path / "page") as folder,
    ):
        raise UserError(f"{folder / 'model.onnx'} is damaged")
    with (
        pytest.raises(UserError, match=rf"^{tmp_path}/a.h5: too large$"),
        atomic_file(tmp_path / "a.h5", ".h5") as file,
    ):
        raise UserError(f"{file}: too large")
    assert not [path for path in tmp_path.iterdir() if path.name != ".tmp-page~lock"]


def test_a_key_that_stands_twice_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text('{"size": 1, "size": 2}')
    with pytest.raises(UserError, match=r"the card .*a.json: 'size' appears twice$"):
        read_json(tmp_path / "a.json", "the card")
