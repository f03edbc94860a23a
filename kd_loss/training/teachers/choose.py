"""Turns the loaded networks into the teachers of a training: live, or recorded before it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.map_points import distances
from kd_loss.datasets.prepared import PreparedDataset, PreparedSplit, holdout
from kd_loss.datasets.transform import Answers
from kd_loss.evaluation.prediction import predict_split
from kd_loss.imaging import geometry
from kd_loss.networks import LandmarkNet
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.known_yaw import whole_rows
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.point_map import fit_point_map, held_out_error
from kd_loss.system.errors import UserError
from kd_loss.training.options import StudentOptions
from kd_loss.training.teachers.files import TeacherSource
from kd_loss.training.teachers.recorded import Views, answers_key, recorded_answers
from kd_loss.training.teachers.teacher import LiveTeacher, RecordedTeacher, Teacher

log = logging.getLogger(__name__)
LIVE, RECORDED = "live", "recorded"


def choose_mode(options: StudentOptions, sources: Sequence[TeacherSource], taps: Sequence[str], scheme: Scheme) -> str:
    """Returns `RECORDED` or `LIVE`; raises a `UserError` if the requested mode is impossible.

    `auto` records unless a method needs taps that do not travel with the image (docs/experiments/live-cached.md).
    """
    mode = options.teacher_mode
    more = [tap for tap in taps if tap != "landmarks"]
    several = {s.role for s in sources if len([other for other in sources if other.role == s.role]) > 1}
    once = [s.role for s in sources if not scheme.agrees(s.scheme) or s.role in several or options.teacher_mirror]
    if more and (several or options.teacher_mirror):
        who = "--teacher-mirror" if options.teacher_mirror else f"{', '.join(several)}, a teacher of several networks,"
        raise UserError(f"{who} predicts landmarks only; the method also reads {', '.join(more)}")
    if options.teacher_views and (several or options.teacher_mirror):
        raise UserError(
            "a teacher of several networks, or with a mirrored mean, predicts the faces as they are: remove "
            "--teacher-views"
        )
    wide = [s.role for s in sources if s.context != 1]
    if options.teacher_views and wide:
        raise UserError(f"{', '.join(wide)} needs more than a crop (the context of its card): remove --teacher-views")
    cached = mode == "cached" or (mode == "auto" and (bool(once) or bool(options.teacher_views) or not more))
    if once and not cached:
        raise UserError(
            f"--teacher-mode live: {', '.join(dict.fromkeys(once))} has another runtime or scheme, a "
            "mirrored mean or several networks, and can only be cached"
        )
    if cached and more and not options.teacher_views:
        raise UserError(
            f"the taps {', '.join(more)} do not travel with an image through augmentation as landmarks do: "
            "give --teacher-views a number" + ("" if once else ", or --teacher-mode live")
        )
    return RECORDED if cached else LIVE


@dataclass(frozen=True)
class Recorder:
    """Calls teachers on the faces of a dataset and returns predictions in its scheme.

    Attributes:
        options: options of the student; dataset: its runs store the predictions; taps: taps that the methods read.
        augmentation: augmentation of the student's faces, from which `--teacher-views` are drawn.
    """

    options: StudentOptions
    dataset: PreparedDataset
    taps: Sequence[str]
    augmentation: Augmentation

    @property
    def views(self) -> Views:
        """The fixed augmentations that the teachers see."""
        return Views(self.options.teacher_views, self.augmentation, self.options.seed)

    def call(
        self, source: TeacherSource, split: PreparedSplit, data: str, views: Views, taps: Sequence[str]
    ) -> Answers:
        """A teacher's own predictions on a split, from disk if present; `data` is the images' checksum."""
        folder = self.options.runs / self.dataset.folder.name / "teacher-answers"
        size = source.size or split.size
        key = answers_key(source.checksum, data, list(taps), size, views)
        answers, seconds = recorded_answers(
            source.predictor(taps), split, folder, key, size=size, views=views, limit=self.options.cache_limit
        )
        if seconds:
            times = max(1, views.count)
            log.info(f"{source.role} teacher: recorded on {len(split)} faces × {times} in {seconds:.1f} s")
        else:
            log.debug(f"{source.role} teacher: {folder} has its answers for {len(split)} faces")
        return answers

    def with_maps(self, sources: Sequence[TeacherSource]) -> list[TeacherSource]:
        """The sources; each with another number of landmarks gets a linear map, fitted on the training faces."""
        split = self.dataset.split("train")
        chosen, _ = holdout(split, self.options.validation, self.options.seed)
        data = self.dataset.manifest["sha256"]["train/images.npy"]
        return [self._with_map(source, split, chosen, data) for source in sources]

    def _with_map(self, source: TeacherSource, split: PreparedSplit, chosen: np.ndarray, data: str) -> TeacherSource:
        if split.scheme.agrees(source.scheme):
            return source
        views = self.views if self.options.teacher_views else Views(context=source.context)
        answers = self.call(source, split, data, views, self.taps)
        if split.scheme.read(np.asarray(answers.landmarks), source.scheme) is not None:
            return source
        found, points = answers.landmarks.shape[2:], split.scheme.shape
        if points[1] != 2 or found[1] != 2:
            name = source.scheme.name if source.scheme else "a scheme of its own"
            raise UserError(
                f"the {source.role} teacher predicts {found} of {name}, which cannot be converted to a "
                f"{split.scheme.noun}"
            )
        if not self.options.map_points:
            raise UserError(
                f"the {source.role} teacher predicts {found[0]} points, the dataset has {points[0]}; "
                "--map-points fits a linear map from its points to these"
            )
        if self.options.teacher_views:
            raise UserError("--map-points needs teachers that predict the faces as they are: remove --teacher-views")
        chosen = chosen[~np.isnan(split.landmarks[chosen]).any(axis=(1, 2))]
        fitted = fit_point_map(answers.landmarks[0, chosen], split.landmarks[chosen])
        log.info(
            f"{source.role} teacher: {found[0]} points mapped to {points[0]}, ridge {fitted.strength:.1e}, "
            f"{_cost_of_map(answers.landmarks[0, chosen], split, chosen)}"
        )
        return replace(source, map=fitted)

    def answers(
        self, members: Sequence[TeacherSource], split: PreparedSplit, data: str, taps: Sequence[str]
    ) -> Answers:
        """The predictions of a teacher of one or several networks on the stored faces, in the dataset's scheme.

        With `--teacher-mirror` each also sees the mirrored face. The landmarks are the mean of all predictions.
        """
        found = []
        for source in members:
            views = Views(context=source.context)
            found.append(in_scheme(source, self.call(source, split, data, views, taps), split.scheme))
            if self.options.teacher_mirror:
                mirrored = self.call(source, split, data, replace(views, mirror=True), ["landmarks"])
                targets = in_scheme(source, mirrored, split.scheme).landmarks
                mirror = geometry.similarity(0.0, 1.0, (0, 0), True)
                back = np.asarray(split.scheme.move(targets, mirror, True), np.float32)
                found.append(Answers({"landmarks": back}))
        if len(found) == 1:
            return found[0]
        return Answers({"landmarks": np.asarray(np.mean([one.landmarks for one in found], axis=0), np.float32)})

    def seen(self, source: TeacherSource, split: PreparedSplit, data: str) -> Answers:
        """A teacher's predictions on the fixed augmentations of `--teacher-views`."""
        return in_scheme(source, self.call(source, split, data, self.views, self.taps), split.scheme)

    def teachers(self, sources: Sequence[TeacherSource], mode: str) -> dict[str, Teacher]:
        """Role -> teacher, live or recorded, as chosen by `choose_mode`."""
        split = self.dataset.split("train")
        data = self.dataset.manifest["sha256"]["train/images.npy"]
        teachers: dict[str, Teacher] = {}
        for role in dict.fromkeys(source.role for source in sources):
            members = [source for source in sources if source.role == role]
            first = members[0]
            if mode == LIVE:
                assert first.network is not None
                teachers[role] = LiveTeacher(first.network, self.taps, first.weight)
                continue
            views = self.options.teacher_views
            answers = self.seen(first, split, data) if views else self.answers(members, split, data, self.taps)
            teachers[role] = RecordedTeacher(answers, first.network, first.weight)
        return teachers


