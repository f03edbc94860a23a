"""Ships a trained student: `python -m tools.ship best.h5 student_w300 --facts facts.json --dataset w300`.

Writes `models/students/<name>.h5` with its card, its exports for LiteRT and ONNX in 32 and 8 bits, and their checksums
in `models/sums.json`. `--facts` is a JSON file with `license`, and with `training` and `metrics` to add to the card's.
Licence and provenance are written into every file. Folders are removed from paths in the card.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from kd_loss.export.export_command import ExportOptions, run_export
from kd_loss.system.errors import UserError
from kd_loss.system.files import read_json, sha256, write_json

MODELS = Path(__file__).parents[1] / "models"
#: name of an export -> how it ends among the shipped files
ENDINGS = {"-fp32.tflite": ".tflite", "-int8.tflite": "-int8.tflite", "-fp32.onnx": ".onnx", "-int8.onnx": "-int8.onnx"}


def without_folders(value: Any) -> Any:
    """Names of files in the place of absolute paths, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_folders(entry) for entry in value]
    if isinstance(value, str) and value.startswith("/"):
        return Path(value).name
    return value


def shipped_card(card: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a run with further facts, those of the run first where both have one.

    >>> shipped_card({"training": {"seed": 0}, "metrics": {}}, {"license": "MIT", "training": {"data": "drawn"}})
    {'training': {'data': 'drawn', 'seed': 0}, 'metrics': {}, 'license': 'MIT'}
    """
    own = {key: without_folders(card[key]) for key in ("training", "metrics")}
    added = {key: {**facts.get(key, {}), **own[key]} for key in own}
    return {**card, **added, **{key: facts[key] for key in ("license", "calibration") if key in facts}}


def ship(
    weights: Path, name: str, facts: Mapping[str, Any], dataset: str, data: Path, models: Path = MODELS
) -> list[Path]:
    """Write a student's files to `models/students`; returns them. Raises a `UserError` without a licence."""
    card = shipped_card(read_json(weights.with_suffix(".json"), "the card"), facts)
    if not card.get("license"):
        raise UserError(f"{weights} has no licence; give one in --facts")
    place = models / "students"
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / f"{name}.h5"
        shutil.copyfile(weights, mine)
        write_json(mine.with_suffix(".json"), card)
        with h5py.File(mine, "r+") as file:
            file.attrs["license"] = card["license"]
            file.attrs["provenance"] = json.dumps(card["training"], ensure_ascii=False)
        exports = Path(folder) / "exports"
        run_export(
            ExportOptions(
                weights=str(mine), format=["litert", "onnx"], precision=["fp32", "int8"], dataset=dataset, data=data,
                output=str(exports),
            )
        )  # fmt: skip
        made = {f"{name}.h5": mine, f"{name}.json": mine.with_suffix(".json")}
        made |= {f"{name}{ending}": exports / f"{name}{suffix}" for suffix, ending in ENDINGS.items()}
        for target, file in made.items():  # nothing is replaced before all exports agree with the network
            shutil.copyfile(file, place / target)
    sums = read_json(models / "sums.json", "the checksums")
    sums |= {f"students/{name}{ending}": sha256(place / f"{name}{ending}") for ending in ENDINGS.values()}
    write_json(models / "sums.json", dict(sorted(sums.items())))
    return [place / target for target in made]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="best.h5 of a run, or a shipped file to export again")
    parser.add_argument("name", help="of the shipped files")
    parser.add_argument("--facts", type=Path, help="JSON: license, training, metrics")
    parser.add_argument("--dataset", required=True, help="prepared dataset whose faces calibrate the 8 bits")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of prepared datasets")
    options = parser.parse_args()
    facts = read_json(options.facts, "the facts") if options.facts else {}
    for path in ship(options.weights, options.name, facts, options.dataset, options.data):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
