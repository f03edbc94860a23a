"""Messages: silent for importers, on standard error for commands, as much of them as `--quiet` and `--verbose` say."""

import logging
from dataclasses import dataclass

import pytest

from kd_loss import cli
from kd_loss.system.configuration import Options
from kd_loss.system.errors import UserError
from kd_loss.system.messages import LOGGER, shown

log = logging.getLogger("kd_loss.example")


@dataclass(frozen=True)
class ExampleOptions(Options):
    """An example."""


def run_example(options):
    assert isinstance(options, ExampleOptions)
    log.debug("details")
    log.info("half done: 50%")
    log.warning("odd")
    print("answer")


@pytest.fixture
def example(monkeypatch):
    """A command that tells something at each level and answers."""
    command = cli.Command(f"{__name__}:ExampleOptions", f"{__name__}:run_example", "an example")
    monkeypatch.setitem(cli.COMMANDS, "example", command)


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize(
    ("argv", "logged"),
    [
        (["example"], ["half done: 50%", "warning: odd"]),
        (["example", "--quiet"], ["warning: odd"]),
        (["--quiet", "example"], ["warning: odd"]),
    ],
)
def test_a_command_logs_to_standard_error_and_prints_results_to_standard_output(capsys, argv, logged):
    cli.execute(argv, "kd-loss")
    found = capsys.readouterr()
    assert found.out == "answer\n"
    assert found.err.splitlines() == logged


@pytest.mark.usefixtures("example")
def test_verbose_names_the_module(capsys):
    cli.execute(["example", "--verbose"], "kd-loss")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("kd_loss.cli: ExampleOptions(")
    assert lines[1:] == [
        "kd_loss.example: details",
        "kd_loss.example: half done: 50%",
        "warning: kd_loss.example: odd",
    ]


@pytest.mark.usefixtures("example")
def test_both_flags_are_refused():
    with pytest.raises(UserError, match="--verbose: not allowed with argument --quiet"):
        cli.execute(["example", "--quiet", "--verbose"], "kd-loss")


@pytest.mark.usefixtures("example")
def test_help_has_both_flags(capsys):
    with pytest.raises(SystemExit):
        cli.execute(["example", "--help"], "kd-loss")
    assert {"--quiet", "--verbose"} <= set(capsys.readouterr().out.split())


def test_importers_hear_nothing_and_may_listen(capsys, caplog):
    assert any(isinstance(handler, logging.NullHandler) for handler in LOGGER.handlers)
    assert LOGGER.propagate
    before = LOGGER.level, list(LOGGER.handlers)
    with shown():
        log.info("on the screen")
    assert (LOGGER.level, LOGGER.handlers) == before
    assert capsys.readouterr().err == "on the screen\n"
    caplog.set_level(logging.INFO, "kd_loss")
    log.info("to who listens")
    assert caplog.messages == ["to who listens"]
    assert capsys.readouterr() == ("", "")
