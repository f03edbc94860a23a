import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from kd_loss.cli import resolve
from kd_loss.system import configuration
from kd_loss.system.configuration import option, parse, to_plain
from kd_loss.system.errors import UserError

pytestmark = pytest.mark.quick


@dataclass(frozen=True)
class Options(configuration.Options):
    """An example."""

    batch_size: int = option(32, "faces")
    rate: float | None = option(None, "rate")
    resume: bool = option(False, "go on")
    beside: bool = option(True, "others too")
    names: list[str] = option([], "names")
    folder: Path = option(Path("data"), "folder")


def test_defaults():
    got = parse(Options, [])
    assert (got.batch_size, got.rate, got.resume, got.beside, got.names) == (32, None, False, True, [])
    assert (got.folder, got.config) == (Path("data"), "")


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
        ('{"batch_size": "x"}', "is not a whole number"),
        ('{"beside": 1}', "is not true or false"),
        ('{"batch_size": 1.9}', "is not a whole number"),
        ('{"batch_size": true}', "is not a whole number"),
        ('{"batch_size": null}', "is not a whole number"),
        ('{"folder": 3}', "not a path"),
        ('{"batch_size": 1e400}', "is not a whole number"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "not a table"),
        ("{", "is not JSON"),
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
        (["--rush", "3"], r"unknown option --rush \(see"),  # nothing is near enough to be meant
        (["--batch-size", "x"], "invalid int value"),
        (["--config", "nowhere.json"], "cannot read"),
    ],
)
def test_a_bad_command_line_is_one_line(argv, message):
    with pytest.raises(UserError, match=message):
        parse(Options, argv)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("o.yaml", "rate: 3", r"o.yaml is not JSON \(or TOML in a file named .toml\)"),
        ("o.json", '{"rate": 1, "seed": 2, "rate": 3}', "o.json is not JSON: 'rate' appears twice"),
        (
            "o.json",
            '{"rate": ' + "9" * 400 + "}",
            "--rate: a whole number of 400 digits is out of range|is not a number",
        ),
    ],
)
def test_an_invalid_configuration_is_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        parse(Options, ["--config", str(tmp_path / name)])


def test_a_pipe_or_a_device_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "o.json")
    for path in (tmp_path / "o.json", "/dev/zero"):
        with pytest.raises(UserError, match=f"{path} is not a regular file"):
            parse(Options, ["--config", str(path)])


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 19, str(2**63)])
def test_excessive_whole_numbers_are_one_line(number):
    with pytest.raises(UserError, match=r"--batch-size: a whole number of \d+ digits is out of range"):
        parse(Options, ["--batch-size", number])


def test_plain_values_are_json():
    assert to_plain(Options())["folder"] == "data"


def test_one_text_is_a_list_of_one_and_a_runs_own_file_is_taken(tmp_path):
    file = tmp_path / "c.json"
    file.write_text('{"names": "none", "rate": null, "role": "student", "decided_by": {}, "resume": true}')
    got = parse(Options, ["--config", str(file)])
    assert (got.names, got.rate, got.resume) == (["none"], None, False)


def test_an_option_called_as_what_a_run_records_is_read(tmp_path):
    @dataclass(frozen=True)
    class Roles(configuration.Options):
        role: str = option("student", "")

    (tmp_path / "c.json").write_text('{"role": "tough", "decided_by": {}}')
    assert parse(Roles, ["--config", str(tmp_path / "c.json")]).role == "tough"


@dataclass(frozen=True)
class Declared(configuration.Options):
    """Options that say what they may be."""

    head: str = option("heatmap", "head", choices=("heatmap", "pooled"))
    formats: list[str] = option(["onnx"], "formats", choices=("onnx", "lite_rt"))
    cut: str = option("", "cut", choices=("P3", "P4"))
    share: float = option(0.5, "share", within=(0, 1), below=1)
    rate: float | None = option(None, "rate", above=0)
    threads: list[int] = option([1], "threads", within=(1, float("inf")))


