"""A network of PyTorch as a teacher: python examples/pytorch_teacher.py

`mine.pt` is TorchScript (`torch.jit.trace(…).save(…)`); `mine.pt2`, of `torch.export.save`, works alike. A card of the
same name, `mine.json`, says what the network takes and gives. The command takes the same file:

    kd-loss train-student --method kd@mine --teacher mine=mine.pt …
"""

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import torch

import kd_loss
from kd_loss.synthetic.faces import draw_face, face_landmarks

SIZE = 64


class Teacher(torch.nn.Module):
    """Pictures (B, 3, 64, 64) of −1…1 -> landmarks (B, 68, 2), 0…1 across the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4))
        self.points = torch.nn.Linear(256, 136)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The landmarks."""
        return torch.sigmoid(self.points(self.maps(images).flatten(1))).reshape(-1, 68, 2)


def write_teacher(folder: Path) -> Path:
    """A TorchScript file and its card."""
    torch.manual_seed(0)
    path = folder / "mine.pt"
    torch.jit.trace(Teacher().eval(), torch.zeros(1, 3, SIZE, SIZE)).save(str(path))
    card = {"points": 68, "size": SIZE, "range": [-1, 1], "unit": "unit"}  # the layout of PyTorch's files is nchw
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def main() -> dict[str, list[float]]:
    """Train a Keras student with the PyTorch teacher and return the history."""
    keras.utils.set_random_seed(0)
    images = np.stack([draw_face(SIZE, 0, index) for index in range(32)])
    points = np.stack([face_landmarks("w300", SIZE, 0, index) for index in range(32)])
    landmarks = ((points + 0.5) / SIZE).astype("float32")

    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x))
    student = keras.Model(inputs, keras.layers.Dense(136, activation="sigmoid")(x))

    with tempfile.TemporaryDirectory() as folder:
        teacher = write_teacher(Path(folder))
        distiller = kd_loss.Distiller(
            student=student,
            teachers={"mine": str(teacher)},
            methods=[kd_loss.get_method("kd")],
            coordinates="unit",
        )
        distiller.compile(keras.optimizers.AdamW(1e-3))
        return dict(distiller.fit(images, landmarks, batch_size=8, epochs=2, verbose=2).history)


if __name__ == "__main__":
    main()
