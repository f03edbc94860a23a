"""The options of the command `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_loss.configuration import option


@dataclass(frozen=True)
class PredictOptions:
    """Find the landmarks of faces; writes an annotated picture and .json for each picture, .pts for each face."""

    sources: list[str] = option([], "pictures, or folders of them", positional=True)
    weights: str = option("", "weights (.h5) with their card beside them")
    detector: str = option("none", "none: a picture is one cropped face; haar: find the faces of photographs first")
    refine: int = option(1, "with a detector: how often a face is cropped again from the landmarks found in it")
    output: Path = option(Path("predictions"), "folder of the results")
    batch_size: int = option(32, "faces per batch")
    config: str = option("", "JSON or TOML file with options; those of the command line win")
