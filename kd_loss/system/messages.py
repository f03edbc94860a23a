"""What is told on the way: loggers `kd_loss.*`, silent for importers, lines on standard error for commands.

A module that reports has `log = logging.getLogger(__name__)`: DEBUG for what only helps to find a fault, INFO for
progress, WARNING for what may be wrong. What a command answers (tables, paths, predictions) is printed instead.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator

from kd_loss.system.terminal import write_error

#: the parent of all loggers of the package
LOGGER = logging.getLogger("kd_loss")
#: flags of every command -> the least level that they show, and their help
FLAGS = {
    "--quiet": (logging.WARNING, "show warnings and errors only, no progress"),
    "--verbose": (logging.DEBUG, "show more of what is done, with the name of the module that does it"),
}


class _Line(logging.Formatter):
    """A message as it is, a warning with `warning: ` before it; the logger's name where DEBUG is shown."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        name = f"{record.name}: " if LOGGER.isEnabledFor(logging.DEBUG) else ""
        return level + name + record.getMessage()


class _Screen(logging.Handler):
    """Writes each message as a line on standard error, also while that is muted for native libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        write_error(self.format(record))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--quiet` and `--verbose`, which exclude each other; they leave their level as `messages`."""
    either = parser.add_mutually_exclusive_group()
    for flag, (level, text) in FLAGS.items():
        either.add_argument(
            flag, action="store_const", const=level, dest="messages", default=argparse.SUPPRESS, help=text
        )


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Inside, messages of INFO and above are lines on standard error; `LOGGER.setLevel` shows more or fewer."""
    screen = _Screen()
    screen.setFormatter(_Line())
    before = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False  # libraries give the root logger handlers of their own
    LOGGER.addHandler(screen)
    try:
        yield
    finally:
        LOGGER.removeHandler(screen)
        LOGGER.setLevel(before[0])
        LOGGER.propagate = before[1]
