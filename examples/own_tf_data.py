"""Your own `tf.data` pipeline and networks, two methods at once: python examples/own_tf_data.py

Landmarks are pixels, the pictures floats of 0…1, each face has a weight: the Distiller converts, the data stay as they
are. Teachers are a Keras model and a function of NumPy arrays.
"""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

import kd_loss
from kd_loss.synthetic.faces import draw_face, face_landmarks

SIZE = 64


def faces(first: int, count: int) -> tf.data.Dataset:
    """Pictures (B, 64, 64, 3) of 0…1, landmarks (B, 68, 2) in pixels, weights (B,)."""

    def drawn() -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        for index in range(first, first + count):
            yield draw_face(SIZE, 0, index) / 255, face_landmarks("w300", SIZE, 0, index), 1.0

    shapes = tf.TensorSpec((SIZE, SIZE, 3)), tf.TensorSpec((68, 2)), tf.TensorSpec(())
    return tf.data.Dataset.from_generator(drawn, output_signature=shapes).cache().batch(16).prefetch(2)


def network(width: int) -> keras.Model:
    """Pictures of 0…1 -> landmarks (B, 136) in pixels."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = inputs
    for factor in (1, 2, 4, 8):
        x = keras.layers.Conv2D(width * factor, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Rescaling(SIZE, SIZE / 2)(keras.layers.Dense(136)(x)))


def main() -> dict[str, list[float]]:
    """Train for two epochs and return the history."""
    keras.utils.set_random_seed(0)
    middle = face_landmarks("w300", SIZE, 0, 0)  # a poor teacher: the same face for every picture
    distiller = kd_loss.Distiller(
        student=network(4),
        teachers={"tough": network(8), "tolerant": lambda images: np.tile(middle, (len(images), 1, 1))},
        methods=[kd_loss.methods.KDLoss(main=2.5), (kd_loss.methods.Attention(), 0.1)],
        coordinates="pixels",
        image_range=(0, 1),
    )
    distiller.compile(keras.optimizers.AdamW(1e-3))
    history = distiller.fit(faces(0, 64), validation_data=faces(64, 16), epochs=2, verbose=2).history
    return dict(history)


if __name__ == "__main__":
    main()
