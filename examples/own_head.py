"""A head of one's own: kd-loss train-student --plugin examples/own_head.py --head corners …

Run as a script, it trains on drawn faces: python examples/own_head.py
"""

import tempfile

import keras

import kd_loss


@kd_loss.register_head("corners")
def corners(inputs: kd_loss.HeadInputs) -> keras.KerasTensor:
    """Landmarks (B, K, 2) from the whole last map, without pooling it."""
    x = keras.layers.Flatten(name="corners_flat", dtype="float32")(inputs.features)
    x = keras.layers.Dense(64, activation="relu", name="corners_hidden", dtype="float32")(x)
    x = keras.layers.Dense(inputs.shape[0] * 2, name="corners_points", dtype="float32")(x)
    return keras.layers.Reshape(inputs.shape, name="landmarks", dtype="float32")(x)


def main() -> str:
    """Train on drawn faces for two epochs in a folder that goes away, and return the name of the run."""
    with tempfile.TemporaryDirectory() as folder:
        common = {"dataset": "synthetic", "data": f"{folder}/data"}
        kd_loss.prepare(count=40, size=48, **common)
        run = kd_loss.train_student(
            arch="mobileNetV2", alpha=0.35, head="corners", method=["none"], epochs=2, batch_size=8,
            runs=f"{folder}/runs", **common,
        )  # fmt: skip
        print(f"{run.name}: taps {', '.join(kd_loss.load_network(run / 'best.h5').taps)}")
        return run.name


if __name__ == "__main__":
    main()
