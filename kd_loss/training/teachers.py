"""From the options of a training to its teachers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.configuration import weighted
from kd_loss.datasets.answers import Answers
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit, holdout
from kd_loss.distillation import DistillationMethod, LiveTeacher, RecordedTeacher, Teacher
from kd_loss.errors import UserError, choose
from kd_loss.files import sha256
from kd_loss.networks import LandmarkNet, load_network
from kd_loss.networks.crop_network import CropNetwork
from kd_loss.networks.foreign import ForeignTeacher, is_foreign, load_foreign
from kd_loss.networks.point_map import PointMap, fit_point_map
from kd_loss.networks.prediction import check_fit, predict_split
from kd_loss.training.answers import Ask, Views, answers_key, recorded_answers
from kd_loss.training.options import StudentOptions
from kd_loss.training.run import find_teacher

Tell = Callable[[str], None]


def teacher_files(
    options: StudentOptions, methods: Iterable[DistillationMethod], dataset: str
) -> dict[str, tuple[list[str], float]]:
    """Role -> weights (each `file` or `file.py:function`) and weight of every teacher that the methods listen to.

    Several files, joined by `+`, are one teacher: the mean of their answers.
    """
    files: dict[str, tuple[list[str], float]] = {}
    for text in options.teacher:
        name, equals, rest = text.partition("=")
        if not equals or not name or not rest:
            raise UserError(f"--teacher {text} is not of the form name=weights.h5[:weight]")
        if name in files:
            raise UserError(f"--teacher {name} is given twice")
        text, weight = weighted(rest, "--teacher")
        files[name] = text.split("+"), weight
    given = {"tough": options.tough, "tolerant": options.tolerant}
    methods, names = list(methods), tuple(files)
    for method in methods:
        method.listens = method.heard(names)  # also in a combination it is itself alone
        for role in method.listens:
            if role in files:
                continue
            if role not in given:
                raise UserError(f"--method {method.name_on_command_line}@{role}: no --teacher {role}=… is given")
            named = given.get(role, "")
            found = named.split("+") if named else [str(find_teacher(role, dataset, "", options.runs))]
            files[role] = found, 1.0
    listened = {role for method in methods for role in method.listens}
    listened |= {"tough"} if options.init == "teacher" else set()
    for role in [*files, *(role for role, file in given.items() if file)]:
        if role not in listened:
            own = "; ".join(
                f"{m.name_on_command_line} listens to {', '.join(m.listens) or 'no teacher'}" for m in methods
            )
            raise UserError(f"nobody listens to the {role} teacher: {own}; leave it out, or name it --{role}")
    return files


def with_start(options: StudentOptions, methods: Iterable[DistillationMethod], dataset: str) -> StudentOptions:
    """The options with the file that `--init teacher` means: the tough teacher, or the only one that is named."""
    if options.init != "teacher":
        return options
    files = teacher_files(options, methods, dataset)
    texts, _ = files.get("tough") or (next(iter(files.values())) if len(files) == 1 else ([], 0))
    if not texts:
        texts = [str(find_teacher("tough", dataset, options.tough, options.runs))]
    if is_foreign(texts[0]):
        raise UserError(f"--init teacher: {texts[0]} is of another runtime and has no trunk to start from")
    return replace(options, init=texts[0])


@dataclasses.dataclass
class Source:
    """A network that teaches, before it is decided how it is asked; several of one role are one teacher.

    Attributes:
        network: of a Keras file; foreign: of another runtime; one of the two is there.
        file: the weights; checksum: what decides its answers.
    """

    role: str
    weight: float
    file: Path
    checksum: str
    network: LandmarkNet | None = None
    foreign: ForeignTeacher | None = None
    map: PointMap | None = None

    @property
    def size(self) -> int | None:
        """The side of its input; None where it takes any."""
        return self.network.card.size if self.network else self.foreign.size if self.foreign else None

    @property
    def context(self) -> float:
        """How many times wider than a crop it wants to see a face."""
        return self.foreign.context if self.foreign else 1.0

    @property
    def points(self) -> int | None:
        """The number of its points; None where it does not tell before it is asked."""
        return self.network.card.dataset_spec().points if self.network else None

    def ask(self, taps: Sequence[str]) -> Ask:
        """A function from pictures to the named taps, in NumPy."""
        if self.foreign:
            return self.foreign
        assert self.network is not None
        model = self.network.tap_model(taps)
        return lambda images: {name: np.asarray(v) for name, v in model.predict_on_batch(images).items()}

    def record(self) -> dict[str, Any]:
        """What the run and the student's card keep of it."""
        network = self.network.card if self.network else None
        return {
            "weights": "/".join(self.file.parts[-2:]),  # the card travels: no folder of somebody's home
            "sha256": self.checksum,
            "arch": network.arch if network else self.file.suffix[1:],
            "size": self.size,
            "share": self.weight,
        }


