"""Progress messages: the loggers `kd_loss.*`, silent when imported, lines on standard error in commands.

A module that reports has `log = logging.getLogger(__name__)`: DEBUG for debugging, INFO for progress, WARNING for
possible problems. A command's results (tables, paths, predictions) are printed instead.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator

from kd_loss.system.terminal import write_error

#: the parent of all loggers of the package
LOGGER = logging.getLogger("kd_loss")
#: flags of every command -> the lowest level that they show, and their help
FLAGS = {
    "--quiet": (logging.WARNING, "show warnings and errors only, no progress"),
    "--verbose": (logging.DEBUG, "show more of what is done, with the name of the module that does it"),
}


class _Line(logging.Formatter):
    """Formats a message unchanged, a warning prefixed with `warning: `; adds the logger's name at level DEBUG."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        name = f"{record.name}: " if LOGGER.isEnabledFor(logging.DEBUG) else ""
        return level + name + record.getMessage()


class _Screen(logging.Handler):
    """Writes each message as a line on standard error, even while that is muted for native libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        write_error(self.format(record))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--quiet` and `--verbose`, which are mutually exclusive; they store their level as `messages`."""
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