def in_scheme(source: TeacherSource, answers: Answers, scheme: Scheme) -> Answers:
    """Predictions in a dataset's scheme: by the scheme's own conversion, or through the source's map."""
    if scheme.agrees(source.scheme):
        return answers
    read = scheme.read(np.asarray(answers.landmarks), source.scheme)
    if read is None:
        if source.map is None:
            found = answers.landmarks.shape[2]
            raise UserError(f"the {source.role} teacher predicts {found} points, the dataset has {scheme.shape[0]}")
        read = source.map(answers.landmarks[0])[None]
    return replace(answers, taps={**answers.taps, "landmarks": read})


def _cost_of_map(found: np.ndarray, split: PreparedSplit, chosen: np.ndarray) -> str:
    """The error of a teacher's mapped points on a fifth of the training faces, held out of the map's fit."""
    if len(chosen) < 20 or len(np.unique(split.group[chosen])) < 5 or not isinstance(split.scheme, LandmarkScheme):
        return "too few training faces to say what that costs"
    truth = np.asarray(split.landmarks[chosen])
    error = held_out_error(found, truth, distances(truth, split.scheme), split.group[chosen], rounds=1).mean()
    return f"mean error {error:.2f} % of {split.scheme.default_normaliser} on a fifth of the training faces left out"


def with_errors(teachers: Mapping[str, Teacher], split: PreparedSplit) -> dict[str, Teacher]:
    """The teachers with their mean squared error on each training face, on the stored images or the first view."""
    measured = {}
    for role, teacher in teachers.items():
        if isinstance(teacher, RecordedTeacher) and not teacher.answers.views:
            predicted = teacher.answers.landmarks[0]
        elif isinstance(teacher, LiveTeacher | RecordedTeacher) and isinstance(teacher.network, LandmarkNet):
            predicted = predict_split(CropNetwork.of(teacher.network), split, 32)[0]
            other = teacher.network.card.scheme()
            if not split.scheme.agrees(other):
                predicted = split.scheme.read(predicted, other)
        else:
            raise UserError(
                f"the errors of {role}, which has another runtime, can only be measured without --teacher-views"
            )
        errors = np.nanmean(np.square(predicted - whole_rows(split.target)), axis=(1, 2))
        measured[role] = teacher.with_errors(errors)
        log.info(f"{role} teacher: squared errors of {errors.min():.2e} to {errors.max():.2e} on the training faces")
    return measured
