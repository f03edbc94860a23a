"""The command `kd-loss` and the entry points of the three scripts.

A command is an options class and a function that takes it; both are imported when the command runs, so
that `--help` and `prepare` do not wait for TensorFlow.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import itertools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from kd_loss.system.configuration import Parser, add_options, build
from kd_loss.system.deprecation import old_names_shown
from kd_loss.system.errors import UserError, disk_error
from kd_loss.system.messages import FLAGS, LOGGER, add_flags, shown
from kd_loss.system.terminal import (
    WithoutTensorFlow,
    at_once,
    catch_interrupts,
    finish,
    interruptible,
    open_streams,
    quiet_stderr,
    stop,
)
from kd_loss.system.versions import __version__

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """The location of a command's options class and function, as `module:name`, and its one line of help.

    `light`: it builds no network; Keras uses NumPy for it, so that TensorFlow is not imported.
    """

    options: str
    function: str
    help: str
    light: bool = False


COMMANDS = {
    "prepare": Command(
        "kd_loss.datasets.prepare_command:PrepareOptions",
        "kd_loss.datasets.prepare_command:run_prepare",
        "an archive of annotated faces -> a prepared dataset",
    ),
    "show": Command(
        "kd_loss.datasets.show:ShowOptions",
        "kd_loss.datasets.show:run_show",
        "prepared faces with points, numbers and pairs, and augmented ones",
    ),
    "train-teacher": Command(
        "kd_loss.training.options:TeacherOptions",
        "kd_loss.training.train_teachers:train_teachers",
        "train the tough and the tolerant teacher of a dataset",
    ),
    "methods": Command(
        "kd_loss.comparison.methods:MethodsOptions",
        "kd_loss.comparison.methods:run_methods",
        "the distillation methods: objective, teachers, parameters, source",
        light=True,
    ),
    "train-student": Command(
        "kd_loss.training.options:StudentOptions",
        "kd_loss.training.train_student:train_student",
        "train a student, distilled or alone",
    ),
    "train-keypoints": Command(
        "kd_loss.keypoints.options:KeypointOptions",
        "kd_loss.keypoints.train:run_train_keypoints",
        "train a detector of keypoints that nobody annotated, on clips",
    ),
    "distil-keypoints": Command(
        "kd_loss.keypoints.options:KeypointDistillationOptions",
        "kd_loss.keypoints.distil:run_distil_keypoints",
        "a small detector from the answers of a large one",
    ),
    "animate-keypoints": Command(
        "kd_loss.keypoints.animate:AnimationOptions",
        "kd_loss.keypoints.animate:run_animate_keypoints",
        "one image moved by the keypoints of a clip, as a .gif",
    ),
    "test-keypoints": Command(
        "kd_loss.keypoints.options:KeypointTestOptions",
        "kd_loss.keypoints.evaluate:run_test_keypoints",
        "judge detectors by the landmarks that can be read from their keypoints",
    ),
    "prepare-persons": Command(
        "kd_loss.recognition.prepare:PersonsOptions",
        "kd_loss.recognition.prepare:run_prepare_persons",
        "images of persons and pairs -> crops, to train and verify recognition",
    ),
    "train-recogniser": Command(
        "kd_loss.recognition.options:RecogniserOptions",
        "kd_loss.recognition.train:run_train_recogniser",
        "train a recognition network, with landmarks (FAN-Face), dynamic (CondFace) or distilled",
    ),
    "verify": Command(
        "kd_loss.recognition.options:VerifyOptions",
        "kd_loss.recognition.verify:run_verify",
        "do two images show one person? accuracy over folds, ROC, TAR at FAR, a report",
    ),
    "embed": Command(
        "kd_loss.recognition.options:EmbedOptions",
        "kd_loss.recognition.embed:run_embed",
        "images -> embeddings, as .npy or CSV",
    ),
    "export-recogniser": Command(
        "kd_loss.recognition.options:RecogniserExportOptions",
        "kd_loss.recognition.export:run_export_recogniser",
        "a recogniser for LiteRT and ONNX Runtime",
    ),
    "test": Command(
        "kd_loss.evaluation.test_command:EvaluationOptions",
        "kd_loss.evaluation.test_command:run_test",
        "NME, FR and AUC per subset, plots, images and a report",
    ),
    "predict": Command(
        "kd_loss.inference.predict_command:PredictOptions",
        "kd_loss.inference.predict_command:run_predict",
        "landmarks on images of faces",
    ),
    "import": Command(
        "kd_loss.importing.import_command:ImportOptions",
        "kd_loss.importing.import_command:run_import",
        "a network from an old .h5 of Keras 2",
    ),
    "export": Command(
        "kd_loss.export.export_command:ExportOptions",
        "kd_loss.export.export_command:run_export",
        "a student for other runtimes: LiteRT, ONNX, SavedModel, a web page",
    ),
    "export-keypoints": Command(
        "kd_loss.keypoints.export:KeypointExportOptions",
        "kd_loss.keypoints.export:run_export_keypoints",
        "a keypoint detector for LiteRT, ONNX Runtime and a web page",
    ),
    "benchmark": Command(
        "kd_loss.speed.benchmark_command:BenchmarkOptions",
        "kd_loss.speed.benchmark_command:run_benchmark",
        "time, memory and size of networks in their runtimes; the speed of training",
    ),
    "compare": Command(
        "kd_loss.comparison.compare:CompareOptions",
        "kd_loss.comparison.compare:run_compare",
        "several methods on equal terms: train, test, one table",
    ),
    "draw-loss": Command(
        "kd_loss.comparison.draw_loss:CurvesOptions",
        "kd_loss.comparison.draw_loss:run_curves",
        "draw the terms of KD-Loss",
    ),
    "demo": Command(
        "kd_loss.demo.demo_command:DemoOptions",
        "kd_loss.demo.demo_command:run_demo",
        "the whole job on drawn faces, in minutes",
    ),
}

#: older names of commands
ALIASES = {"curves": "draw-loss"}
#: commands for maintainers only: now tools of a checkout
MOVED = {"train-finder": "python -m tools.finder"}


def resolve(place: str) -> Any:
    """The object at `module:name`."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def execute(argv: Sequence[str], prog: str) -> None:
    """Run a command line without the process's error handling: errors are raised."""
    parser = Parser(prog=prog, description="Landmark networks distilled from several teachers.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--completion", metavar="SHELL", help="print a completion script: bash, zsh or fish")
    add_flags(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help, add_help=False)
    flags = list(itertools.takewhile(lambda word: word in FLAGS, argv))
    if argv := argv[len(flags) :]:
        argv = [ALIASES.get(argv[0], argv[0]), *argv[1:]]
    if argv and argv[0] in MOVED:
        raise UserError(f"{argv[0]} is a tool for maintainers: {MOVED[argv[0]]} in a checkout of the project")
    if not argv or argv[0] not in COMMANDS:
        if argv and not argv[0].startswith("-"):
            from kd_loss.system.errors import choose

            argv = [choose(argv[0], COMMANDS, "command"), *argv[1:]]
        else:
            given = parser.parse_args(argv)
            if given.completion is not None:
                from kd_loss.system.completion import script

                names = {name: (resolve(command.options), command.help) for name, command in COMMANDS.items()}
                print(script(given.completion, names), end="")
                return
            parser.print_help()
            return
    execute_command(argv[0], [*flags, *argv[1:]], f"{prog} {argv[0]}")


