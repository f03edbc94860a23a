"""Train a dataset's teachers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras

from kd_loss.datasets.prepared import open_dataset
from kd_loss.distillation import MethodUse, get_method
from kd_loss.distillation.plugins import OF_YOUR_OWN, load_plugins
from kd_loss.networks import HEADS
from kd_loss.networks.architecture_registry import check_registered
from kd_loss.networks.backbones import arch_name
from kd_loss.runs.folder import has_run
from kd_loss.system.errors import choose
from kd_loss.training.options import TeacherOptions, checked
from kd_loss.training.processes import join
from kd_loss.training.trainer import Training

ROLES = ("tough", "tolerant")


def train_teachers(options: TeacherOptions, callbacks: Sequence[keras.callbacks.Callback] = ()) -> list[Path]:
    """Train the tough teacher (hard landmarks), the tolerant one (soft landmarks), or both.

    Keras `callbacks` take part in every training.
    """
    options = checked(options)
    load_plugins(options.plugin)
    arch_name(options.arch)
    if options.head:
        choose(options.head, HEADS, "head", OF_YOUR_OWN)
    methods = [MethodUse(get_method("none", {"loss": options.loss}))]
    dataset = open_dataset(options.dataset, options.data)
    processes = join(options)
    check_registered(options.arch, options.size or dataset.size, options.alpha)
    folders: list[Path] = []
    parent = options.runs / dataset.folder.name
    for role in ROLES if options.role == "both" else (options.role,):
        name = f"{options.name}-{role}" if options.name and options.role == "both" else options.name
        # stopped during the first of both, the second has no run yet
        resume = options.resume and (not folders or has_run(parent, name, f"teacher-{role}"))
        folders.append(
            Training(
                dataclasses.replace(options, dataset=dataset.folder.name, name=name, role=role, resume=resume),
                dataset,
                role=role,
                default_name=f"teacher-{role}",
                methods=methods,
                processes=processes,
            ).run(callbacks)
        )
    return folders
