"""The terminal: open streams that accept any text, silent native libraries, and Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NoReturn

#: set to any value to see what C++ libraries write to the error descriptor
SHOW = "KD_LOSS_NATIVE_MESSAGES"
_opened: list[bool] = []
#: a descriptor of the user's error stream that stays unmuted while modules are imported
_last_word: list[int] = []
_interrupts = {"pressed": 0, "at once": 0}


def open_streams() -> None:
    """Prepare the standard streams for a command.

    Runs once per process. A closed stream becomes the null device, so that no opened file gets its number; names
    that are not Unicode are written with escapes; and output of OpenCV, libpng, FFmpeg and the runtimes to descriptor
    2 is hidden from the user, whose messages go through a separate descriptor.
    """
    if _opened:
        return
    _opened.append(True)
    for number in (0, 1, 2):  # the system assigns the lowest free number
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif not os.environ.get(SHOW):
        own = os.dup(2)
        sys.stderr = os.fdopen(own, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    with contextlib.suppress(OSError, ValueError):
        _last_word.append(os.dup(sys.stderr.fileno()))


def catch_interrupts() -> None:
    """Make Ctrl-C end the process with one line and exit code 130; immediately until `interruptible` is called."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        signal.signal(signal.SIGINT, _interrupted)
        _interrupts["at once"] = 1


def interruptible() -> None:
    """Make the first Ctrl-C raise `KeyboardInterrupt`, so that no half-written files remain."""
    _interrupts["at once"] = 0


def _interrupted(_number: int, _frame: Any) -> None:
    _interrupts["pressed"] += 1
    if _interrupts["at once"] or _interrupts["pressed"] > 1:
        stop()
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _again)
        signal.setitimer(signal.ITIMER_REAL, 1, 1)
    raise KeyboardInterrupt


def _again(_number: int, _frame: Any) -> None:
    """Interrupt again if the exception was swallowed, as in a garbage collector callback; clean-up continues."""
    if not isinstance(sys.exc_info()[1], BaseException):
        raise KeyboardInterrupt


def acknowledge_interrupt() -> None:
    """For code that catches the interruption to shut down cleanly and re-raises it itself."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once: during imports, native code loses an exception or aborts on it."""
    _interrupts["at once"] += 1
    try:
        yield
    finally:
        _interrupts["at once"] -= 1


def finish() -> None:
    """At the end of a command: honour a Ctrl-C that a library swallowed."""
    if _interrupts["pressed"]:
        stop()


def write_error(line: str) -> None:
    """Write a line on standard error that reaches the user even while `quiet_stderr` mutes libraries."""
    with contextlib.suppress(OSError, ValueError):  # closed, or without a reader
        if _last_word:
            sys.stderr.flush()
            os.write(_last_word[0], f"{line}\n".encode(sys.stderr.encoding or "utf-8", "backslashreplace"))
        else:
            print(line, file=sys.stderr)


def stop() -> NoReturn:
    """Exit with one line and code 130, without the libraries' own shutdown."""
    acknowledge_interrupt()
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        os.write(_last_word[0] if _last_word else sys.stderr.fileno(), b"stopped\n")
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        sys.stdout.flush()
    os._exit(130)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "face"), counted(0, "face"), counted(2000, "image")
    ('1 face', '0 faces', '2,000 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time in words, to two units.

    >>> duration(15_020), duration(754), duration(41.3)
    ('4 h 10 min', '13 min', '41 s')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide start-up messages and progress of C++ libraries, and Python's warnings, from the user.

    Exceptions propagate.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    kept = {number: os.dup(number) for number in _error_descriptors()}
    with open(os.devnull, "w") as nowhere:
        for number in kept:
            os.dup2(nowhere.fileno(), number)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def _error_descriptors() -> set[int]:
    """The open descriptors of C++ libraries and of Python, which a command keeps separate."""
    found = set()
    with contextlib.suppress(OSError):
        os.fstat(2)
        found.add(2)
    with contextlib.suppress(AttributeError, OSError, ValueError):  # None, closed, or without a descriptor
        sys.stderr.flush()
        found.add(sys.stderr.fileno())
    return found


class WithoutTensorFlow:
    """An import hook that hides TensorFlow: on other backends Keras imports it only to test whether it exists."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse TensorFlow, leave every other module to the finders after this one."""
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