def check_backend(command: str) -> None:
    """Raises a `UserError` for a `KERAS_BACKEND` that is not installed, unknown to Keras, or unable to train."""
    backend = os.environ.get("KERAS_BACKEND", "")
    if not backend or "keras" in sys.modules:
        return
    known = ("tensorflow", "jax", "torch", "numpy", "openvino")
    if backend not in known:
        raise UserError(f"KERAS_BACKEND={backend}: Keras supports {', '.join(known)}")
    if importlib.util.find_spec(backend) is None:
        raise UserError(f"KERAS_BACKEND={backend}: that package is not installed: pip install {backend}")
    if backend in ("numpy", "openvino") and command.startswith(("train", "distil", "compare", "demo")):
        raise UserError(f"KERAS_BACKEND={backend} cannot train: set it to tensorflow or jax")


def execute_command(name: str, argv: Sequence[str], prog: str) -> Any:
    """Parse one command's options, run it with its messages on the screen, and return its result."""
    with shown():
        return _execute_command(name, argv, prog)


def _options(cls: type, argv: Sequence[str], prog: str) -> Any:
    """The options of a command line, without `--quiet` and `--verbose`, which set what is shown."""
    parser = Parser(prog=prog, description=(cls.__doc__ or "").strip(), allow_abbrev=False)
    add_options(parser, cls)
    add_flags(parser)
    with old_names_shown():
        values = vars(parser.parse_args(argv))
        LOGGER.setLevel(values.pop("messages", logging.INFO))
        options: Any = build(cls, values)
    log.debug("%s", options)
    return options


def _execute_command(name: str, argv: Sequence[str], prog: str) -> Any:
    command = COMMANDS[ALIASES.get(name, name)]
    options = _options(resolve(command.options), argv, prog)
    options.check()  # errors found before the imports, which take seconds
    if command.light and not getattr(options, "plugin", []) and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "numpy"
        sys.meta_path.insert(0, WithoutTensorFlow())
    elif os.environ.get("KERAS_BACKEND") == "jax" and name not in ("export", "benchmark"):
        sys.meta_path.insert(0, WithoutTensorFlow())
    check_backend(name)
    with quiet_stderr(), at_once():
        function = resolve(command.function)
    interruptible()
    return function(options)


def _guard(action: Any, *arguments: Any) -> NoReturn:
    """Run and exit: 0, or 2 and one line on stderr for an error that the user can fix."""
    catch_interrupts()
    open_streams()
    try:
        try:
            action(*arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            stop()
        except Exception:
            finish()  # handles an interruption
            raise
        finish()
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:  # as in `kd-loss … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        _fail("there is not enough memory")
    except OSError as error:
        if error.errno is None:
            raise
        if error.filename is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(str(disk_error(error, Path(str(error.filename or "standard output")))))
        _fail(f"{os.fsdecode(error.filename) if error.filename != '' else 'a file'}: {error.strerror}")
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    with contextlib.suppress(OSError):
        print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def main() -> NoReturn:
    """The console command `kd-loss`."""
    _guard(execute, sys.argv[1:], "kd-loss")


def run_tool(options: type, function: Callable[[Any], object], prog: str) -> NoReturn:
    """A maintainers' tool as a script: its command line, with a command's errors and exit codes."""

    def run() -> None:
        with shown():
            function(_options(options, sys.argv[1:], prog))

    _guard(run)


def run_command(name: str) -> NoReturn:
    """One command as a script of its own, e.g. `python test.py`."""
    _guard(execute_command, name, sys.argv[1:], Path(sys.argv[0]).name)
