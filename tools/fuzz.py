"""Damaged inputs: `python tools/fuzz.py [--factor 10] [--seed 0] [--kinds KIND …] [--output FOLDER]`.

Every input of every kind is made from a sound file by a seeded damage, and given to the function that the commands
read such files with. An answer or one line is right; anything else is a traceback, a process that ends a crash, a file
that is not as it was afterwards counts as lost bytes. Each kind runs in a process of its own, with a limit
on its memory. `--factor 1` tries 13,500 inputs; `fuzz.json` holds the figures, a text for every input that broke
something lies beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from tools.fuzz_kinds import COUNTS, kind_of

#: MB that a process may take more than it has when it starts on the inputs
ROOM = 3000


def memory(entry: str) -> int:
    """`VmSize`, or `VmHWM` (the most resident so far), of this process in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(entry))
    return int(line.split()[1]) >> 10


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size in bytes and time of change in ns of every file under a folder."""
    found = {}
    for root, _, files in os.walk(folder):
        for name in files:
            status = os.lstat(os.path.join(root, name))
            found[os.path.join(root, name)] = (status.st_size, status.st_mtime_ns)
    return found


def _child(module: str, arguments: list[str], scratch: str) -> None:
    """A trial's own main, with what it says in a file."""
    os.dup2(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def fork_trials(scratch: Path) -> None:
    """Trials (`kd_loss.system.sandbox`) forked from a process with all imports; `scratch` is a scratch file."""
    from kd_loss.system import sandbox

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["onnxruntime", "ai_edge_litert.interpreter", "h5py", "kd_loss.runtimes.files"])

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        module, *arguments = command[command.index("-m") + 1 :]
        child = context.Process(target=_child, args=(module, arguments, str(scratch)))
        child.start()
        child.join(sandbox.SECONDS)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(command, sandbox.SECONDS)
        return subprocess.CompletedProcess(command, child.exitcode, scratch.read_bytes() if scratch.is_file() else b"")

    sandbox.subprocess = SimpleNamespace(  # type: ignore[assignment]
        run=run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
    )


def worker(name: str, seed: int, start: int, count: int, keep: Path) -> None:
    """Try inputs `start` to `count`; a line of JSON for each that is not an answer or one line of ours."""
    import resource

    from kd_loss.imaging.pictures import BadSample
    from kd_loss.system.errors import UserError
    from kd_loss.system.terminal import quiet_stderr

    with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryDirectory() as apart:
        folder = Path(temporary)
        fork_trials(Path(apart) / "scratch")
        with quiet_stderr():
            kind = kind_of(name, folder)
        most = (memory("VmSize") + ROOM) << 20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resident, refused, bad, lost = memory("VmHWM"), 0, 0, 0
        for index in range(start, count):
            kind.make(np.random.default_rng((seed, zlib.crc32(name.encode()), index)))
            print(index, flush=True)
            before = stamps(folder)
            try:
                kind.read()
            except (UserError, BadSample) as error:
                refused += 1
                bad += "\n" in str(error)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                bad += 1
                (keep / f"{name}-{index}.txt").write_text(traceback.format_exc())
            after = stamps(folder)
            lost += sum(stamp[0] for path, stamp in before.items() if after.get(path) != stamp)
        found = {"refused": refused, "tracebacks": bad, "lost": lost, "mb": memory("VmHWM") - resident}
        print(json.dumps(found), flush=True)


def run(name: str, seed: int, count: int, keep: Path) -> dict[str, Any]:
    """All inputs of a kind; a process that one of them ends is started again after it."""
    total = {"inputs": count, "refused": 0, "tracebacks": 0, "crashes": 0, "lost": 0, "mb": 0, "seconds": 0.0}
    start, begun = 0, time.perf_counter()
    while start < count:
        command = [sys.executable, __file__, "--worker", name, str(seed), str(start), str(count), str(keep)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        if done.returncode == 0:
            part = json.loads(lines[-1])
            for key in ("refused", "tracebacks", "lost"):
                total[key] += part[key]
            total["mb"] = max(total["mb"], part["mb"])
            break
        if not lines:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
        total["crashes"] += 1
        (keep / f"{name}-{lines[-1]}.txt").write_text(f"exit code {done.returncode}\n{done.stderr[-2000:]}")
        start = int(lines[-1]) + 1
    total["seconds"] = round(time.perf_counter() - begun, 1)
    return total


def results(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind by kind."""
    for name in options.kinds:
        count = max(1, round(COUNTS[name] * options.factor))
        found = run(name, options.seed, count, options.output)
        print(
            f"{name}: {found['inputs']} inputs, {found['refused']} refused, {found['tracebacks']} tracebacks, "
            f"{found['crashes']} crashes, {found['lost']} bytes lost, {found['mb']} MB more, {found['seconds']} s",
            flush=True,
        )
        yield name, found


def main() -> None:
    """Try, print and write; exit code 1 where something broke."""
    if sys.argv[1:2] == ["--worker"]:
        name, seed, start, count, keep = sys.argv[2:]
        worker(name, int(seed), int(start), int(count), Path(keep))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(COUNTS), choices=list(COUNTS), metavar="KIND")
    parser.add_argument("--output", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    kinds = dict(results(options))
    keys = ("inputs", "refused", "tracebacks", "crashes", "lost")
    total: dict[str, Any] = {key: sum(kind[key] for kind in kinds.values()) for key in keys}
    total["mb"] = max(kind["mb"] for kind in kinds.values())
    print("all: " + ", ".join(f"{value} {key}" for key, value in total.items()))
    record = {"seed": options.seed, "factor": options.factor, "room_mb": ROOM, "all": total, "kinds": kinds}
    (options.output / "fuzz.json").write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(1 if total["tracebacks"] or total["crashes"] or total["lost"] else 0)


if __name__ == "__main__":
    main()