def test_choices_are_found_whatever_their_case_and_named_once():
    got = parse(Declared, ["--head", "Pooled", "--formats", "LITE-RT", "lite_rt"])
    assert (got.head, got.formats, got.cut) == ("pooled", ["lite_rt"], "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--head", "heatmaps"], "unknown head 'heatmaps': did you mean 'heatmap'"),
        (["--formats", "onnx", "pdf"], "unknown formats 'pdf'"),
        (["--cut", "P9"], "unknown cut 'P9'"),
        (["--share", "1"], "--share 1 is out of range: 0 or more, below 1"),
        (["--share", "-0.1"], "--share -0.1 is out of range"),
        (["--share", "nan"], "--share nan is out of range"),
        (["--rate", "0"], "--rate 0 is out of range: above 0"),
        (["--rate", "inf"], "--rate inf is out of range"),
        (["--threads", "2", "0"], "--threads 0 is out of range: 1 or more"),
    ],
)
def test_what_is_not_declared_is_refused(argv, message):
    with pytest.raises(UserError, match=message):
        parse(Declared, argv)


def test_the_ends_of_a_range_are_in_it():
    for share in (0.0, 0.999):
        assert Declared(share=share).share == share


def test_help_shows_choices_and_ranges(capsys):
    with pytest.raises(SystemExit):
        parse(Declared, ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--head {heatmap,pooled}" in text
    assert "(0 or more, below 1; default 0.5)" in text


def test_help_omits_bounds_that_only_guard(capsys):
    @dataclass(frozen=True)
    class Guarded(configuration.Options):
        seed: int = option(0, "seed", within=(0, 2**32 - 1))
        epochs: int = option(150, "epochs", above=0, below=1e9)
        size: int = option(64, "side", within=(32, 1024))
        batch: int = option(32, "faces", within=(1, 256))

    with pytest.raises(SystemExit):
        parse(Guarded, ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "seed (0 or more)" in text
    assert "epochs (above 0; default 150)" in text
    assert "side (32…1,024; default 64)" in text
    assert "faces (1…256; default 32)" in text
    with pytest.raises(UserError, match="--seed -1 is out of range: 0…4,294,967,295"):
        parse(Guarded, ["--seed", "-1"])


def test_help_has_headings_and_a_short_usage(capsys):
    @dataclass(frozen=True)
    class Grouped(configuration.Options):
        """Options under headings."""

        source: str = option("", "what", positional=True)
        first: int = option(1, "one", group="numbers")
        second: int = option(2, "two")
        third: str = option("", "three", group="texts")
        fourth: int = option(4, "four", group="numbers")

    with pytest.raises(SystemExit):
        parse(Grouped, ["--help"])
    text = capsys.readouterr().out
    assert "[options] [source …]" in text
    numbers, texts = text.split("numbers:")[1].split("texts:")
    assert [name in numbers for name in ("--first", "--second", "--third", "--fourth")] == [True, True, False, True]
    assert "--third" in texts


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("kd_loss.datasets.prepare_command:PrepareOptions", {"test_fraction": 0.0}),
        ("kd_loss.datasets.prepare_command:PrepareOptions", {"test_fraction": 1.0}),
        ("kd_loss.inference.predict_command:PredictOptions", {"smooth": 1000.0}),
        ("kd_loss.speed.benchmark_command:BenchmarkOptions", {"seconds": 1000.0}),
        ("kd_loss.training.options:StudentOptions", {"learning_rate": 1e9}),
        ("kd_loss.training.options:StudentOptions", {"mix_weight": 1e6}),
        ("kd_loss.training.options:StudentOptions", {"dropout": 1.0}),
        ("kd_loss.comparison.draw_loss:CurvesOptions", {"tough": -0.1}),
        ("kd_loss.keypoints.options:KeypointOptions", {"validation": 1.0}),
        ("kd_loss.keypoints.options:KeypointOptions", {"crop": 0.05}),
        ("kd_loss.keypoints.options:KeypointTestOptions", {"jitter": 0.6}),
    ],
)
def test_bounds_of_the_commands(place, values):
    options = resolve(place)
    with pytest.raises(UserError, match="is out of range"):
        options(**values)


def test_what_the_bounds_leave():
    options = resolve("kd_loss.training.options:StudentOptions")
    assert options(mix_alpha=0.0, dropout=0.995, extra_share=0.999).mix_alpha == 0
    assert resolve("kd_loss.comparison.draw_loss:CurvesOptions")(tough=0.0).tough == 0
    with pytest.raises(UserError, match="give --threads"):
        resolve("kd_loss.speed.benchmark_command:BenchmarkOptions")(weights=["a.h5"], threads=[]).check()
