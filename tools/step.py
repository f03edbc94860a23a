"""Where the time of a training step goes: `python tools/step.py [--size 112] [--batch 32] [--steps 8]`.

A MobileNetV2 student with two recorded teachers, as `train-student` runs it. Waiting for data is measured as in
`kd-loss benchmark --training`; then TensorFlow's profiler sums the time of every kernel, by group. Kernels run
beside one another and the profiler slows them down: only their shares count.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

from kd_loss.archives.synthetic import draw_archive
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepare import prepare
from kd_loss.datasets.prepared import open_dataset
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import Answers, CropTransform
from kd_loss.training.teachers.teacher import RecordedTeacher
from tools.speed.scenarios import ROLES, Clock, ours

#: group -> pattern of `name:type` of an operation; the first that fits
GROUPS = {
    "Adam": r"^adam/",
    "depthwise convolution, backward": r"DepthwiseConv2dNativeBackprop\w+$",
    "depthwise convolution, forward": r"DepthwiseConv2dNative$",
    "1×1 and first convolution, backward": r"Conv2DBackprop\w+$",
    "1×1 and first convolution, forward": r"Conv2D$",
    "batch normalisation, backward": r"FusedBatchNormGradV3$",
    "batch normalisation, forward": r"FusedBatchNormV3$|_BN_\d+/|bn_\w+/",
    "ReLU6, backward": r"Relu6Grad$",
    "ReLU6, forward": r"Relu6$",
    "padding, both ways": r"_pad_",
    "data into the graph": r"PyFunc$|Dataset|Iterator",
    "head, loss and the rest": r"",
}


def run_step(folder: Path, size: int, batch: int, steps: int) -> tuple[Callable[[], None], Clock]:
    """An epoch of `steps` steps, and the clock that watches it."""
    archive = draw_archive("synthetic", batch * steps, size, 0.15, 0)
    prepare(archive, folder / "synthetic", size=size)
    split = open_dataset("synthetic", folder).split("train")
    answers = {role: Answers({"landmarks": np.array(split.landmarks)[None] + 0.01}) for role in ROLES}
    order, view = FaceSampler(split, shuffled=True), CropTransform(size, Augmentation())
    loader = FaceLoader(order, view, batch_size=batch, answers=answers)
    clock = Clock()
    teachers = {role: RecordedTeacher(answers[role]) for role in ROLES}
    return ours(loader, teachers, "kd_loss", clock=clock), clock


def kernel_times(folder: Path) -> Counter[str]:
    """`name:type` of an operation -> picoseconds, from the profiler's files."""
    times: Counter[str] = Counter()
    for path in folder.rglob("*.xplane.pb"):
        for plane in XSpace.FromString(path.read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    if re.fullmatch(r"[\w./-]+:_?[A-Z]\w*", name):
                        times[name] += event.duration_ps
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        epoch, clock = run_step(folder, options.size, options.batch, options.steps)
        for _ in range(3):  # the first traces
            epoch()
        waiting = clock.share(2 * options.steps)
        milliseconds = 1000 * float(np.median(clock.computing[-2 * options.steps :]))
        tf.profiler.experimental.start(str(folder / "profile"))
        epoch()
        tf.profiler.experimental.stop()
        times = kernel_times(folder / "profile")
    groups: Counter[str] = Counter()
    for name, value in times.items():
        groups[next(title for title, pattern in GROUPS.items() if re.search(pattern, name))] += value
    shares = {title: groups[title] / sum(times.values()) for title in GROUPS}
    print(f"{options.size} px, batch {options.batch}: {milliseconds:.0f} ms a step; waiting for data: {waiting:.1%}")
    for title, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"{share:6.1%}  {title}")
    if options.json:
        record = {"size": options.size, "batch": options.batch, "milliseconds": milliseconds}
        record |= {"waiting": waiting, "shares": shares}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
