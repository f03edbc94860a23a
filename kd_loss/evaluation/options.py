"""The options of the command `test`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option


@dataclass(frozen=True)
class EvaluationOptions:
    """Test networks on a prepared dataset: NME, FR, AUC per subset, CED, pictures, report.html."""

    weights: list[str] = option([], "weights (.h5 with a card) to test; the first one's pictures are drawn")
    dataset: str = option("w300", "prepared dataset")
    split: str = option("test", "test or train")
    beside: bool = option(True, "test the dataset's newest teachers and students alone and distilled beside it")
    worst: int = option(20, "how many of the worst faces to draw")
    batch_size: int = option(32, "faces per step")
    output: str = option("", "folder of the results; the weights' run folder if left out")
    data: Path = option(Path("data"), "folder of the prepared datasets")
    runs: Path = option(Path("runs"), "folder of the runs")
    config: str = option("", "JSON or TOML file with options; those of the command line win")
