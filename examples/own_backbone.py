"""A backbone of one's own: kd-loss train-student --plugin examples/own_backbone.py --arch mine …

Run as a script, it trains on drawn faces: python examples/own_backbone.py
"""

import tempfile
from pathlib import Path

import keras

import kd_loss


@kd_loss.register_architecture("mine")
def mine(inputs: keras.KerasTensor, alpha: float = 1.0) -> keras.KerasTensor:
    """The last feature map, 32 times smaller than the picture; `--alpha` makes it wider."""
    x = inputs
    for channels in (16, 24, 32, 64, 96):
        x = keras.layers.Conv2D(round(channels * alpha), 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
    return x


def main() -> Path:
    """Train for two epochs in a folder that goes away, and return the run's name."""
    with tempfile.TemporaryDirectory() as folder:
        data, runs = f"{folder}/data", f"{folder}/runs"
        kd_loss.prepare(dataset="synthetic", count=40, size=48, data=data)
        run = kd_loss.train_student(
            dataset="synthetic", arch="mine", method=["none"], size=64, epochs=2, batch_size=8, data=data, runs=runs
        )
        network = kd_loss.load_network(run / "best.h5")
        print(f"{network.card.arch}: {network.model.count_params():,} parameters, taps {', '.join(network.taps)}")
        return Path(run.name)


if __name__ == "__main__":
    main()
