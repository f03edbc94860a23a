"""The same small training by `kd_loss.Distiller` under each backend of Keras: python tools/backends.py

Each backend runs in a process of its own, one after the other, all from the same weights; prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BACKENDS = ("tensorflow", "jax", "torch")
ROOT = Path(__file__).parents[1]


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a student of drawn faces with two teachers; a row of the table.

    Returns:
        The loss and the NME of each epoch, and the seconds of the first epoch, which traces and compiles, and of the
        mean of the others.
    """
    import keras
    import numpy as np

    import kd_loss
    from kd_loss.synthetic.faces import draw_face, face_landmarks

    images = np.stack([draw_face(64, 0, index) for index in range(arguments.faces)])
    points = np.stack([face_landmarks("w300", 64, 0, index) for index in range(arguments.faces)])
    landmarks = ((points + 0.5) / 64 - 0.5).astype(np.float32)

    def network(width: int, seed: int) -> keras.Model:
        """Images of 64 px -> landmarks; weights from NumPy, so that every backend starts from the same."""
        inputs = keras.Input((64, 64, 3))
        x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
        for factor in (1, 2, 4, 8):
            x = keras.layers.Conv2D(width * factor, 3, strides=2, padding="same", use_bias=False)(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(inputs, keras.layers.Dense(landmarks[0].size)(x))
        rng = np.random.default_rng(seed)
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
                kernel = layer.kernel
                fan_in = int(np.prod(kernel.shape[:-1]))
                kernel.assign(rng.normal(0, fan_in**-0.5, kernel.shape).astype(np.float32))
        return model

    distiller = kd_loss.Distiller(
        student=network(8, 0),
        teachers={"tough": network(16, 1), "tolerant": network(16, 2)},
        methods=[kd_loss.methods.KDLoss(), (kd_loss.methods.Attention(), 0.1)],
    )
    distiller.compile(keras.optimizers.Adam(1e-3))
    clock = Clock()
    history = distiller.fit(
        images, landmarks, epochs=arguments.epochs, batch_size=32, shuffle=False, verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=clock.begin, on_epoch_end=clock.end)],
    ).history  # fmt: skip
    first, *rest = clock.seconds
    return {"backend": keras.backend.backend(), "loss": history["loss"], "nme": history["nme"], "first": first,
            "later": sum(rest) / max(1, len(rest))}  # fmt: skip


class Clock:
    """Measures each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def begin(self, epoch: int, logs: Any = None) -> None:
        """Start."""
        self._start = time.perf_counter()

    def end(self, epoch: int, logs: Any = None) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self._start)


def main() -> None:
    """Run every backend and print the table, or one and print its row as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, help="this one alone, in this process, as JSON")
    parser.add_argument("--faces", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
        print(json.dumps(train(arguments)))
        return
    print("| backend | loss, first epoch | loss, last epoch | NME, last epoch | s, first epoch | s, later ones |")
    print("|---|--:|--:|--:|--:|--:|")
    for backend in BACKENDS:
        command = [sys.executable, str(Path(__file__)), "--backend", backend, "--faces", str(arguments.faces)]
        done = subprocess.run(
            [*command, "--epochs", str(arguments.epochs)], capture_output=True, text=True, check=False,
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{backend}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {backend} | {row['loss'][0]:.5f} | {row['loss'][-1]:.5f} | {row['nme'][-1]:.3f} | {row['first']:.1f} | "
            f"{row['later']:.2f} |"
        )


if __name__ == "__main__":
    main()
