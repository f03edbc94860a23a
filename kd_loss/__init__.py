"""Landmark networks for faces, distilled from several teachers (KD-Loss and its relatives).

The names of `__all__` are imported on first use: `import kd_loss` alone imports neither NumPy nor
Keras. `docs/python.md` has examples.
"""

import logging
import os
from typing import TYPE_CHECKING, Any

# an image of hostile size is rejected before its pixels are allocated; OpenCV reads this when it is imported
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))

from kd_loss.system.versions import __version__ as __version__

logging.getLogger(__name__).addHandler(logging.NullHandler())  # callers handle the messages; commands show them

#: name -> the module that defines it, or the module itself
_EXPORTS = {
    **{name: f"kd_loss.{name}" for name in ("losses", "methods")},  # names gathered by subject
    **dict.fromkeys(("FaceLandmarks",), "kd_loss.inference.result"),
    **dict.fromkeys(("LandmarkPredictor",), "kd_loss.inference.predictor"),
    **dict.fromkeys(("FaceTracker",), "kd_loss.inference.tracking"),
    **dict.fromkeys(("DETECTORS", "BoxCalibration", "Detection", "open_detector"), "kd_loss.detection"),
    **dict.fromkeys(("LandmarkScheme",), "kd_loss.schemes.landmarks"),
    **dict.fromkeys(("open_dataset",), "kd_loss.datasets.prepared"),
    **dict.fromkeys(("HeadInputs", "load_network", "register_head"), "kd_loss.networks"),
    **dict.fromkeys(("register_architecture",), "kd_loss.networks.architecture_registry"),
    **dict.fromkeys(("METHODS", "DistillationMethod", "TeacherMean", "get_method", "register"), "kd_loss.distillation"),
    **dict.fromkeys(("Distiller",), "kd_loss.training.distiller"),
    **dict.fromkeys(("record",), "kd_loss.training.teachers.record"),
    **dict.fromkeys(("with_answers",), "kd_loss.datasets.plain"),
    **dict.fromkeys(("FunctionTeacher", "LiveTeacher", "RecordedTeacher"), "kd_loss.training.teachers.teacher"),
    **dict.fromkeys(("Answers",), "kd_loss.datasets.transform"),
    **dict.fromkeys(("Coordinates",), "kd_loss.schemes.coordinates"),
    **dict.fromkeys(("UserError",), "kd_loss.system.errors"),
    **dict.fromkeys(
        (
            *("prepare", "train_teacher", "train_student", "test", "predict", "compare"),
            *("export_network", "import_network", "benchmark_networks", "draw_loss", "run_demo"),
            *("show", "list_methods", "train_keypoints", "distil_keypoints", "test_keypoints"),
            *("export_keypoints", "animate_keypoints"),
            *("prepare_persons", "train_recogniser", "verify", "embed", "export_recogniser"),
        ),
        "kd_loss.api",
    ),
    # the options of those commands as objects
    **dict.fromkeys(("CompareOptions",), "kd_loss.comparison.compare"),
    **dict.fromkeys(("CurvesOptions",), "kd_loss.comparison.draw_loss"),
    **dict.fromkeys(("MethodsOptions",), "kd_loss.comparison.methods"),
    **dict.fromkeys(("PrepareOptions",), "kd_loss.datasets.prepare_command"),
    **dict.fromkeys(("ShowOptions",), "kd_loss.datasets.show"),
    **dict.fromkeys(("DemoOptions",), "kd_loss.demo.demo_command"),
    **dict.fromkeys(("EvaluationOptions",), "kd_loss.evaluation.test_command"),
    **dict.fromkeys(("ExportOptions",), "kd_loss.export.export_command"),
    **dict.fromkeys(("ImportOptions",), "kd_loss.importing.import_command"),
    **dict.fromkeys(("PredictOptions",), "kd_loss.inference.predict_command"),
    **dict.fromkeys(("AnimationOptions",), "kd_loss.keypoints.animate"),
    **dict.fromkeys(("KeypointExportOptions",), "kd_loss.keypoints.export"),
    **dict.fromkeys(
        ("KeypointDistillationOptions", "KeypointOptions", "KeypointTestOptions"),
        "kd_loss.keypoints.options",
    ),
    **dict.fromkeys(("PersonsOptions",), "kd_loss.recognition.prepare"),
    **dict.fromkeys(
        ("EmbedOptions", "RecogniserExportOptions", "RecogniserOptions", "VerifyOptions"),
        "kd_loss.recognition.options",
    ),
    **dict.fromkeys(("verify_persons",), "kd_loss.recognition.verify"),
    **dict.fromkeys(("Recogniser", "load_recogniser"), "kd_loss.recognition.recogniser"),
    **dict.fromkeys(("open_persons",), "kd_loss.recognition.dataset"),
    **dict.fromkeys(("BenchmarkOptions",), "kd_loss.speed.benchmark_command"),
    **dict.fromkeys(("StudentOptions", "TeacherOptions"), "kd_loss.training.options"),
}

