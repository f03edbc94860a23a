"""A head of one's own: kd-loss train-student --plugin examples/own_head.py --head corners …"""

import keras

import kd_loss


@kd_loss.register_head("corners")
def corners(inputs: kd_loss.HeadInputs) -> keras.KerasTensor:
    """Landmarks (B, K, 2) from the whole last map, without pooling it."""
    x = keras.layers.Flatten(name="corners_flat", dtype="float32")(inputs.features)
    x = keras.layers.Dense(64, activation="relu", name="corners_hidden", dtype="float32")(x)
    x = keras.layers.Dense(inputs.shape[0] * 2, name="corners_points", dtype="float32")(x)
    return keras.layers.Reshape(inputs.shape, name="landmarks", dtype="float32")(x)
