"""A backbone of KerasHub under a head of landmarks: python examples/kerashub_backbone.py

Here a small ResNet without weights, so that nothing is downloaded. By command it is a preset, with its weights:

    kd-loss train-student --arch kerashub:resnet_18_imagenet --pretrained preset …
"""

import importlib.util
from typing import Any

import keras
import numpy as np

import kd_loss
from kd_loss.synthetic.faces import draw_face, face_landmarks

SIZE = 64


def network(depth: int) -> keras.Model:
    """Pictures of 0…255 -> landmarks (B, 136), −0.5…0.5 across the picture."""
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[8],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[8, 16, 32],
        stackwise_num_blocks=[depth] * 3,
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=(SIZE, SIZE, 3),
    )
    inputs = keras.Input((SIZE, SIZE, 3))
    x = backbone(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    return keras.Model(inputs, keras.layers.Dense(136)(keras.layers.GlobalAveragePooling2D()(x)))


def main() -> dict[str, Any] | None:
    """Train for two epochs and return the history; None where KerasHub is not installed."""
    if importlib.util.find_spec("keras_hub") is None:
        print("KerasHub is not installed: pip install keras-hub")
        return None
    keras.utils.set_random_seed(0)
    images = np.stack([draw_face(SIZE, 0, index) for index in range(32)])
    points = np.stack([face_landmarks("w300", SIZE, 0, index) for index in range(32)])
    landmarks = ((points + 0.5) / SIZE - 0.5).astype("float32")
    distiller = kd_loss.Distiller(
        student=network(1),
        teachers={"tough": network(2)},
        methods=[kd_loss.get_method("kd"), (kd_loss.methods.Attention(), 0.1)],  # feature maps inside of the backbone
    )
    distiller.compile(keras.optimizers.AdamW(1e-3))
    return dict(distiller.fit(images, landmarks, batch_size=8, epochs=2, verbose=2).history)


if __name__ == "__main__":
    main()
