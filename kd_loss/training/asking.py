"""From the networks that teach to the teachers of a training: asked in every step, or once before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kd_loss import geometry
from kd_loss.datasets.answers import Answers
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.map_points import distances
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit, holdout
from kd_loss.distillation import LiveTeacher, RecordedTeacher, Teacher
from kd_loss.errors import UserError
from kd_loss.networks.point_map import fit_point_map, held_out_error
from kd_loss.runtimes.crops import CropNetwork
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.spec import DatasetSpec
from kd_loss.training.options import StudentOptions
from kd_loss.training.prediction import predict_split
from kd_loss.training.recording import Views, answers_key, recorded_answers
from kd_loss.training.sources import Source, Tell

LIVE, RECORDED = "live", "recorded"


def choose_asking(options: StudentOptions, sources: Sequence[Source], taps: Sequence[str], scheme: Scheme) -> str:
    """`RECORDED`: the teachers are asked once, or `LIVE`: in every step; `UserError` where that cannot be.

    `auto` asks once unless a method needs taps that do not travel with the picture (docs/experiments/live-cached.md).
    """
    mode = options.teachers
    more = [tap for tap in taps if tap != "landmarks"]
    several = {s.role for s in sources if len([other for other in sources if other.role == s.role]) > 1}
    once = [s.role for s in sources if not scheme.agrees(s.scheme) or s.role in several or options.teacher_mirror]
    if more and (several or options.teacher_mirror):
        who = "--teacher-mirror" if options.teacher_mirror else f"{', '.join(several)}, a teacher of several networks,"
        raise UserError(f"{who} gives landmarks alone; the method asks for {', '.join(more)} too")
    if options.teacher_views and (several or options.teacher_mirror):
        raise UserError("a teacher of several networks, or mirrored, is asked about the faces themselves: leave "
                        "--teacher-views out")  # fmt: skip
    wide = [s.role for s in sources if s.context != 1]
    if options.teacher_views and wide:
        raise UserError(f"{', '.join(wide)} wants to see more than a crop (the context of its card): leave "
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
            "give --teacher-views a number" + ("" if once else ", or --teachers live")
        )
    return RECORDED if cached else LIVE


def make_teachers(
    options: StudentOptions,
    sources: Sequence[Source],
    asking: str,
    taps: Sequence[str],
    dataset: PreparedDataset,
    augmentation: Augmentation,
    tell: Tell,
) -> dict[str, Teacher]:
    """Role -> teacher, live or recorded as `choose_asking` chose."""
    split = dataset.split("train")
    teachers: dict[str, Teacher] = {}
    data = dataset.manifest["sha256"]["train/images.npy"]
    chosen, _ = holdout(split, options.validation, options.seed)
    for role in dict.fromkeys(source.role for source in sources):
        members = [source for source in sources if source.role == role]
        first = members[0]
        if asking == LIVE:
            assert first.network is not None
            teachers[role] = LiveTeacher(first.network, taps, first.weight)
            continue
        if options.teacher_views:
            views = Views(options.teacher_views, augmentation, options.seed)
            answers = mapped(
                first, ask_once(options, first, taps, split, data, views, tell), split, chosen, options, tell
            )
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
            targets = mapped(source, mirrored, split, chosen, options, tell).landmarks
            mirror = geometry.similarity(0.0, 1.0, (0, 0), True)
            back = np.asarray(split.spec.move(targets, mirror, True), np.float32)
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


def _cost(found: np.ndarray, split: PreparedSplit, chosen: np.ndarray) -> str:
    """The error of a teacher's points, mapped, on a fifth of the training faces that a map is not fitted on."""
    if len(chosen) < 20 or len(np.unique(split.group[chosen])) < 5 or not isinstance(split.spec, DatasetSpec):
        return "too few training faces to say what that costs"
    truth = np.asarray(split.landmarks[chosen])
    error = held_out_error(found, truth, distances(truth, split.spec), split.group[chosen], rounds=1).mean()
    return f"mean error {error:.2f} % of {split.spec.default_normaliser} on a fifth of the training faces left out"


def mapped(
    source: Source,
    answers: Answers,
    split: PreparedSplit,
    chosen: np.ndarray,
    options: StudentOptions,
    tell: Tell,
) -> Answers:
    """Answers in the split's scheme: as that reads others, or through a linear map, fitted on the training faces."""
    points = split.spec.shape[0]
    if split.spec.agrees(source.scheme):
        return answers
    read = split.spec.read(np.asarray(answers.landmarks), source.scheme)
    if read is not None:
        return replace(answers, taps={**answers.taps, "landmarks": read})
    if split.spec.shape[1] != 2 or answers.landmarks.shape[3] != 2:
        name = source.scheme.name if source.scheme else "a scheme of its own"
        raise UserError(
            f"the {source.role} teacher gives {answers.landmarks.shape[2:]} of {name}, from which nothing is known "
            f"about a {split.spec.noun}"
        )
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
        tell(
            f"{source.role} teacher: {answers.landmarks.shape[2]} points mapped to {points}, ridge "
            f"{source.map.strength:.1e}, {_cost(answers.landmarks[0, chosen], split, chosen)}"
        )
    return replace(answers, taps={**answers.taps, "landmarks": source.map(answers.landmarks[0])[None]})


def measure_errors(teachers: Mapping[str, Teacher], split: PreparedSplit, tell: Tell) -> None:
    """Keep each teacher's mean squared error on each training face, (N,), on the stored pictures or first view."""
    for role, teacher in teachers.items():
        if isinstance(teacher, RecordedTeacher) and not teacher.answers.views:
            predicted = teacher.answers.landmarks[0]
        elif isinstance(teacher, LiveTeacher | RecordedTeacher) and teacher.network is not None:
            predicted = predict_split(CropNetwork.of(teacher.network), split, 32)[0]
            other = teacher.network.card.scheme()
            if not split.spec.agrees(other):
                predicted = split.spec.read(predicted, other)
        else:
            raise UserError(f"the errors of {role}, of another runtime, are measured without --teacher-views only")
        teacher.training_errors = np.nanmean(np.square(predicted - split.landmarks), axis=(1, 2))
        low, high = teacher.training_errors.min(), teacher.training_errors.max()
        tell(f"{role} teacher: squared errors of {low:.2e} to {high:.2e} on the training faces")
