"""The same training by command, by objects and by a loop written by hand gives the same weights (TensorFlow)."""

import dataclasses

import keras
import numpy as np
import pytest

import kd_loss
from kd_loss.datasets.augment import Augmentation
from kd_loss.datasets.loader import FaceLoader
from kd_loss.datasets.prepared import holdout
from kd_loss.datasets.sampler import FaceSampler
from kd_loss.datasets.transform import CropTransform
from kd_loss.networks import Card, build_network
from kd_loss.runs.folder import find_teacher
from kd_loss.training.callbacks import EpochCounter
from kd_loss.training.fit import learning_rate
from kd_loss.training.fused_batch_norm import fused_batch_normalization
from kd_loss.training.precise_batch_norm import PreciseBatchNorm
from kd_loss.training.train_student import train_student

EPOCHS, BATCH, SIZE, SEED = 2, 8, 32, 3


def by_command(options):
    """The weights of `last.h5`."""
    options = dataclasses.replace(options, epochs=EPOCHS, seed=SEED, teacher_mode="live", name="command")
    run = train_student(options)
    return kd_loss.load_network(run / "last.h5").model.get_weights()


def parts(options):
    """What both other ways begin with: faces, student, teachers, optimizer, statistics."""
    dataset = kd_loss.open_dataset("synthetic", options.data)
    split = dataset.split("train")
    chosen, _ = holdout(split, options.validation, SEED)
    faces = FaceLoader(
        FaceSampler(split, chosen, shuffled=True, seed=SEED), CropTransform(SIZE, Augmentation()), batch_size=BATCH
    )
    card = Card("tiny", 1.0, "synthetic", dataset.scheme.to_dict(), SIZE, "student", 0.15, head="pooled", cut="P5")
    mean_shape = np.nanmean(split.landmarks[chosen], axis=0)
    student = build_network(card, mean_shape=mean_shape, seed=SEED)
    teachers = {
        role: kd_loss.load_network(find_teacher(role, "synthetic", "", options.runs)) for role in ("tough", "tolerant")
    }
    optimizer = keras.optimizers.Adam(learning_rate(options.learning_rate, len(faces) * EPOCHS))
    return dataset.scheme, faces, student, teachers, optimizer, PreciseBatchNorm(student.model, faces)


def by_objects(options):
    """`kd_loss.Distiller` on the loader, with the schedule and the two callbacks that the command adds."""
    scheme, faces, student, teachers, optimizer, statistics = parts(options)
    distiller = kd_loss.Distiller(student=student, teachers=teachers, methods=[kd_loss.methods.KDLoss()], scheme=scheme)
    distiller.compile(optimizer)
    with fused_batch_normalization():
        distiller.fit(faces, epochs=EPOCHS, shuffle=False, callbacks=[EpochCounter(faces), statistics], verbose=0)
    return student.model.get_weights()


def by_hand(options):
    """A gradient tape and `kd_loss.losses`."""
    import tensorflow as tf

    _, faces, student, teachers, optimizer, statistics = parts(options)
    model, tough, tolerant = student.model, teachers["tough"].model, teachers["tolerant"].model

    weights = kd_loss.methods.KDLoss().weights_of_terms

    @tf.function
    def step(images, truth):
        images = tf.cast(images, "float32")
        with tf.GradientTape() as tape:
            answers = tough(images, training=False), tolerant(images, training=False)
            terms = kd_loss.losses.kd_loss_terms(truth, model(images, training=True), *answers)
            loss = sum(weights[name] * tf.reduce_sum(values) / BATCH for name, values in terms.items())
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    with fused_batch_normalization():
        for epoch in range(EPOCHS):
            faces.epoch = epoch
            for number in range(len(faces)):
                images, targets = faces[number]
                step(images, targets["landmarks"])
            statistics.update()
    return model.get_weights()


def difference(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a loop of TensorFlow's")
def test_the_weights_are_the_same(options):
    weights = {way.__name__: way(options) for way in (by_command, by_objects, by_hand)}
    objects, hand = (difference(weights["by_command"], weights[way]) for way in ("by_objects", "by_hand"))
    assert objects == 0
    assert hand < 1e-5  # the same sums, which the two compiled steps round otherwise
    # it did learn: the start is another
    student = parts(options)[2]
    assert difference(weights["by_command"], student.model.get_weights()) > 1e-3
