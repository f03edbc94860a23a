"""The run folder `runs/<dataset>/<name>/`: names, records, and finding the teachers of a dataset.

It holds `config.json` (resolved options), `environment.json`, `history.csv`, `state.npz` (to resume),
`best.h5` and `last.h5` with their cards, `tensorboard/`, `curves.png`, and after testing
`metrics.json`, `report.html` and the images.
"""

from __future__ import annotations

import itertools
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_loss.datasets.checks import target_array
from kd_loss.datasets.prepared import PreparedDataset
from kd_loss.system.errors import UserError, check_name, disk_error
from kd_loss.system.files import alone_in, is_temporary, read_json, sha256, write_json
from kd_loss.system.overwrite_guard import LOCK
from kd_loss.system.versions import package_versions

#: options that may differ when a run is continued
FREE_OPTIONS = (
    *("resume", "config", "workers", "name", "runs", "data", "clips", "log_to"),
    *("devices", "distributed", "process", "processes"),
)
#: option in the configuration of a run of 0.1 -> its present name
RENAMED = {
    "set": "method_arg",
    "cut": "output_stride",
    "augment": "augment_strength",
    "letter": "as_published",
    "width": "alpha",
    "teachers": "teacher_mode",
}
#: option that older runs do not record -> how they were trained
ADDED: dict[str, Any] = {
    "patience": 0,
    "warp": 1.0,
    "turn_head": 0.0,
    "mirror": True,
    "visibility": False,
    "visibility_weight": 0.02,
}
#: key of a run's record: the checksum of its starting weights, wherever they lie
START = "start_sha256"
#: checksum in a run's record -> what a changed value means
OTHERS = {
    START: "the weights of --init are other ones",
    "data_sha256": "the dataset has been prepared anew since",
    "pictures_sha256": "the images of the dataset are other ones (another --size?)",
    "soft_sha256": "the soft landmarks of the dataset are other ones",
    "photographs_sha256": "the photographs of --unlabelled are other ones",
    "clips_sha256": "the images of --clips are other ones",
    "teacher_sha256": "the teacher is another one",
    "features_sha256": "the network of --features is another one",
}


def open_run(parent: Path, name: str, default: str, options: Mapping[str, Any], resume: bool) -> Path:
    """The folder of a new run, or of the run to continue.

    A new run takes `name`, or `default` with the first free number; an explicit name must not exist yet.
    To continue, the options must be the same except for `FREE_OPTIONS`. A training locks the folder
    with `files.alone_in`.
    """
    if name:
        for part in name.split("/"):  # a comparison keeps its runs in a folder of their own
            check_name(part, "a run")
    if resume:
        folder = parent / name if name else _newest(parent, default)
        if folder is None or not (folder / "config.json").is_file():
            raise UserError(f"no run to resume at {folder or parent / default}; remove --resume to start one")
        before = read_json(folder / "config.json", "the configuration of the run")
        changed = differences(before, options)
        if changed:
            raise UserError(f"cannot resume {folder} with other options: {'; '.join(changed)}")
        return folder
    folder = parent / name if name else _free(parent, default)
    with alone_in(folder):
        if name and not _just_begun(folder):
            raise UserError(f"the run {folder} exists; give another --name, or --resume to continue it")
        write_json(folder / "config.json", dict(options))
        write_environment(folder)
    return folder


