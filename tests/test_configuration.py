from dataclasses import dataclass
from pathlib import Path

import pytest

from kd_loss.configuration import option, parse, to_plain
from kd_loss.errors import UserError


@dataclass(frozen=True)
class Options:
    """An example."""

    batch_size: int = option(32, "faces")
    rate: float | None = option(None, "rate")
    resume: bool = option(False, "go on")
    beside: bool = option(True, "others too")
    names: list[str] = option([], "names")
    folder: Path = option(Path("data"), "folder")
    config: str = option("", "file")


def test_defaults():
    assert parse(Options, []) == Options(32, None, False, True, [], Path("data"), "")


def test_types_and_lists():
    got = parse(Options, ["--batch-size", "8", "--rate", "0.5", "--resume", "--no-beside", "--names", "a", "b"])
    assert (got.batch_size, got.rate, got.resume, got.beside, got.names) == (8, 0.5, True, False, ["a", "b"])


@pytest.mark.parametrize(
    ("suffix", "text"), [(".json", '{"batch-size": 4, "rate": 1}'), (".toml", "batch_size = 4\nrate = 1")]
)
def test_the_command_line_wins_over_a_file(tmp_path, suffix, text):
    file = tmp_path / f"c{suffix}"
    file.write_text(text)
    got = parse(Options, ["--config", str(file), "--rate", "2"])
    assert (got.batch_size, got.rate) == (4, 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"batchsize": 4}', "unknown option 'batchsize': did you mean 'batch_size'"),
        ('{"batch_size": "x"}', "no int"),
        ('{"beside": 1}', "no bool"),
        ('{"batch_size": 1.9}', "no int"),
        ('{"batch_size": true}', "no int"),
        ('{"batch_size": null}', "no int"),
        ('{"folder": 3}', "no Path"),
        ('{"batch_size": 1e400}', "no int"),
        ("[" * 100_000, "is not json"),
        ("[1]", "not a table"),
        ("{", "is not json"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        parse(Options, ["--config", str(file)])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batchsize", "3"], "unknown option --batchsize: did you mean --batch-size"),
        (["--batch-size", "x"], "invalid int value"),
        (["--config", "nowhere.json"], "cannot read"),
    ],
)
def test_a_bad_command_line_is_one_line(argv, message):
    with pytest.raises(UserError, match=message):
        parse(Options, argv)


def test_plain_values_are_json():
    assert to_plain(Options())["folder"] == "data"


def test_one_text_is_a_list_of_one_and_a_runs_own_file_is_taken(tmp_path):
    file = tmp_path / "c.json"
    file.write_text('{"names": "none", "rate": null, "role": "student", "decided_by": {}, "resume": true}')
    got = parse(Options, ["--config", str(file)])
    assert (got.names, got.rate, got.resume) == (["none"], None, False)


def test_an_option_called_as_what_a_run_records_is_read(tmp_path):
    @dataclass(frozen=True)
    class Roles:
        role: str = option("student", "")
        config: str = option("", "")

    (tmp_path / "c.json").write_text('{"role": "tough", "decided_by": {}}')
    assert parse(Roles, ["--config", str(tmp_path / "c.json")]).role == "tough"
