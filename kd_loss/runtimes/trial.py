"""A network of another runtime, opened and run in a process of its own before this one opens it.

ONNX Runtime, LiteRT and OpenCV are C++: a damaged file can abort the process, and a small one can ask for any amount
of memory. The child has a limit on its memory; how it ends is said in one line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from kd_loss.errors import UserError
from kd_loss.shipped import came_along

#: memory that opening and running a file may take, in bytes: the largest network here takes a fifth
MOST_MEMORY = 3 << 30
SECONDS = 120
#: by which the runtimes' errors say that memory was refused
_WORDS = ("alloc", "memory")


def check_trial(path: Path, kind: str = "network") -> None:
    """A `UserError` where a child process that opens and runs a file is refused it or does not survive it.

    Files that came with this package are not tried: that costs a third of a second, each time.

    Args:
        kind: `network`, or `yunet` for a model of OpenCV's face detector.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if came_along(path):
        return
    problem = _trial(path.absolute(), kind, status.st_size, status.st_mtime_ns)
    if problem:
        raise UserError(f"{path} {problem}")


@lru_cache(maxsize=256)
def _trial(path: Path, kind: str, size: int, changed: int) -> str:
    """What is wrong with a file, empty for nothing; once in a process for each state of it."""
    del size, changed
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", "-m", "kd_loss.runtimes.trial", kind, str(path)]
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
    return f"does not load: its runtime ended the process that tried it ({name}); the file is damaged"


def _limit_memory() -> None:
    """Leave this process `MOST_MEMORY` more than it has; where the system cannot, nothing."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        most = (int(status["VmSize"].split()[0]) << 10) + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _try(kind: str, path: Path) -> None:
    """Open and run a file; whatever is raised is the answer."""
    import numpy as np

    if kind == "yunet":
        import cv2

        _limit_memory()
        try:
            cv2.FaceDetectorYN.create(str(path), "", (320, 320)).detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:  # that it is another network, or none, is said where it is used
            if any(word in str(error).lower() for word in _WORDS):
                raise
        return
    from kd_loss.runtimes.files import open_untried

    with contextlib.suppress(ImportError):  # before the limit: a library is no part of the file
        import onnxruntime  # noqa: F401
    _limit_memory()
    run, shape = open_untried(path, 1)
    shape = [1, *(side if isinstance(side, int) and side > 0 else 64 for side in shape[1:])]
    for batch in (np.zeros(shape, np.float32), np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)):
        try:
            run(batch)
        except MemoryError:
            raise
        except Exception as error:  # a size that does not fit is found where the right one is known
            if any(word in str(error).lower() for word in _WORDS):
                raise


def main() -> None:
    """The child: `python -m kd_loss.runtimes.trial KIND FILE`; exit code 3 and a reason, or 0."""
    kind, path = sys.argv[1:]
    try:
        _try(kind, Path(path))
    except ImportError:
        sys.exit(0)  # what is not installed is said by the parent
    except Exception as error:  # the runtimes raise what they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in _WORDS):
            reason = f"it wants more than {MOST_MEMORY >> 20} MiB of memory"
        print(reason, flush=True)
        os._exit(3)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
