"""The terminal: streams that are open and take any text, silence of native libraries, and Ctrl-C."""

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

#: set to anything to see what C++ libraries write to the error descriptor
SHOW = "KD_LOSS_NATIVE_MESSAGES"
_opened: list[bool] = []
#: a descriptor of the user's error stream that nobody mutes while modules are imported
_last_word: list[int] = []
_interrupts = {"pressed": 0, "at once": 0}


def open_streams() -> None:
    """Make the standard streams fit for a command.

    Once in a process. A closed one becomes the null device, lest a file that is opened gets its number; a name
    that is not Unicode is written with escapes; and what OpenCV, libpng, FFmpeg and the runtimes write to descriptor
    2 does not reach the user, whose lines come through a descriptor of their own.
    """
    if _opened:
        return
    _opened.append(True)
    for number in (0, 1, 2):  # the lowest free number is taken
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
    """From now on Ctrl-C ends the process with one line and exit code 130, at once until `interruptible`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        signal.signal(signal.SIGINT, _interrupted)
        _interrupts["at once"] = 1


def interruptible() -> None:
    """From now on Ctrl-C is a `KeyboardInterrupt` first, so that nothing half-written stays."""
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
    """Interrupt again what swallowed it, as a callback of the garbage collector does; what cleans up goes on."""
    if not isinstance(sys.exc_info()[1], BaseException):
        raise KeyboardInterrupt


def heard() -> None:
    """For code that caught the interruption to end in order; it raises it again itself."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """While modules are imported: an exception in their native code is lost, or aborts the process."""
    _interrupts["at once"] += 1
    try:
        yield
    finally:
        _interrupts["at once"] -= 1


def finish() -> None:
    """At the end of a command: where a library swallowed Ctrl-C, it counts all the same."""
    if _interrupts["pressed"]:
        stop()


def write_error(line: str) -> None:
    """A line on standard error that reaches the user while `quiet_stderr` mutes that for libraries, too."""
    with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads any more
        if _last_word:
            sys.stderr.flush()
            os.write(_last_word[0], f"{line}\n".encode(sys.stderr.encoding or "utf-8", "backslashreplace"))
        else:
            print(line, file=sys.stderr)


def stop() -> NoReturn:
    """One line, exit code 130, and nothing of a library's own ending."""
    heard()
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        os.write(_last_word[0] if _last_word else sys.stderr.fileno(), b"stopped\n")
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        sys.stdout.flush()
    os._exit(130)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "face"), counted(0, "face"), counted(2000, "picture")
    ('1 face', '0 faces', '2,000 pictures')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep start-up notes and progress of C++ libraries, and Python's warnings, from the user.

    Exceptions pass.
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
    """That of C++ libraries and that of Python, which a command keeps apart; none that is closed."""
    found = set()
    with contextlib.suppress(OSError):
        os.fstat(2)
        found.add(2)
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, closed, or no descriptor at all
        sys.stderr.flush()
        found.add(sys.stderr.fileno())
    return found


class WithoutTensorFlow:
    """An import hook that hides TensorFlow: on another backend Keras imports it just to see whether it is there."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse TensorFlow, leave every other module to the finders after this one."""
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