def _free(parent: Path, default: str) -> Path:
    """Create a folder of the default name, or of that with the first free number."""
    for number in itertools.count(1):
        folder = parent / (default if number == 1 else f"{default}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # also if another training has just taken it
            continue
        except OSError as error:
            raise disk_error(error, folder) from None
        return folder
    raise AssertionError


def _just_begun(folder: Path) -> bool:
    """Whether a run was killed before its configuration was written, so that there is nothing to keep or resume."""
    return folder.is_dir() and all(is_temporary(path) or path.name == LOCK for path in folder.iterdir())


def differences(before: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Describe how a run's configuration differs from the requested one; empty if they agree."""
    before = {RENAMED.get(key, key): value for key, value in before.items()}
    before = {**ADDED, **before}
    then, now = ({} if not isinstance(d, dict) else d for d in (c.get("decided_by") for c in (before, options)))
    # a run older than a checksum has none to compare; for its starting weights the path must suffice
    now = {key: value for key, value in now.items() if key not in OTHERS or key in then}
    free = {*FREE_OPTIONS, "decided_by"} | ({"init"} if START in then and then[START] == now.get(START) else set())
    changed = [key for key, value in options.items() if key not in free and before.get(key) != value]
    words = [_change(key, before.get(key), options[key]) for key in changed]
    if "decided_by" not in options or "decided_by" not in before:
        return words
    for key in (key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)):
        if key in OTHERS:
            words += [] if key == START and "init" in changed else [OTHERS[key]]
        elif key == "teachers" and isinstance(then.get(key), dict) and isinstance(now.get(key), dict):
            roles = [role for role in {**then[key], **now[key]} if then[key].get(role) != now[key].get(role)]
            words += [f"the teacher '{role}' is another one" for role in roles]
        elif key not in changed:
            words.append(_change(key, then.get(key), now.get(key)))
    return words


def _change(key: str, before: Any, now: Any) -> str:
    return f"{key} was {readable(before)}, now {readable(now)}"


def data_record(dataset: PreparedDataset, soft: bool = False) -> dict[str, str]:
    """Return the checksums of a dataset's training data; `soft`: also of a tolerant teacher's targets."""
    target = target_array(dataset.folder / "train", dataset.scheme)
    names = {"data_sha256": target, "pictures_sha256": "images", **({"soft_sha256": "soft"} if soft else {})}
    known = dataset.manifest["sha256"]
    return {key: known[f"train/{name}.npy"] for key, name in names.items() if f"train/{name}.npy" in known}


def start_record(init: str) -> dict[str, str]:
    """Return a run's record of its starting weights; empty if there are none."""
    return {START: sha256(Path(init))} if init and Path(init).is_file() else {}


def readable(value: Any) -> str:
    """Format a value for the screen: a table as `name: value`, a checksum by its first digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {readable(entry)}" for key, entry in value.items())
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return value[:12]
    return repr(value) if isinstance(value, str | list) else f"{value}"


def write_environment(folder: Path) -> None:
    """Record command, versions and machine."""
    write_json(
        folder / "environment.json",
        {
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "versions": package_versions(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
        },
    )


def _newest(parent: Path, default: str) -> Path | None:
    """Find the newest run of a default name, with or without a number."""
    runs = [p for p in parent.glob(f"{default}*") if (p / "config.json").is_file()]
    found = [p for p in runs if p.name == default or p.name[len(default) + 1 :].isdigit()]
    unfinished = [p for p in found if not (p / "finished.json").is_file()]
    return max(unfinished or found, key=lambda p: ((p / "config.json").stat().st_mtime, p.name), default=None)


def has_run(parent: Path, name: str, default: str) -> bool:
    """Whether there is a run to continue under that name, or the default one."""
    return (parent / name / "config.json").is_file() if name else _newest(parent, default) is not None


def finished_runs(parent: Path, *, role: str, method: str | None = None) -> list[Path]:
    """Find the best weights of finished runs of a role (and method), by their cards; the newest last."""
    found = []
    for mark in parent.glob("*/finished.json"):
        weights = mark.parent / "best.h5"
        if weights.is_file() and weights.with_suffix(".json").is_file():
            try:
                card = read_json(weights.with_suffix(".json"), "the card")
            except UserError:
                continue  # some other run's card; it must not stop this search
            training = card.get("training")
            trained_by = training.get("method") if isinstance(training, dict) else None
            if card.get("role") == role and method in (None, trained_by):
                found.append(weights)
    return sorted(found, key=lambda p: (p.stat().st_mtime, p.parent.name))


def find_teacher(role: str, dataset: str, given: str, runs: Path) -> Path:
    """Find the weights of a dataset's teacher: the given file, the newest finished run's, or `models/teachers/`.

    If there are none, raises a `UserError` with the command that trains it.
    """
    if given:
        return Path(given)
    finished = finished_runs(runs / dataset, role=role)
    if finished:
        return finished[-1]
    shipped = Path("models/teachers") / f"teacher_{role}_{dataset}.h5"
    if shipped.is_file():
        return shipped
    raise UserError(
        f"no {role} teacher for '{dataset}' in {runs / dataset}; run: "
        f"kd-loss train-teacher --dataset {dataset} --role {role}"
    )
