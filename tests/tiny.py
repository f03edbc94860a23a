"""A backbone of five convolutions, `--arch tiny`: most of a test's training is the tracing of layers.

`python -m tests.tiny train-student --arch tiny …` is `kd-loss` that knows it.
"""

from kd_loss.system.terminal import catch_interrupts, open_streams

if __name__ == "__main__":  # before Keras, as the command does
    catch_interrupts()
    open_streams()

import keras

from kd_loss.networks.backbones import ARCHITECTURES, Architecture


def build(input_tensor, alpha=1.0, **_):
    """Feature maps of strides 2…32; `alpha` is a width multiplier."""
    x = input_tensor
    options = {"strides": 2, "padding": "same", "use_bias": False}
    for i, filters in enumerate((16, 24, 32, 48, 64), 1):
        x = keras.layers.Conv2D(round(filters * alpha), 3, **options, name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{i}")(x)
        x = keras.layers.ReLU(6.0, name=f"relu{i}")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x)


ARCHITECTURES["tiny"] = Architecture(build, (1 / 127.5, -1.0), True, 0.0)

if __name__ == "__main__":
    from kd_loss.cli import main

    main()
