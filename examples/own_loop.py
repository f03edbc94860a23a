"""Your own model in your own training loop, with the package's loss: python examples/own_loop.py

Nothing of the package but the loss, and faces to train on. The step is TensorFlow's; the loss is one on every backend.
"""

import keras
import numpy as np
import tensorflow as tf

import kd_loss
from kd_loss.synthetic.faces import draw_face, face_landmarks

SIZE, FACES = 64, 64


def network(width: int) -> keras.Model:
    """Pictures (B, 64, 64, 3) of 0…255 -> 68 landmarks (B, 136), −0.5…0.5 across the picture."""
    layers = [keras.layers.Rescaling(1 / 127.5, -1)]
    layers += [keras.layers.Conv2D(width * n, 3, 2, "same", activation="relu") for n in (1, 2, 4, 8)]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers, keras.layers.Flatten(), keras.layers.Dense(136)])


def main() -> list[float]:
    """Train for four epochs and return the loss of each step."""
    keras.utils.set_random_seed(0)
    images = np.stack([draw_face(SIZE, 0, index) for index in range(FACES)])
    points = np.stack([face_landmarks("w300", SIZE, 0, index) for index in range(FACES)])
    landmarks = ((points + 0.5) / SIZE - 0.5).astype("float32").reshape(FACES, -1)

    student, tough, tolerant = network(4), network(8), network(8)  # yours are trained, of course
    optimizer = keras.optimizers.AdamW(1e-3)

    @tf.function
    def step(images: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            answers = tough(images, training=False), tolerant(images, training=False)
            faces = kd_loss.losses.kd_loss(truth, student(images, training=True), *answers)  # (B,)
            loss = tf.reduce_mean(faces)
        gradients = tape.gradient(loss, student.trainable_variables)
        optimizer.apply_gradients(zip(gradients, student.trainable_variables, strict=True))
        return loss

    data = tf.data.Dataset.from_tensor_slices((images, landmarks)).shuffle(FACES, seed=0).batch(16)
    losses = [float(step(tf.cast(pictures, "float32"), truth)) for _ in range(4) for pictures, truth in data]
    print(f"loss of the first and the last step: {losses[0]:.3f}, {losses[-1]:.3f}")
    return losses


if __name__ == "__main__":
    main()