def open_sources(
    options: StudentOptions, methods: Iterable[DistillationMethod], dataset: PreparedDataset, tell: Tell
) -> list[Source]:
    """Load every teacher and check that it fits the dataset."""
    sources = []
    files = teacher_files(options, methods, dataset.folder.name)
    for role, text, weight in ((role, text, weight) for role, (texts, weight) in files.items() for text in texts):
        if is_foreign(text):
            foreign = load_foreign(text)
            digest = sha256(foreign.source)
            card = foreign.source.with_suffix(".json")
            digest += sha256(card) if foreign.source.suffix != ".py" else text.partition(":")[2]
            sources.append(Source(role, weight, foreign.source, digest, foreign=foreign))
            continue
        path = Path(text)
        network = load_network(path)
        check_fit(network.card, dataset, path, any_points=options.map_points)
        if role in ("tough", "tolerant") and network.card.role != role:
            tell(f"warning: {path} was trained as {network.card.role}, it is used as the {role} teacher")
        sources.append(Source(role, weight, path, sha256(path), network=network))
    return sources


def choose_asking(options: StudentOptions, sources: Sequence[Source], taps: Sequence[str], points: int) -> bool:
    """Whether the teachers are asked once (True) or in every step; `UserError` where that cannot be.

    `auto` asks once unless a method needs taps that do not travel with the picture (docs/experiments/live-cached.md).
    """
    mode = choose(options.teachers, ("auto", "live", "cached"), "way to ask teachers")
    if options.teacher_views < 0:
        raise UserError(f"--teacher-views {options.teacher_views} is negative")
    more = [tap for tap in taps if tap != "landmarks"]
    several = {s.role for s in sources if len([other for other in sources if other.role == s.role]) > 1}
    once = [s.role for s in sources if s.points != points or s.role in several or options.teacher_mirror]
    if more and (several or options.teacher_mirror):
        who = "--teacher-mirror" if options.teacher_mirror else f"{', '.join(several)}, a teacher of several networks,"
        raise UserError(f"{who} gives landmarks alone; the method asks for {', '.join(more)} too")
    if options.teacher_views and (several or options.teacher_mirror):
        raise UserError("a teacher of several networks, or mirrored, is asked about the faces themselves: leave "
                        "--teacher-views out")  # fmt: skip
    cached = mode == "cached" or (mode == "auto" and (bool(once) or bool(options.teacher_views) or not more))
    if once and not cached:
        raise UserError(
            f"--teachers live: {', '.join(dict.fromkeys(once))} is of another runtime or scheme, mirrored, or several "
            "networks, and can only be cached"
        )
    if cached and more and not options.teacher_views:
        raise UserError(
            f"the taps {', '.join(more)} do not travel with a picture through augmentation as landmarks do: "
            "give --teacher-views a number, or --teachers live"
        )
    return cached


def make_teachers(
    options: StudentOptions,
    sources: Sequence[Source],
    taps: Sequence[str],
    dataset: PreparedDataset,
    augmentation: Augmentation,
    tell: Tell,
) -> dict[str, Teacher]:
    """Role -> teacher, live or recorded as the options say, with its errors on the training faces."""
    split = dataset.split("train")
    cached = choose_asking(options, sources, taps, dataset.spec.points)
    teachers: dict[str, Teacher] = {}
    data = dataset.manifest["sha256"]["train/images.npy"]
    chosen, _ = holdout(split, options.validation, options.seed)
    for role in dict.fromkeys(source.role for source in sources):
        members = [source for source in sources if source.role == role]
        first = members[0]
        if not cached:
            assert first.network is not None
            teachers[role] = LiveTeacher(first.network, taps, first.weight)
            continue
        if options.teacher_views:
            views = Views(options.teacher_views, augmentation, options.seed)
            answers = ask_once(options, first, taps, split, data, views, tell)
        else:
            answers = answers_about(options, members, taps, split, data, chosen, tell)
        teachers[role] = RecordedTeacher(role, answers, first.network, first.weight)
    return teachers


