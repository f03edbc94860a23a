"""Support for the `efficientnet` package: its `noisy-student` weights, and files written with it.

Keras has the network but not these weights. The package's network is the same layer by layer, except for
the input: it expects images normalised by ImageNet's mean and standard deviation, which Keras's
network does itself, in its `Normalization` layer and its rescaling. Only this module needs the package.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from kd_loss.networks.input_scaling import set_input_scaling
from kd_loss.system.errors import UserError, first_line

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def copy_weights(source: keras.Model, target: keras.Model) -> int:
    """Copy the weights of the package's EfficientNet into Keras's; returns the number of layers copied.

    Layers are paired in order of their kind and shapes; the normalisation of the input is set to
    ImageNet's mean and variance. Raises a `UserError` if the two networks differ.
    """
    with_weights = [layer for layer in source.layers if layer.weights]
    own = [la for la in target.layers if la.weights and not isinstance(la, keras.layers.Normalization)]
    if [[w.shape for w in a.weights] for a in with_weights] != [[w.shape for w in b.weights] for b in own]:
        raise UserError("the efficientnet package's network has other layers than that of Keras")
    for a, b in zip(with_weights, own, strict=True):
        b.set_weights(a.get_weights())
    mean, deviation = np.array(MEAN), np.array(STD)
    set_input_scaling(target, 1 / (255 * deviation), -mean / deviation)
    return len(own)


def load_package_model(path: Path) -> keras.Model:
    """Load a `.h5` file of a network built with the package, after registering its layers."""
    import efficientnet.tfkeras  # noqa: F401  registers FixedDropout and swish

    return keras.models.load_model(path, compile=False, safe_mode=True)


def load_noisy_student(backbone: keras.Model, arch: str) -> None:
    """Download the weights for an EfficientNet backbone and copy them; raises a `UserError` if that fails."""
    if not arch.startswith("efficientNet"):
        raise UserError(f"noisy-student weights exist for EfficientNet only, not for {arch}")
    if keras.backend.backend() != "tensorflow":
        raise UserError("noisy-student weights need the TensorFlow backend; convert them there once")
    try:
        import efficientnet.tfkeras as package
    except ImportError as error:
        raise UserError(f"noisy-student weights need the package efficientnet ({error})") from None
    name = "EfficientNetB3" if arch == "efficientNet" else "E" + arch[1:]
    try:
        source = getattr(package, name)(include_top=False, weights="noisy-student", input_shape=(None, None, 3))
    except Exception as error:
        reason = first_line(error)
        raise UserError(
            f"the noisy-student weights of {arch} cannot be downloaded ({reason}); remove --pretrained"
        ) from None
    copy_weights(source, backbone)
