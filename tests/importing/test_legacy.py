from pathlib import Path

import keras
import numpy as np
import pytest

from kd_loss.importing.legacy import Convention, recognise
from kd_loss.importing.legacy_file import OldFile, OldLayer


def test_conventions():
    # the face's middle, and the middle of the first of 224 pixels
    for coordinates, first, middle, corner in [
        ("kd-loss", 0.5, 0.0, 111.5 / 224),
        ("kd-loss", 0.0, 0.5 / 224, 112 / 224),
        ("native", 0.0, 0.0, 0.5 / 224 - 0.5),
        ("unit", 0.0, 0.5, 0.5 / 224),
        ("pixels", 0.0, 111.5, 0.0),
        ("pixels", 1.0, 112.5, 1.0),
    ]:
        m, c = Convention(coordinates, "unit", first).affine(224)
        assert m * middle + c == pytest.approx(0.0)
        assert m * corner + c == pytest.approx(0.5 / 224 - 0.5)


@pytest.mark.parametrize(
    ("arch", "alpha"), [("MobileNetV2", 0.5), ("MobileNetV2", 1.0), ("MobileNetV2", 1.4), ("EfficientNetB1", 1.0)]
)
def test_backbones_are_recognised_by_their_shapes(arch, alpha):
    options = {"alpha": alpha} if arch == "MobileNetV2" else {}
    model = getattr(keras.applications, arch)(
        input_shape=(32, 32, 3), weights=None, classes=136, classifier_activation=None, **options
    )
    layers = [
        OldLayer(la.name, {w.name: np.broadcast_to(np.float32(0), w.shape) for w in la.weights})
        for la in model.layers
        if la.weights
    ]
    found = recognise(OldFile(Path("old.h5"), tuple(layers), None, "2"))
    assert (found.arch.lower(), found.alpha, found.points) == (arch.lower(), alpha, 68)
