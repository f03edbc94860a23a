"""The options of the command `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option


@dataclass(frozen=True)
class PredictOptions:
    """Find the landmarks of cropped faces; writes an annotated picture, .json and .pts for each."""

    sources: list[str] = option([], "pictures of one face each, or folders of them", positional=True)
    weights: str = option("", "weights (.h5) with their card beside them")
    output: Path = option(Path("predictions"), "folder of the results")
    batch_size: int = option(32, "faces per batch")
    config: str = option("", "JSON or TOML file with options; those of the command line win")
