"""Opens an untrusted file in a child process before this process opens it.

The readers are C or C++: a damaged file can abort the process or hang it forever, and a small one can allocate any
amount of memory. The child has a memory limit; a failure is reported in one line.
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

#: memory limit for opening and running a file, in bytes: the largest network here needs a fifth
MOST_MEMORY = 3 << 30
SECONDS = 120
#: words in the libraries' errors that indicate a failed allocation
_WORDS = ("alloc", "memory")
#: (module, file, size, modification time) -> the fault found, empty if none
_tried: dict[tuple[str, Path, int, int], str] = {}


def check_trial(path: Path, module: str, *arguments: str) -> None:
    """Raise a `UserError` if a child process cannot read a file or does not survive reading it.

    Runs once per process for each version of a file: it takes 0.2 to 0.5 s.

    Args:
        path: the file to read.
        module: run as `python -m MODULE ARGUMENTS… FILE`; its main calls `answer`.
        *arguments: arguments of that module, before the file.
    """
    key = (module, *_state(path))
    if key not in _tried:
        _tried[key] = _trial(key[1], module, arguments)
    if _tried[key]:
        raise UserError(f"{path} {_tried[key]}")


def trust(path: Path, module: str) -> None:
    """Mark a file that this process has just written: it is not tried unless it changes."""
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
        lines = done.stdout.decode(errors="replace").split("\n")  # ONNX Runtime prints pages of output before it
        return "does not load: " + ([line.strip() for line in lines if line.strip()] or ["no reason given"])[-1]
    name = f"exit code {done.returncode}"
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-done.returncode).name
    if name == "SIGALRM":
        return "does not load: reading it does not come to an end; the file is damaged"
    return f"does not load: its runtime ended the process that tried it ({name}); the file is damaged"


def limit_memory() -> None:
    """In the child: limit memory to `MOST_MEMORY` above its present use; no effect where the system cannot."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        most = (int(status["VmSize"].split()[0]) << 10) + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, in a library's words, reports a failed allocation."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS)


def answer(action: Callable[[], None]) -> NoReturn:
    """The main function of the child: exits with code 3 and a reason if `action` raises, otherwise with 0."""
    try:
        action()
    except ImportError:
        sys.exit(0)  # the parent reports missing packages
    except Exception as error:  # the libraries raise errors of any type
        reason = first_line(error)
        if out_of_memory(error):
            reason = f"it needs more than {MOST_MEMORY >> 20} MiB of memory"
        print(reason, flush=True)
        os._exit(3)
    sys.stdout.flush()
    os._exit(0)
