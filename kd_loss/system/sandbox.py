"""A file of a stranger, opened in a process of its own before this one opens it.

What reads it is C or C++: a damaged file can abort the process, hold it for ever, and a small one can ask for any
amount of memory. The child has a limit on its memory; how it ends is said in one line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from kd_loss.system.errors import UserError, first_line

#: memory that opening and running a file may take, in bytes: the largest network here takes a fifth
MOST_MEMORY = 3 << 30
SECONDS = 120
#: by which the libraries' errors say that memory was refused
_WORDS = ("alloc", "memory")
#: (module, file, size, time of change) -> what is wrong with it, empty for nothing
_tried: dict[tuple[str, Path, int, int], str] = {}


def check_trial(path: Path, module: str, *arguments: str) -> None:
    """A `UserError` where a child process that reads a file is refused it or does not survive it.

    Once in a process for each state of a file: it costs a fifth to half of a second.

    Args:
        module: run as `python -m MODULE ARGUMENTS… FILE`; its main calls `answer`.
    """
    key = (module, *_state(path))
    if key not in _tried:
        _tried[key] = _trial(key[1], module, arguments)
    if _tried[key]:
        raise UserError(f"{path} {_tried[key]}")


def trust(path: Path, module: str) -> None:
    """This process has just written the file; as long as it stays as it is, it is not tried."""
    _tried[(module, *_state(path))] = ""


def _state(path: Path) -> tuple[Path, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return path.absolute(), status.st_size, status.st_mtime_ns


def _trial(path: Path, module: str, arguments: tuple[str, ...]) -> str:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", "-m", module, *arguments, str(path)]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"does not load: it took more than {SECONDS} s"
    if done.returncode == 0:
        return ""
    if done.returncode == 3:
        lines = done.stdout.decode(errors="replace").split("\n")  # ONNX Runtime prints pages of its own before
        return "does not load: " + ([line.strip() for line in lines if line.strip()] or ["no reason given"])[-1]
    name = f"exit code {done.returncode}"
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-done.returncode).name
    if name == "SIGALRM":
        return "does not load: reading it does not come to an end; the file is damaged"
    return f"does not load: its runtime ended the process that tried it ({name}); the file is damaged"


def limit_memory() -> None:
    """In the child: leave this process `MOST_MEMORY` more than it has; where the system cannot, nothing."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        most = (int(status["VmSize"].split()[0]) << 10) + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says, in a library's words, that memory was refused."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS)


def answer(action: Callable[[], None]) -> NoReturn:
    """The child's whole main: exit code 3 and a reason for what is raised, or 0."""
    try:
        action()
    except ImportError:
        sys.exit(0)  # what is not installed is said by the parent
    except Exception as error:  # the libraries raise what they like
        reason = first_line(error)
        if out_of_memory(error):
            reason = f"it wants more than {MOST_MEMORY >> 20} MiB of memory"
        print(reason, flush=True)
        os._exit(3)
    sys.stdout.flush()
    os._exit(0)
