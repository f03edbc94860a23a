"""Checks that an existing run of a name matches the requested options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_loss.datasets.prepared import PreparedDataset
from kd_loss.networks.backbones import arch_name
from kd_loss.runs.folder import START, data_record, differences, start_record
from kd_loss.system.configuration import to_plain
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, sha256
from kd_loss.training.method_specs import parse_methods
from kd_loss.training.options import StudentOptions, with_head
from kd_loss.training.teachers.files import teacher_files, with_start
from kd_loss.training.unlabelled_faces import listing_checksum


def check_same(options: StudentOptions, dataset: PreparedDataset) -> None:
    """Raises a `UserError` if a run of that name, finished or not, has other options, data or teachers."""
    if changed := changes(options, dataset):
        folder = options.runs / options.dataset / options.name
        raise UserError(
            f"{folder} was trained with other options: {'; '.join(changed)}; give another --name, or delete it"
        )


def changes(options: StudentOptions, dataset: PreparedDataset) -> list[str]:
    """Return how the run of that name differs in options, data or teachers; empty if it does not or is missing."""
    folder = options.runs / options.dataset / options.name
    if not (folder / "config.json").is_file():
        return []
    methods = parse_methods(options.method, options.method_arg)
    options = with_head(with_start(options, methods, dataset.folder.name), dataset.scheme)
    before = read_json(folder / "config.json", "the configuration of the run")
    now = {
        **to_plain(options),
        "dataset": dataset.folder.name,
        "arch": arch_name(options.arch),
        "role": "student",
        "decided_by": _decided_by(before, options, dataset),
    }
    return differences(before, now)


def _decided_by(before: dict[str, Any], options: StudentOptions, dataset: PreparedDataset) -> dict[str, Any]:
    """What a run recorded, with today's checksums of data and teachers."""
    recorded = before.get("decided_by")
    decided = dict(recorded) if isinstance(recorded, dict) else {}
    decided |= data_record(dataset)
    if options.unlabelled:
        decided["photographs_sha256"] = listing_checksum(Path(options.unlabelled))
    start = start_record(options.init)
    if not start and options.init != before.get("init"):  # same path but missing file: the record stays
        decided.pop(START, None)
    decided |= start
    teachers: Any = decided.get("teachers")
    teachers = teachers if isinstance(teachers, dict) else {}
    today = {}
    files = teacher_files(options, parse_methods(options.method, options.method_arg), dataset.folder.name)
    for role, (texts, _) in files.items():
        known = teachers.get(role)
        members = known if isinstance(known, list) else [known]  # several networks are a list
        digests = [_checksum(text) for text in texts]
        same = len(members) == len(digests) and all(
            isinstance(member, dict) and str(member.get("sha256")).startswith(digest)
            for member, digest in zip(members, digests, strict=True)
        )
        today[role] = known if same else digests
    return {**decided, "teachers": today} if today or teachers else decided


def _checksum(teacher: str) -> str:
    """The checksum of a teacher's file; its other properties (card, function name) follow it in a run's record."""
    path = Path(teacher) if Path(teacher).is_file() else Path(teacher.partition(":")[0])
    return sha256(path)
