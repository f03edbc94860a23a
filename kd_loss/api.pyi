"""Made by `python -m tools.stubs` of the options classes: not to be edited."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import keras
import numpy as np

from kd_loss.inference.result import FaceLandmarks
from kd_loss.schemes.coordinates import Coordinates
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.files import Json
from kd_loss.comparison.compare import CompareOptions
from kd_loss.comparison.draw_loss import CurvesOptions
from kd_loss.comparison.methods import MethodsOptions
from kd_loss.datasets.prepare_command import PrepareOptions
from kd_loss.datasets.show import ShowOptions
from kd_loss.demo.demo_command import DemoOptions
from kd_loss.evaluation.test_command import EvaluationOptions
from kd_loss.export.export_command import ExportOptions
from kd_loss.importing.import_command import ImportOptions
from kd_loss.inference.predict_command import PredictOptions
from kd_loss.keypoints.animate import AnimationOptions
from kd_loss.keypoints.export import KeypointExportOptions
from kd_loss.keypoints.options import KeypointDistillationOptions, KeypointOptions, KeypointTestOptions
from kd_loss.recognition.options import EmbedOptions, RecogniserExportOptions, RecogniserOptions, VerifyOptions
from kd_loss.recognition.prepare import PersonsOptions
from kd_loss.speed.benchmark_command import BenchmarkOptions
from kd_loss.training.options import StudentOptions, TeacherOptions

_Text: TypeAlias = str | PathLike[str]

@overload
def prepare(
    options: PrepareOptions,
    /,
    *,
    coordinates: Coordinates | str | tuple[float, float] = ...,
) -> Json: ...
@overload
def prepare(
    *,
    dataset: _Text = "",
    source: _Text | Iterable[Any] = "",
    scheme: _Text | LandmarkScheme = "",
    format: Literal["auto", "folder", "coco", "cvat", "label_studio", "yolo_pose", "labelme"] = "auto",
    pairs: Literal["check", "given"] = "check",
    size: int = 224,
    margin: float = 0.15,
    border: float = 0.25,
    extra_data: _Text | Sequence[_Text] = ...,
    shape_variance: float = 0.9,
    map_points: _Text = "",
    test_fraction: float = 0.1,
    skip_bad: bool = False,
    count: int = 2000,
    seed: int = 0,
    data: _Text = ...,
    config: _Text = "",
    coordinates: Coordinates | str | tuple[float, float] = ...,
) -> Json: ...

@overload
def show(
    options: ShowOptions,
    /,
) -> list[Path]: ...
@overload
def show(
    *,
    dataset: _Text = "w300",
    data: _Text = ...,
    split: Literal["train", "test"] = "train",
    count: int = 24,
    augment_strength: float = 1.0,
    seed: int = 0,
    output: _Text = "",
    config: _Text = "",
) -> list[Path]: ...

@overload
def list_methods(
    options: MethodsOptions,
    /,
) -> list[dict[str, str]]: ...
@overload
def list_methods(
    names: _Text | Sequence[_Text] = ...,
    *,
    plugin: _Text | Sequence[_Text] = ...,
    markdown: bool = False,
    config: _Text = "",
) -> list[dict[str, str]]: ...

@overload
def train_teacher(
    options: TeacherOptions,
    /,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = ...,
) -> list[Path]: ...
@overload
def train_teacher(
    *,
    dataset: _Text = "w300",
    data: _Text = ...,
    extra_share: float | None = None,
    validation: float = 0.05,
    size: int | None = None,
    head: Literal["", "heatmap", "pooled", "simcc", "pip"] | str = "",
    output_stride: Literal["", "P3", "P4", "P5"] = "",
    plugin: _Text | Sequence[_Text] = ...,
    alpha: float = 1.0,
    dropout: float | None = None,
    pretrained: Literal["none", "imagenet", "noisy-student", "preset"] = "none",
    init: _Text = "",
    epochs: int = 150,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    patience: int = 0,
    seed: int = 0,
    augment_strength: float = 1.0,
    shift: float | None = None,
    scale: float | None = None,
    mirror: bool = True,
    turn_head: float = 0.0,
    workers: int = 2,
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32",
    devices: Literal["one", "all"] = "one",
    distributed: _Text = "",
    process: int = 0,
    processes: int = 1,
    runs: _Text = ...,
    name: _Text = "",
    log_to: Literal["wandb", "mlflow"] | Sequence[Literal["wandb", "mlflow"]] = ...,
    resume: bool = False,
    role: Literal["both", "tough", "tolerant"] = "both",
    arch: _Text = "efficientNet",
    loss: Literal["l1", "mse"] = "l1",
    config: _Text = "",
    callbacks: Sequence[keras.callbacks.Callback] = ...,
) -> list[Path]: ...

@overload
def train_student(
    options: StudentOptions,
    /,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = ...,
) -> Path: ...
@overload
def train_student(
    *,
    dataset: _Text = "w300",
    data: _Text = ...,
    extra_share: float | None = None,
    validation: float = 0.05,
    size: int | None = None,
    head: Literal["", "heatmap", "pooled", "simcc", "pip"] | str = "",
    output_stride: Literal["", "P3", "P4", "P5"] = "",
    plugin: _Text | Sequence[_Text] = ...,
    alpha: float = 1.0,
    dropout: float | None = None,
    pretrained: Literal["none", "imagenet", "noisy-student", "preset"] = "none",
    init: _Text = "",
    epochs: int = 150,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    patience: int = 0,
    seed: int = 0,
    augment_strength: float = 1.0,
    shift: float | None = None,
    scale: float | None = None,
    mirror: bool = True,
    turn_head: float = 0.0,
    workers: int = 2,
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32",
    devices: Literal["one", "all"] = "one",
    distributed: _Text = "",
    process: int = 0,
    processes: int = 1,
    runs: _Text = ...,
    name: _Text = "",
    log_to: Literal["wandb", "mlflow"] | Sequence[Literal["wandb", "mlflow"]] = ...,
    resume: bool = False,
    arch: _Text = "mobileNetV2",
    method_arg: _Text | Sequence[_Text] = ...,
    tough: _Text = "",
    tolerant: _Text = "",
    teacher: _Text | Sequence[_Text] = ...,
    map_points: bool = False,
    teacher_mode: Literal["auto", "live", "cached"] = "auto",
    teacher_views: int = 0,
    teacher_mirror: bool = False,
    cache_limit: float = 4.0,
    unlabelled: _Text = "",
    unlabelled_weight: float = 1.0,
    mix_weight: float = 1.0,
    mix_alpha: float = 0.75,
    visibility: bool = False,
    visibility_weight: float = 0.02,
    freeze: _Text = "",
    method: _Text | Sequence[_Text] = ...,
    stages: _Text | Sequence[_Text] = ...,
    config: _Text = "",
    callbacks: Sequence[keras.callbacks.Callback] = ...,
) -> Path: ...

@overload
def train_keypoints(
    options: KeypointOptions,
    /,
) -> Path: ...
@overload
def train_keypoints(
    *,
    clips: _Text = "",
    arch: _Text = "hourglass",
    alpha: float = 1.0,
    stride: int = 1,
    epochs: int = 30,
    batch_size: int = 16,
    learning_rate: float = 0.001,
    validation: float = 0.1,
    patience: int = 0,
    seed: int = 0,
    runs: _Text = ...,
    name: _Text = "",
    log_to: Literal["wandb", "mlflow"] | Sequence[Literal["wandb", "mlflow"]] = ...,
    resume: bool = False,
    points: int = 10,
    size: int = 64,
    crop: float = 1.0,
    warp: float = 1.0,
    features: _Text = "",
    separation: float = 0.0,
    config: _Text = "",
) -> Path: ...

@overload
def distil_keypoints(
    options: KeypointDistillationOptions,
    /,
) -> Path: ...
@overload
def distil_keypoints(
    *,
    clips: _Text = "",
    arch: _Text = "mobileNetV2",
    alpha: float = 1.0,
    stride: int = 1,
    epochs: int = 30,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    validation: float = 0.1,
    patience: int = 0,
    seed: int = 0,
    runs: _Text = ...,
    name: _Text = "",
    log_to: Literal["wandb", "mlflow"] | Sequence[Literal["wandb", "mlflow"]] = ...,
    resume: bool = False,
    teacher: _Text = "",
    loss: Literal["L1", "L2", "L3"] = "L1",
    as_published: bool = False,
    power: float = 2.0,
    init: _Text = "",
    config: _Text = "",
) -> Path: ...

@overload
def test_keypoints(
    options: KeypointTestOptions,
    /,
) -> list[Json]: ...
@overload
def test_keypoints(
    weights: _Text | Sequence[_Text] = ...,
    *,
    dataset: _Text = "w300",
    data: _Text = ...,
    reference: _Text = "",
    context: float = 1.0,
    jitter: float = 0.0,
    config: _Text = "",
) -> list[Json]: ...

@overload
def export_keypoints(
    options: KeypointExportOptions,
    /,
) -> dict[Path, float]: ...
@overload
def export_keypoints(
    weights: _Text = "",
    *,
    format: Literal["litert", "onnx", "web"] | Sequence[Literal["litert", "onnx", "web"]] = ...,
    precision: Literal["fp32", "fp16"] = "fp32",
    web_runtime: _Text = "",
    output: _Text = "",
    config: _Text = "",
) -> dict[Path, float]: ...

@overload
def animate_keypoints(
    options: AnimationOptions,
    /,
) -> Path: ...
@overload
def animate_keypoints(
    weights: _Text = "",
    *,
    source: _Text = "synthetic",
    driving: _Text = "synthetic",
    output: _Text = "animation.gif",
    config: _Text = "",
) -> Path: ...

@overload
def prepare_persons(
    options: PersonsOptions,
    /,
) -> Json: ...
@overload
def prepare_persons(
    *,
    dataset: _Text = "persons",
    train: _Text = "",
    test: _Text = "",
    pairs: _Text = "",
    align: bool = True,
    size: int = 112,
    landmarks: _Text = "",
    doubtful: Literal["refuse", "keep", "skip"] = "refuse",
    persons: int = 60,
    pictures: int = 10,
    folds: int = 5,
    seed: int = 0,
    data: _Text = ...,
    config: _Text = "",
) -> Json: ...

@overload
def train_recogniser(
    options: RecogniserOptions,
    /,
) -> Path: ...
@overload
def train_recogniser(
    *,
    dataset: _Text = "persons",
    data: _Text = ...,
    arch: Literal["ir", "mobile"] = "ir",
    units: int | Sequence[int] = ...,
    alpha: float = 0.25,
    embedding: int = 128,
    dropout: float = 0.4,
    heatmaps: Literal["none", "h2", "h2+"] = "none",
    features: Literal["none", "bl", "sl", "al", "1m"] = "none",
    landmarks: _Text = "",
    other_maps: bool = False,
    dynamic: Literal["none", "dynamic", "group"] = "none",
    temperature: float = 4.0,
    clustering: Literal["none", "kmeans", "sinkhorn"] = "none",
    clusters: int = 30,
    cluster_weight: float = 1.0,
    loss: Literal["arcface", "cosface"] = "arcface",
    scale: float = 64.0,
    margin: float = 0.0,
    ramp: float = 0.2,
    teacher: _Text = "",
    method: _Text | Sequence[_Text] = ...,
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 0.002,
    validation: float = 0.1,
    patience: int = 0,
    init: _Text = "",
    seed: int = 0,
    runs: _Text = ...,
    name: _Text = "",
    log_to: Literal["wandb", "mlflow"] | Sequence[Literal["wandb", "mlflow"]] = ...,
    resume: bool = False,
    config: _Text = "",
) -> Path: ...

@overload
def verify(
    options: VerifyOptions,
    /,
) -> Json: ...
@overload
def verify(
    weights: _Text = "",
    *,
    dataset: _Text = "persons",
    data: _Text = ...,
    clusters: int = 0,
    output: _Text = "",
    config: _Text = "",
) -> Json: ...

@overload
def embed(
    options: EmbedOptions,
    /,
) -> np.ndarray: ...
@overload
def embed(
    pictures: _Text | Sequence[_Text] = ...,
    *,
    weights: _Text = "",
    output: _Text = "embeddings.npy",
    landmarks: _Text = "",
    align: bool = True,
    size: int = 112,
    mirror: bool = True,
    skip_bad: bool = False,
    config: _Text = "",
) -> np.ndarray: ...

@overload
def export_recogniser(
    options: RecogniserExportOptions,
    /,
) -> dict[Path, float]: ...
@overload
def export_recogniser(
    weights: _Text = "",
    *,
    format: Literal["litert", "onnx"] | Sequence[Literal["litert", "onnx"]] = ...,
    precision: Literal["fp32", "fp16"] = "fp32",
    output: _Text = "",
    config: _Text = "",
) -> dict[Path, float]: ...

@overload
def test(
    options: EvaluationOptions,
    /,
) -> Json: ...
@overload
def test(
    *,
    dataset: _Text = "w300",
    data: _Text = ...,
    weights: _Text | Sequence[_Text] = ...,
    split: Literal["test", "train"] = "test",
    compare_with_runs: bool = False,
    reference: _Text = "",
    flip_test: bool = False,
    finder: bool = False,
    source: _Text = "",
    worst: int = 20,
    batch_size: int = 32,
    plugin: _Text | Sequence[_Text] = ...,
    output: _Text = "",
    runs: _Text = ...,
    config: _Text = "",
) -> Json: ...

@overload
def predict(
    options: PredictOptions,
    /,
) -> list[FaceLandmarks]: ...
@overload
def predict(
    sources: _Text | Sequence[_Text] = ...,
    *,
    weights: _Text = "",
    points: int = 68,
    free: bool = False,
    plugin: _Text | Sequence[_Text] = ...,
    detector: Literal["", "finder", "haar", "yunet", "blazeface", "none"] = "",
    detector_model: _Text = "",
    min_score: float | None = None,
    smallest: float = 0.0,
    unconfirmed: bool = False,
    box: _Text = "",
    refine: int = 1,
    flip_test: bool = False,
    smooth: float = 0.0,
    detect_every: int = 10,
    frames: int = 0,
    video_pts: bool = False,
    show: bool = False,
    draw_pose: bool = False,
    output: _Text = ...,
    batch_size: int = 32,
    config: _Text = "",
) -> list[FaceLandmarks]: ...

@overload
def compare(
    options: CompareOptions,
    /,
) -> Json: ...
@overload
def compare(
    *,
    dataset: _Text = "w300",
    data: _Text = ...,
    extra_share: float | None = None,
    validation: float = 0.05,
    size: int | None = None,
    head: Literal["", "heatmap", "pooled", "simcc", "pip"] | str = "",
    output_stride: Literal["", "P3", "P4", "P5"] = "",
    plugin: _Text | Sequence[_Text] = ...,
    alpha: float = 1.0,
    dropout: float | None = None,
    pretrained: Literal["none", "imagenet", "noisy-student", "preset"] = "none",
    init: _Text = "",
    epochs: int = 150,
    batch_size: int = 32,
    learning_rate: float = 0.001,
    patience: int = 0,
    seed: int = 0,
    augment_strength: float = 1.0,
    shift: float | None = None,
    scale: float | None = None,
    mirror: bool = True,
    turn_head: float = 0.0,
    workers: int = 2,
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32",
    devices: Literal["one", "all"] = "one",
    distributed: _Text = "",
    process: int = 0,
    processes: int = 1,
    runs: _Text = ...,
    name: _Text = "",
    log_to: Literal["wandb", "mlflow"] | Sequence[Literal["wandb", "mlflow"]] = ...,
    resume: bool = False,
    arch: _Text = "mobileNetV2",
    method_arg: _Text | Sequence[_Text] = ...,
    tough: _Text = "",
    tolerant: _Text = "",
    teacher: _Text | Sequence[_Text] = ...,
    map_points: bool = False,
    teacher_mode: Literal["auto", "live", "cached"] = "auto",
    teacher_views: int = 0,
    teacher_mirror: bool = False,
    cache_limit: float = 4.0,
    unlabelled: _Text = "",
    unlabelled_weight: float = 1.0,
    mix_weight: float = 1.0,
    mix_alpha: float = 0.75,
    visibility: bool = False,
    visibility_weight: float = 0.02,
    freeze: _Text = "",
    methods: _Text | Sequence[_Text] = ...,
    seeds: int = 3,
    join: _Text | Sequence[_Text] = ...,
    finder: bool = False,
    config: _Text = "",
) -> Json: ...

@overload
def export_network(
    options: ExportOptions,
    /,
) -> list[Json]: ...
@overload
def export_network(
    weights: _Text = "",
    *,
    dataset: _Text = "",
    data: _Text = ...,
    format: Literal["litert", "onnx", "saved_model", "web"] | Sequence[Literal["litert", "onnx", "saved_model", "web"]] = ...,
    precision: Literal["fp32", "fp16", "int8"] | Sequence[Literal["fp32", "fp16", "int8"]] = ...,
    calibration: int = 200,
    tolerance: float = 0.0,
    license: _Text = "",
    web_runtime: _Text = "",
    plugin: _Text | Sequence[_Text] = ...,
    output: _Text = "",
    config: _Text = "",
) -> list[Json]: ...

@overload
def import_network(
    options: ImportOptions,
    /,
) -> Path: ...
@overload
def import_network(
    old: _Text = "",
    *,
    dataset: _Text = "",
    scheme: _Text = "",
    convention: Literal["", "kd-loss", "native", "unit", "pixels"] = "",
    range: Literal["", "bytes", "unit", "signed", "imagenet"] = "",
    first_pixel: float | None = None,
    role: Literal["student", "tough", "tolerant"] = "student",
    margin: float | None = None,
    size: int = 0,
    output: _Text | None = None,
    config: _Text = "",
) -> Path: ...

@overload
def benchmark_networks(
    options: BenchmarkOptions,
    /,
) -> Json: ...
@overload
def benchmark_networks(
    weights: _Text | Sequence[_Text] = ...,
    *,
    dataset: _Text = "",
    data: _Text = ...,
    threads: int | Sequence[int] = ...,
    seconds: float = 2.0,
    rounds: int = 3,
    output: _Text = ...,
    config: _Text = "",
) -> Json: ...

@overload
def draw_loss(
    options: CurvesOptions,
    /,
) -> Path: ...
@overload
def draw_loss(
    *,
    tough: float = 0.02,
    tolerant: float = 0.04,
    output: _Text = ...,
    config: _Text = "",
) -> Path: ...

@overload
def run_demo(
    options: DemoOptions,
    /,
) -> Json: ...
@overload
def run_demo(
    *,
    faces: int = 1200,
    size: int = 64,
    epochs: int = 30,
    student_epochs: int = 20,
    arch: _Text = "mobileNetV2",
    alpha: float = 0.35,
    seed: int = 0,
    output: _Text = ...,
    config: _Text = "",
) -> Json: ...