__all__ = [
    "DETECTORS",
    "METHODS",
    "AnimationOptions",
    "Answers",
    "BenchmarkOptions",
    "BoxCalibration",
    "CompareOptions",
    "Coordinates",
    "CurvesOptions",
    "DemoOptions",
    "Detection",
    "DistillationMethod",
    "Distiller",
    "EmbedOptions",
    "EvaluationOptions",
    "ExportOptions",
    "FaceLandmarks",
    "FaceTracker",
    "FunctionTeacher",
    "HeadInputs",
    "ImportOptions",
    "KeypointDistillationOptions",
    "KeypointExportOptions",
    "KeypointOptions",
    "KeypointTestOptions",
    "LandmarkPredictor",
    "LandmarkScheme",
    "LiveTeacher",
    "MethodsOptions",
    "PersonsOptions",
    "PredictOptions",
    "PrepareOptions",
    "Recogniser",
    "RecogniserExportOptions",
    "RecogniserOptions",
    "RecordedTeacher",
    "ShowOptions",
    "StudentOptions",
    "TeacherMean",
    "TeacherOptions",
    "UserError",
    "VerifyOptions",
    "animate_keypoints",
    "benchmark_networks",
    "compare",
    "distil_keypoints",
    "draw_loss",
    "embed",
    "export_keypoints",
    "export_network",
    "export_recogniser",
    "get_method",
    "import_network",
    "list_methods",
    "load_network",
    "load_recogniser",
    "losses",
    "methods",
    "open_dataset",
    "open_detector",
    "open_persons",
    "predict",
    "prepare",
    "prepare_persons",
    "record",
    "register",
    "register_architecture",
    "register_head",
    "run_demo",
    "show",
    "test",
    "test_keypoints",
    "train_keypoints",
    "train_recogniser",
    "train_student",
    "train_teacher",
    "verify",
    "verify_persons",
    "with_answers",
]

if TYPE_CHECKING:
    from kd_loss.api import (
        animate_keypoints,
        benchmark_networks,
        compare,
        distil_keypoints,
        draw_loss,
        embed,
        export_keypoints,
        export_network,
        export_recogniser,
        import_network,
        list_methods,
        predict,
        prepare,
        prepare_persons,
        run_demo,
        show,
        test,
        test_keypoints,
        train_keypoints,
        train_recogniser,
        train_student,
        train_teacher,
        verify,
    )
    from kd_loss.comparison.compare import CompareOptions
    from kd_loss.comparison.draw_loss import CurvesOptions
    from kd_loss.comparison.methods import MethodsOptions
    from kd_loss.datasets.plain import with_answers
    from kd_loss.datasets.prepare_command import PrepareOptions
    from kd_loss.datasets.prepared import open_dataset
    from kd_loss.datasets.show import ShowOptions
    from kd_loss.datasets.transform import Answers
    from kd_loss.demo.demo_command import DemoOptions
    from kd_loss.detection import DETECTORS, BoxCalibration, Detection, open_detector
    from kd_loss.distillation import METHODS, DistillationMethod, TeacherMean, get_method, register
    from kd_loss.evaluation.test_command import EvaluationOptions
    from kd_loss.export.export_command import ExportOptions
    from kd_loss.importing.import_command import ImportOptions
    from kd_loss.inference.predict_command import PredictOptions
    from kd_loss.inference.predictor import LandmarkPredictor
    from kd_loss.inference.result import FaceLandmarks
    from kd_loss.inference.tracking import FaceTracker
    from kd_loss.keypoints.animate import AnimationOptions
    from kd_loss.keypoints.export import KeypointExportOptions
    from kd_loss.keypoints.options import KeypointDistillationOptions, KeypointOptions, KeypointTestOptions
    from kd_loss.networks import HeadInputs, load_network, register_head
    from kd_loss.networks.architecture_registry import register_architecture
    from kd_loss.recognition.dataset import open_persons
    from kd_loss.recognition.options import (
        EmbedOptions,
        RecogniserExportOptions,
        RecogniserOptions,
        VerifyOptions,
    )
    from kd_loss.recognition.prepare import PersonsOptions
    from kd_loss.recognition.recogniser import Recogniser, load_recogniser
    from kd_loss.recognition.verify import verify_persons
    from kd_loss.schemes.coordinates import Coordinates
    from kd_loss.schemes.landmarks import LandmarkScheme
    from kd_loss.speed.benchmark_command import BenchmarkOptions
    from kd_loss.system.errors import UserError
    from kd_loss.training.distiller import Distiller
    from kd_loss.training.options import StudentOptions, TeacherOptions
    from kd_loss.training.teachers.record import record
    from kd_loss.training.teachers.teacher import FunctionTeacher, LiveTeacher, RecordedTeacher


#: old name -> name
_RENAMED = {"DatasetSpec": "LandmarkScheme"}


def __getattr__(name: str) -> Any:
    """Import a name on first use (PEP 562), without the start-up notes of native libraries."""
    if name in _RENAMED:
        from kd_loss.system.deprecation import warn_renamed

        warn_renamed(f"kd_loss.{name}", _RENAMED[name])
        return getattr(__import__("kd_loss"), _RENAMED[name])
    if name not in _EXPORTS:
        raise AttributeError(f"module 'kd_loss' has no attribute '{name}'")
    import importlib

    from kd_loss.system.terminal import quiet_stderr

    with quiet_stderr():
        module = importlib.import_module(_EXPORTS[name])
        value = module if module.__name__ == f"kd_loss.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
