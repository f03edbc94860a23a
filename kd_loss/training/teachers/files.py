"""The teaching networks that the options name: files, loaded and checked before they are called."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.datasets.prepared import PreparedDataset
from kd_loss.distillation import MethodUse
from kd_loss.evaluation.prediction import check_fit
from kd_loss.networks import LandmarkNet, load_network
from kd_loss.runs.folder import find_teacher
from kd_loss.schemes.base import Scheme
from kd_loss.schemes.point_map import PointMap
from kd_loss.system.bundled import weights_path
from kd_loss.system.errors import UserError
from kd_loss.system.files import sha256
from kd_loss.training.method_specs import weighted, with_teachers
from kd_loss.training.options import StudentOptions
from kd_loss.training.teachers.foreign import RuntimeTeacher, in_other_runtime, open_teacher
from kd_loss.training.teachers.recorded import TapFunction

log = logging.getLogger(__name__)


def named_teachers(options: StudentOptions) -> dict[str, tuple[list[str], float]]:
    """Role -> files (each `file` or `file.py:function`) and weight of the teachers that `--teacher` names.

    Several files, joined by `+`, are one teacher: the mean of their predictions.
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
    return files


def teacher_files(
    options: StudentOptions, methods: Sequence[MethodUse], dataset: str
) -> dict[str, tuple[list[str], float]]:
    """Role -> files and weight of every teacher that the methods use, see `named_teachers`.

    Raises:
        UserError: a method needs a teacher that does not exist, or a given teacher is used by no method.
    """
    files = named_teachers(options)
    given = {"tough": options.tough, "tolerant": options.tolerant}
    methods = with_teachers(methods, files)
    for use in methods:
        for role in use.teachers or ():
            if role in files:
                continue
            if role not in given:
                raise UserError(f"--method {use.name}@{role}: no --teacher {role}=… is given")
            named = given[role]
            found = named.split("+") if named else [str(find_teacher(role, dataset, "", options.runs))]
            files[role] = found, 1.0
    used = {role for use in methods for role in use.teachers or ()}
    used |= {"tough"} if options.init == "teacher" else set()
    for role in [*files, *(role for role, file in given.items() if file)]:
        if role not in used:
            own = "; ".join(f"{use.name} uses {', '.join(use.teachers or ()) or 'no teacher'}" for use in methods)
            roles = " or ".join(f"--{name}" for name in given if name in used)
            better = f", or give it as {roles}" if roles else ""
            raise UserError(f"no method uses the {role} teacher: {own}; remove it{better}")
    return {role: ([str(weights_path(text)) for text in texts], weight) for role, (texts, weight) in files.items()}


def with_start(options: StudentOptions, methods: Sequence[MethodUse], dataset: str) -> StudentOptions:
    """The options with the file that `--init` means; `teacher`: the tough teacher, or the only named one."""
    if options.init != "teacher":
        return dataclasses.replace(options, init=str(weights_path(options.init))) if options.init else options
    files = teacher_files(options, methods, dataset)
    texts, _ = files.get("tough") or (next(iter(files.values())) if len(files) == 1 else ([], 0))
    if not texts:
        texts = [str(find_teacher("tough", dataset, options.tough, options.runs))]
    if in_other_runtime(texts[0]):
        raise UserError(f"--init teacher: {texts[0]} has another runtime, so no trunk to start from")
    return dataclasses.replace(options, init=texts[0])


@dataclasses.dataclass(frozen=True)
class TeacherSource:
    """A teaching network, before the choice of how to call it; several of one role are one teacher.

    Attributes:
        network: from a Keras file; other: from another runtime; exactly one of the two is set.
        file: weights file; checksum: covers all that determines its predictions.
        map: from its landmarks to the dataset's, if its scheme differs.
    """

    role: str
    weight: float
    file: Path
    checksum: str
    network: LandmarkNet | None = None
    other: RuntimeTeacher | None = None
    map: PointMap | None = None

    @property
    def size(self) -> int | None:
        """The side of its input; None if it takes any."""
        return self.network.card.size if self.network else self.other.size if self.other else None

    @property
    def context(self) -> float:
        """The width of the image that it expects, in units of the crop's."""
        return self.other.context if self.other else 1.0

    @property
    def scheme(self) -> Scheme | None:
        """Shape of its output; None if unknown before the first call."""
        return self.network.card.scheme() if self.network else None

    def predictor(self, taps: Sequence[str]) -> TapFunction:
        """A function from images to the named taps, in NumPy."""
        if self.other:
            return self.other
        assert self.network is not None
        model = self.network.tap_model(taps)
        return lambda images: {name: np.asarray(v) for name, v in model.predict_on_batch(images).items()}

    def record(self) -> dict[str, Any]:
        """The record that the run and the student's card keep of it."""
        network = self.network.card if self.network else None
        return {
            "weights": "/".join(self.file.parts[-2:]),  # cards are shared: no full paths with home folders
            "sha256": self.checksum,
            "arch": network.arch if network else self.file.suffix[1:],
            "size": self.size,
            "share": self.weight,
        }


def shares_trunk(source: TeacherSource, options: StudentOptions) -> bool:
    """Whether a teacher has the backbone and width that the options request for the student."""
    card = source.network.card if source.network else None
    return card is not None and (card.arch.lower(), card.alpha) == (options.arch.lower(), options.alpha)


def open_sources(
    options: StudentOptions, methods: Sequence[MethodUse], dataset: PreparedDataset
) -> list[TeacherSource]:
    """Load every teacher and check that it fits the dataset."""
    sources = []
    files = teacher_files(options, methods, dataset.folder.name)
    for role, text, weight in ((role, text, weight) for role, (texts, weight) in files.items() for text in texts):
        if in_other_runtime(text):
            other = open_teacher(text, dataset.scheme.shape[1])
            digest = sha256(other.source)
            card = other.source.with_suffix(".json")
            digest += sha256(card) if other.source.suffix != ".py" else text.partition(":")[2]
            sources.append(TeacherSource(role, weight, other.source, digest, other=other))
            continue
        path = Path(text)
        network = load_network(path)
        known = dataset.scheme.reads(network.card.scheme())
        check_fit(network.card, dataset, path, any_points=options.map_points or known)
        if role in ("tough", "tolerant") and network.card.role != role:
            log.warning(f"{path} was trained as {network.card.role}, it is used as the {role} teacher")
        sources.append(TeacherSource(role, weight, path, sha256(path), network=network))
    return sources
