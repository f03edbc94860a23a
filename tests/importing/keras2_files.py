"""Run as a script, with Keras 2: old files, and what Keras 2 itself predicts for the pictures of `pictures.npy`.

Beside each `<name>.h5` lies `<name>.npy`, flat outputs (B, 2K) in the file's own convention.
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tf.keras is Keras 2 then, for the efficientnet package too
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import efficientnet.tfkeras as package
import numpy as np
import tf_keras as keras

FOLDER = Path(sys.argv[1])
PICTURES = np.load(FOLDER / "pictures.npy")
SIZE = PICTURES.shape[1]
layers = keras.layers
rng = np.random.default_rng(0)
keras.utils.set_random_seed(0)


def all_layers(model):
    for layer in model.layers:
        yield from all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def settle(model, pictures, side):
    """Weights as after a training: signals of the usual size, and points within 0.4 crops of a mean.

    A crop is `side` units long. A network of random weights magnifies the rounding of float32 where its
    signals are small.
    """
    for layer in all_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, *moving = layer.get_weights()
            layer.set_weights([rng.uniform(0.7, 1.3, gamma.shape), rng.normal(0, 0.2, beta.shape), *moving])
            layer.momentum = 0.1
    for _ in range(3):
        model(pictures, training=True)
    for layer in all_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, np.maximum(variance, variance.mean() / 8)])
    head = [layer for layer in all_layers(model) if isinstance(layer, layers.Dense)][-1]
    kernel, *bias = head.get_weights()
    reach = np.abs(model.predict(pictures, verbose=0)).max()  # the bias is still zero
    head.set_weights([0.4 * side / reach * kernel, *(rng.uniform(-0.3, 0.3, b.shape) for b in bias)])


def write(model, name, pictures, weights_only="", frozen=(), side=1):
    settle(model, pictures, side)
    for layer in frozen:
        layer.trainable = False
    model.save(FOLDER / f"{name}.h5")
    predicted = model.predict(pictures, verbose=0)
    np.save(FOLDER / f"{name}.npy", predicted)
    if weights_only:
        model.save_weights(FOLDER / f"{weights_only}.h5")
        np.save(FOLDER / f"{weights_only}.npy", predicted)


def mobilenet(**options):
    return keras.applications.MobileNetV2(input_shape=(SIZE, SIZE, 3), alpha=0.35, weights=None, **options)


# as the authors of KD-Loss: MobileNetV2 whose classifier is replaced by a dense layer O_L
backbone = mobilenet(include_top=True)
pooled = backbone.get_layer("global_average_pooling2d").output
write(keras.Model(backbone.input, layers.Dense(136, name="O_L")(pooled)), "student", PICTURES / 255, "student_weights")

# a backbone within a network, its first layers frozen: its weights stand in another order in the file
backbone = mobilenet(include_top=False)
head = layers.Dense(58, use_bias=False)
parts = [layers.Rescaling(1 / 127.5, -1), backbone, layers.GlobalAveragePooling2D(), layers.Dropout(0.5), head]
nested = keras.Sequential([*parts, layers.Reshape((29, 2))])
nested.build((None, SIZE, SIZE, 3))
write(nested, "nested", PICTURES, frozen=backbone.layers[:80], side=SIZE)

# a teacher as the authors make it: the efficientnet package's network on pictures of 0…1
backbone = package.EfficientNetB0(include_top=True, weights=None, input_shape=(SIZE, SIZE, 3), classes=196)
x = layers.GlobalAveragePooling2D()(backbone.get_layer("top_activation").output)
x = layers.Dense(196, activation="linear", name="out")(layers.Dropout(0.5)(x))
write(keras.Model(backbone.input, x), "teacher", PICTURES / 255, "teacher_weights")

# Keras 2's own EfficientNet, which scales its pictures itself
backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
normalisation = backbone.get_layer("normalization")
normalisation.set_weights([np.array([0.4, 0.5, 0.6]), np.array([0.04, 0.05, 0.06]), 0])
x = layers.Dense(136)(layers.GlobalAveragePooling2D()(backbone.output))
write(keras.Model(backbone.input, x), "own_efficientnet", PICTURES)
keras.Model(backbone.input, x).save_weights(FOLDER / "normalised_weights.h5")

# none of these is a landmark network of this package
backbone = mobilenet(include_top=False, pooling="avg")
keras.Model(backbone.input, layers.Dense(136, activation="sigmoid")(backbone.output)).save(FOLDER / "sigmoid.h5")
code = layers.Lambda(lambda t: t * 2, name="twice")(backbone.output)
keras.Model(backbone.input, layers.Dense(136)(code)).save(FOLDER / "lambda.h5")
deeper = layers.Dense(136)(layers.Dense(8, name="dif_gt_st")(backbone.output))
keras.Model(backbone.input, deeper).save(FOLDER / "deeper.h5")
backbone.save(FOLDER / "headless.h5")
squashed = layers.Dense(136)(layers.Activation("tanh")(backbone.output))
write(keras.Model(backbone.input, squashed), "squashed", PICTURES / 255)
small = keras.Sequential([layers.Conv2D(8, 3, input_shape=(32, 32, 3)), layers.Flatten(), layers.Dense(136)])
small.save(FOLDER / "small.h5")