def answers_about(
    options: StudentOptions,
    members: Sequence[Source],
    taps: Sequence[str],
    split: PreparedSplit,
    data: str,
    chosen: np.ndarray,
    tell: Tell,
) -> Answers:
    """What a teacher of one or several networks says about the faces as they are stored, in the split's scheme.

    With `--teacher-mirror` each is asked about the mirrored face too. The landmarks are the mean of all answers.

    Args:
        data: checksum of the split's pictures; chosen: the faces on which a map between schemes is fitted.
    """
    heard = []
    for source in members:
        views = Views(context=source.context)
        heard.append(
            mapped(source, ask_once(options, source, taps, split, data, views, tell), split, chosen, options, tell)
        )
        if options.teacher_mirror:
            mirrored = ask_once(options, source, ["landmarks"], split, data, replace(views, mirror=True), tell)
            points = mapped(source, mirrored, split, chosen, options, tell).landmarks
            back = np.asarray(points[..., split.spec.flip_index, :] * np.array([-1, 1]), np.float32)
            heard.append(Answers({"landmarks": back}))
    if len(heard) == 1:
        return heard[0]
    return Answers({"landmarks": np.asarray(np.mean([answers.landmarks for answers in heard], axis=0), np.float32)})


def ask_once(
    options: StudentOptions,
    source: Source,
    taps: Sequence[str],
    split: PreparedSplit,
    data: str,
    views: Views,
    tell: Tell,
) -> Answers:
    """A teacher's own answers about a split, from disk where they are there."""
    folder = options.runs / options.dataset / "teacher-answers"
    size = source.size or split.size
    key = answers_key(source.checksum, data, list(taps), size, views)
    answers, seconds = recorded_answers(
        source.ask(taps), split, folder, key, size=size, views=views, limit=options.cache_limit
    )
    if seconds:
        tell(f"{source.role} teacher: asked once about {len(split)} faces × {max(1, views.count)} in {seconds:.1f} s")
    return answers


def mapped(
    source: Source,
    answers: Answers,
    split: PreparedSplit,
    chosen: np.ndarray,
    options: StudentOptions,
    tell: Tell,
) -> Answers:
    """Answers in the split's scheme: through a linear map, fitted on the training faces, where it is another."""
    points = split.spec.points
    if answers.landmarks.shape[2] == points:
        return answers
    if not options.map_points:
        raise UserError(
            f"the {source.role} teacher finds {answers.landmarks.shape[2]} points, the dataset has {points}; "
            "--map-points fits a linear map from its points to these"
        )
    if source.map is None:
        if answers.views:
            raise UserError("--map-points is for teachers that see the faces as they are: leave --teacher-views out")
        chosen = chosen[~np.isnan(split.landmarks[chosen]).any(axis=(1, 2))]
        source.map = fit_point_map(answers.landmarks[0, chosen], split.landmarks[chosen])
        error = np.abs(source.map(answers.landmarks[0, chosen]) - split.landmarks[chosen]).mean()
        tell(
            f"{source.role} teacher: {answers.landmarks.shape[2]} points mapped to {points}, ridge "
            f"{source.map.strength:.1e}, mean error {error:.4f} of the crop on the training faces"
        )
    return dataclasses.replace(answers, taps={**answers.taps, "landmarks": source.map(answers.landmarks[0])[None]})


def measure_errors(teachers: Mapping[str, Teacher], split: PreparedSplit, tell: Tell) -> None:
    """Keep each teacher's mean squared error on each training face, (N,), on the stored pictures or first view."""
    for role, teacher in teachers.items():
        if isinstance(teacher, RecordedTeacher) and not teacher.answers.views:
            predicted = teacher.answers.landmarks[0]
        elif isinstance(teacher, LiveTeacher | RecordedTeacher) and teacher.network is not None:
            predicted = predict_split(CropNetwork.of(teacher.network), split, 32)[0]
        else:
            raise UserError(f"the errors of {role}, of another runtime, are measured without --teacher-views only")
        teacher.training_errors = np.nanmean(np.square(predicted - split.landmarks), axis=(1, 2))
        low, high = teacher.training_errors.min(), teacher.training_errors.max()
        tell(f"{role} teacher: squared errors of {low:.2e} to {high:.2e} on the training faces")
