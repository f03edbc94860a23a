import errno

import pytest

from kd_loss.errors import UserError
from kd_loss.files import atomic_file, atomic_folder, read_json, sha256, write_json


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
