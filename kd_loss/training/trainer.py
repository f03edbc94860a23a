"""One training, for teachers and students alike."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras

from kd_loss.datasets.prepared import PreparedDataset
from kd_loss.datasets.seen_faces import write_prints
from kd_loss.distillation import MethodUse
from kd_loss.distillation.plugins import OF_YOUR_OWN
from kd_loss.evaluation.prediction import spread_correlation
from kd_loss.networks import HEADS, Card, LandmarkNet, build_network, load_network, save_network
from kd_loss.networks.backbones import arch_name
from kd_loss.networks.card import SPREAD_CORRELATION
from kd_loss.networks.flops import multiply_adds
from kd_loss.networks.keypoint_detector import load_start
from kd_loss.networks.landmark_net import take_weights
from kd_loss.runs.folder import data_record, open_run, readable, start_record
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.system.bundled import weights_path
from kd_loss.system.configuration import to_plain
from kd_loss.system.errors import choose
from kd_loss.system.files import alone_in
from kd_loss.system.versions import __version__, package_versions
from kd_loss.training.distiller import Distiller
from kd_loss.training.faces import TrainingFaces, Unlabelled
from kd_loss.training.fit import Note, compile_with_adam, fit_run, run_log
from kd_loss.training.options import StudentOptions, TeacherOptions, with_head
from kd_loss.training.processes import Processes
from kd_loss.training.teachers.teacher import RecordedTeacher, Teacher
from kd_loss.training.trackers import trackers

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Training:
    """One network, its training data, and the run that results.

    Attributes:
        options: options of the command.
        dataset: prepared dataset.
        role: `student`, `tough` or `tolerant`, for the card; a tolerant teacher learns the soft landmarks.
        default_name: run name if the options set none.
        methods, teachers: see `Distiller`.
        unlabelled: additional training faces without landmarks.
        record: what else determines the result, e.g. the teachers' files and checksums: stored with the run
            and in the card, and compared when the run is resumed.
        processes: the processes that train together.
    """

    options: StudentOptions | TeacherOptions
    dataset: PreparedDataset
    role: str
    default_name: str
    methods: Sequence[MethodUse]
    teachers: Mapping[str, Teacher] = dataclasses.field(default_factory=dict)
    unlabelled: Unlabelled | None = None
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    processes: Processes = dataclasses.field(default_factory=Processes)

    def __post_init__(self) -> None:
        options = with_head(self.options, self.dataset.scheme)
        self.options = dataclasses.replace(options, init=str(weights_path(options.init))) if options.init else options

    @property
    def visibility(self) -> bool:
        """Whether the network gets a second output, for visible points."""
        return isinstance(self.options, StudentOptions) and self.options.visibility

    def run(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Path:
        """Train and return the run folder, with `best.h5` in it.

        Keras `callbacks` run before those that save.
        """
        self.processes.check_batch(self.options.batch_size)
        keras.mixed_precision.set_global_policy(self.options.precision)
        try:
            with self.processes.data_parallel(), tempfile.TemporaryDirectory() as scratch, ExitStack() as held:
                return self._run(Path(scratch), callbacks, held)
        finally:
            keras.mixed_precision.set_global_policy("float32")

    def loaders(self) -> TrainingFaces:
        """The faces in batches."""
        answers = {role: t.answers for role, t in self.teachers.items() if isinstance(t, RecordedTeacher)}
        return TrainingFaces(
            self.options,
            self.dataset.split("train"),
            soft=self.role == "tolerant",
            visibility=self.visibility,
            answers=answers,
            unlabelled=self.unlabelled,
            processes=self.processes,
        )

    def card(self, faces: TrainingFaces) -> Card:
        """The card of the network: what it is and how it was trained."""
        options = self.options
        head = choose(options.head, HEADS, "head", OF_YOUR_OWN)
        return Card(
            arch=arch_name(options.arch),
            alpha=options.alpha,
            dataset=options.dataset,
            spec=self.dataset.scheme.to_dict(),
            outputs=self.dataset.scheme.outputs,
            size=faces.size,
            role=self.role,
            head=head,
            visibility=self.visibility,
            cut=options.output_stride or HEADS[head].cut,
            margin=self.dataset.manifest["crop"]["margin"],
            calibration=self.dataset.manifest.get("calibration", {}),
            training={
                "epochs": options.epochs,
                "seed": options.seed,
                "faces": len(faces.chosen),
                "held_out": len(faces.held),
                **data_record(self.dataset, soft=self.role == "tolerant"),
                "method": " + ".join(use.name for use in self.methods),
                **start_record(options.init),
                **self.record,
            },
            versions={"kd_loss": __version__, "keras": keras.__version__, **package_versions()},
        )

    def network(self, card: Card, faces: TrainingFaces) -> LandmarkNet:
        """The network to train: new, or with the weights it shares with `--init`, partly frozen on request."""
        options = self.options
        network = build_network(
            card,
            pretrained=options.pretrained,
            dropout=options.dropout,
            mean_shape=faces.mean_shape,
            seed=options.seed,
        )
        if options.init:
            log.info(take_weights(network, load_start(Path(options.init))))
        freeze = options.freeze if isinstance(options, StudentOptions) else ""
        for layer in network.tap_model([freeze]).layers if freeze else ():
            layer.trainable = False
        return network

    def distiller(self, network: LandmarkNet, faces: TrainingFaces) -> Distiller:
        """The compiled model to fit."""
        options, more = self.options, self.unlabelled
        distiller = Distiller(
            student=network,
            methods=self.methods,
            teachers=self.teachers,
            scheme=self.dataset.scheme,
            unlabelled_weight=more.weight if more else 1.0,
            partial=self.dataset.split("train").partial,
            kinds=1 if not more else 3 if more.mixed else 2,
            mix_weight=more.mix_weight if more and more.mixed else 0.0,
            visibility_weight=options.visibility_weight
            if isinstance(options, StudentOptions) and options.visibility
            else 0,
        )
        compile_with_adam(distiller, options.learning_rate, len(faces.loader) * options.epochs)
        return distiller

    def _judge_spread(self, weights: Path, faces: TrainingFaces, note: Note) -> None:
        """Record in the best network's card whether its spread predicts its errors, if it has one."""
        if faces.validation is None:
            return
        best = load_network(weights)
        if not best.has_spread:
            return
        correlation = spread_correlation(CropNetwork.of(best), faces.validation)
        card = dataclasses.replace(best.card, metrics={**best.card.metrics, SPREAD_CORRELATION: correlation})
        card.write(weights)
        what = "heatmaps" if card.head == "heatmap" else "landmarks"
        note(
            f"spread of the {what} and error: rank correlation {correlation:.2f} on the faces held out; predict "
            f"{'tells' if card.confident else 'does not tell'} a confidence"
        )

    def _settings(self, card: Card) -> dict[str, Any]:
        """The run's configuration, as in its `config.json`."""
        return {**to_plain(self.options), "arch": card.arch, "role": self.role, "decided_by": card.training}

    def _open(self, card: Card, scratch: Path, held: ExitStack) -> tuple[Path, Path]:
        """Open and lock the run's folder; returns it and where this process writes: only the first writes the run."""
        options, place = self.options, scratch
        if not self.processes.index:
            parent = options.runs / options.dataset
            place = open_run(parent, options.name, self.default_name, self._settings(card), options.resume)
            held.enter_context(alone_in(place))
            write_prints(self.dataset.split("train"), place)
        place = self.processes.agree_on(place)
        return place, place if not self.processes.index else scratch

    def _run(self, scratch: Path, callbacks: Sequence[keras.callbacks.Callback], held: ExitStack) -> Path:
        options, faces, scheme = self.options, self.loaders(), self.dataset.scheme
        monitor = f"val_{scheme.metric}"
        card = self.card(faces)
        network = self.network(card, faces)
        distiller = self.distiller(network, faces)
        place, folder = self._open(card, scratch, held)
        note = run_log(folder)

        logged = [] if self.processes.index else trackers(options.log_to, folder, self._settings(card))

        def save_best(logs: dict[str, float]) -> None:
            metrics = {f"validation_{scheme.metric}": logs[monitor]} if monitor in logs else {}
            save_network(
                LandmarkNet(network.model, dataclasses.replace(network.card, metrics=metrics)), folder / "best.h5"
            )

        def save_last() -> None:
            save_network(network, folder / "last.h5")
            if self.processes.devices == 1:  # one process of several cannot run a shared network
                self._judge_spread(folder / "best.h5", faces, note)

        size = f"{network.model.count_params():,} parameters, {multiply_adds(network.model) / 1e6:.1f} M multiply-adds"
        checkpoint = fit_run(
            distiller,
            network.model,
            faces.loader,
            faces.validation,
            folder,
            epochs=options.epochs,
            patience=options.patience,
            resume=options.resume,
            save_best=save_best,
            save_last=save_last,
            note=note,
            opening=[
                f"{folder}: {self.role} {card.arch}, {card.head} head, {size}; {len(faces.chosen)} faces, "
                f"{len(faces.held)} held out, {faces.size} px, {len(faces.loader) * options.epochs} steps",
                *(f"{name}: {readable(value)}" for name, value in self.record.items()),
                f"objective: {distiller.objective}",
            ],
            monitor=monitor,
            order=["loss", *distiller.terms_in_order, scheme.metric],
            state_from=place,
            callbacks=[*callbacks, *logged],
            quiet=bool(self.processes.index),
        )
        if checkpoint.best is not None:
            words = scheme.metric_words.partition(" in ")[0]
            note(f"best validation {words} {checkpoint.best:.2f} {scheme.unit} -> {folder / 'best.h5'}")
        return place
