"""The command `prepare-persons`: folders of persons and pairs -> crops, ready to train and to verify on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kd_loss.system.configuration import Options, option
from kd_loss.system.errors import UserError, check_name
from kd_loss.system.overwrite_guard import check_replaceable
from kd_loss.system.terminal import counted

log = logging.getLogger(__name__)

#: images that are cropped together
TOGETHER = 64


@dataclass(frozen=True)
class PersonsOptions(Options):
    """Crop images of persons into data/<dataset>/, to train and verify recognition; without folders, drawn ones."""

    dataset: str = option("persons", "name of the prepared dataset")
    train: str = option("", "folder of the training persons: a folder each, or files named person_07.jpg")
    test: str = option("", "folder of the test persons, likewise; those of CFP and of LFW have their pairs in them")
    pairs: str = option(
        "",
        "pairs of test images: a CSV with fold, same, first, second, or LFW's pairs.txt; default: the folder's own",
    )
    align: bool = option(
        True, "align crops by five points (similarity); otherwise a square about the landmarks", group="crops"
    )
    size: int = option(112, "side of a crop in pixels; 64 for CPUs", within=(32, 512))
    landmarks: str = option("", "network of the 68 landmarks; default: the shipped student")
    doubtful: str = option(
        "refuse",
        "images with no face, or with two of like size: refuse; keep the middle or the largest face; skip, with those "
        "that do not decode",
        choices=("refuse", "keep", "skip"),
    )  # fmt: skip
    persons: int = option(60, "drawn persons for training; a third more for testing", within=(6, 10**6), group="drawn")
    pictures: int = option(10, "images of each drawn person", within=(2, 1000))
    folds: int = option(5, "folds of the drawn pairs", within=(2, 100))
    seed: int = option(0, "seed of the drawn persons", within=(0, 2**32 - 1))
    data: Path = option(Path("data"), "folder of the prepared datasets", group="results")

    def check(self) -> None:
        """Raise a `UserError` for a bad name, a missing folder, or pairs without images."""
        check_name(self.dataset, "a dataset")
        for folder in filter(None, (self.train, self.test)):
            if not Path(folder).is_dir():
                raise UserError(f"no such folder of persons: {folder}")
        if self.pairs and not self.test:
            raise UserError("--pairs names images of --test FOLDER, which is not given")
        if not (self.train or self.test) and self.persons // 3 < 2 * self.folds:
            raise UserError(f"--folds {self.folds} of two test persons or more: give --persons {6 * self.folds}")


def run_prepare_persons(options: PersonsOptions) -> dict[str, Any]:
    """Write the dataset, print its counts, and return the manifest.

    Raises:
        UserError: a person is in training and in test or has one image, a pair names a missing image or contradicts
            the folders, folds are unequal, or an image has no face or two; nothing is written.
    """
    from kd_loss.recognition.dataset import KIND, check_apart
    from kd_loss.recognition.persons import draw_persons, drawn_pairs, find_pairs, persons_of, read_pairs, read_persons

    options.check()
    target = options.data / options.dataset
    check_replaceable(target)
    pairs, splits = [], {}
    if options.train or options.test:
        splits = {name: read_persons(Path(f)) for name, f in (("train", options.train), ("test", options.test)) if f}
        file = Path(options.pairs) if options.pairs else find_pairs(Path(options.test)) if options.test else None
        if options.test and file is None:
            raise UserError(f"{options.test} has no pairs in CFP's or LFW's layout: give --pairs FILE")
        if file:
            pairs = read_pairs(file, [picture.name for picture in splits["test"]], persons_of(splits["test"]))
    else:
        options = replace(options, doubtful="keep")
        canvas = 2 * options.size
        splits["train"] = draw_persons(options.persons, options.pictures, canvas, options.seed)
        splits["test"] = draw_persons(
            options.persons // 3, options.pictures, canvas, options.seed, first=options.persons
        )
        pairs = drawn_pairs(splits["test"], options.folds, options.seed)
    names = {split: {picture.person for picture in pictures} for split, pictures in splits.items()}
    check_apart(sorted(names.get("train", ())), sorted(names.get("test", ())))
    for person, count in Counter(picture.person for picture in splits.get("train", ())).items():
        if count < 2:
            raise UserError(f"the training person {person} has one image; two or more are wanted, or leave it out")
    manifest = {
        "kind": KIND,
        "size": options.size,
        "alignment": "five points, similarity" if options.align else "square about the landmarks, margin 0.15",
        "align": options.align,
        "doubtful": options.doubtful,
        "source": {split: folder for split, folder in (("train", options.train), ("test", options.test)) if folder},
    }
    return _write(target, splits, pairs, manifest, options)


def _write(
    target: Path, splits: dict[str, Any], pairs: Sequence[Any], manifest: dict[str, Any], options: PersonsOptions
) -> dict[str, Any]:
    """Crop every image and write the dataset, whole or not at all."""
    import numpy as np

    from kd_loss.inference.predictor import LandmarkPredictor
    from kd_loss.inference.weights import default_weights, without_keras
    from kd_loss.recognition.alignment import Cropper
    from kd_loss.recognition.persons import check_folds
    from kd_loss.system.files import atomic_folder, sha256, write_json
    from kd_loss.system.versions import package_versions

    weights = options.landmarks or default_weights()
    predictor = LandmarkPredictor.load(without_keras(Path(weights)))
    if predictor.scheme.points != 68:
        raise UserError(f"{weights} finds {predictor.scheme.points} landmarks; faces are aligned by the 68 of 300W")
    cropper = Cropper(predictor, options.size, options.align)
    counts = {}
    with atomic_folder(target) as folder:
        for split, pictures in splits.items():
            images, rows, broken = _crops(
                pictures, cropper, Path(manifest["source"].get(split, "")), options.doubtful == "skip"
            )
            doubtful = [i for i, row in enumerate(rows) if row.faces != 1 and i not in broken]
            problems = [
                f"{pictures[i].name} shows {rows[i].faces or 'no'} face{'s' * (rows[i].faces != 1)}" for i in doubtful
            ]
            if problems and options.doubtful == "refuse":
                raise UserError(
                    f"{counted(len(problems), 'doubtful image')} of {len(pictures)} in {split} ({problems[0]}): mend "
                    "them, or give --doubtful keep or skip"
                )
            skipped = {*doubtful, *broken} if options.doubtful == "skip" else set()
            kept = [i for i in range(len(pictures)) if i not in skipped]
            left = Counter(pictures[i].person for i in kept)
            alone = {person for person, count in left.items() if count < 2} if split == "train" else set()
            if alone:  # nothing is learned from one image: they go as a whole
                kept = [i for i in kept if pictures[i].person not in alone]
                log.warning(
                    f"{split}: {counted(len(alone), 'person')} with one image left by --doubtful skip left out as well "
                    f"({min(alone)})"
                )
            if not kept:
                raise UserError(f"no image of {split} is left")
            place = folder / split
            place.mkdir()
            np.save(place / "images.npy", images if len(kept) == len(pictures) else images[kept])
            np.save(place / "landmarks.npy", np.stack([rows[i].landmarks for i in kept]).astype(np.float32))
            np.save(place / "found.npy", np.array([rows[i].faces > 0 for i in kept]))
            np.save(place / "person.npy", np.array([pictures[i].person for i in kept], str))
            np.save(place / "name.npy", np.array([pictures[i].name for i in kept], str))
            for key in pictures[0].attributes:
                np.save(place / f"attribute-{key}.npy", np.array([pictures[i].attributes[key] for i in kept]))
            counts[split] = {
                "persons": len({pictures[i].person for i in kept}),
                "pictures": len(kept),
                "no_face": sum(rows[i].faces == 0 for i in doubtful),
                "several_faces": sum(rows[i].faces > 1 for i in doubtful),
                "unreadable": len(broken),
                "skipped": len(skipped),
                "persons_left_out": len({picture.person for picture in pictures} - {pictures[i].person for i in kept}),
            }
            if split == "test" and pairs:
                counts[split] |= _write_pairs(
                    place, pairs, [pictures[i].name for i in kept], check_folds, bool(skipped)
                )
        manifest |= {
            "counts": counts,
            "landmark_network": {"file": Path(weights).name, "sha256": sha256(Path(weights))},
            "versions": package_versions(),
            "sha256": {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*.npy"))},
        }
        write_json(folder / "manifest.json", manifest)
    for split, count in counts.items():
        print(
            f"{target / split}: " + ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in count.items())
        )
    return manifest


def _crops(pictures: Sequence[Any], cropper: Any, source: Path, skip: bool) -> tuple[Any, list[Any], set[int]]:
    """The crops (N, S, S, 3), their records without the images, and the numbers of those that cannot be read.

    An image that cannot be read is a `UserError` that names it in its folder `source`, or, to `skip`, black.
    """
    import numpy as np

    from kd_loss.imaging.pictures import BadSample

    images = np.empty((len(pictures), cropper.size, cropper.size, 3), np.uint8)
    rows: list[Any] = []
    broken: set[int] = set()
    start = 0
    for chunk in (pictures[i : i + TOGETHER] for i in range(0, len(pictures), TOGETHER)):
        read = []
        for number, picture in enumerate(chunk, start):
            try:
                read.append(picture.read())
            except BadSample as error:
                if not skip:
                    raise UserError(
                        f"{source / picture.name} {error}; mend it, leave it out, or give --doubtful skip"
                    ) from None
                broken.add(number)
                read.append(np.zeros((cropper.size, cropper.size, 3), np.uint8))
        for cropped in cropper(read):
            images[len(rows)] = cropped.image
            rows.append(replace(cropped, image=images[:0]))
        start += len(chunk)
        if start // 2000 > (start - len(chunk)) // 2000:
            log.info(f"{start} of {len(pictures)} images")
    return images, rows, broken


def _write_pairs(place: Path, pairs: Sequence[Any], names: Sequence[str], check: Any, skipped: bool) -> dict[str, int]:
    """Write the pairs whose images are left; folds are cut to equal numbers of both kinds if some were skipped."""
    import numpy as np

    number = {name: index for index, name in enumerate(names)}
    left = [pair for pair in pairs if pair.first in number and pair.second in number]
    lost = len(pairs) - len(left)
    if skipped and lost:
        cells: dict[tuple[str, int, bool], list[Any]] = {}
        for pair in left:
            cells.setdefault((pair.protocol, pair.fold, pair.same), []).append(pair)
        least = {
            (protocol, same): min(len(own) for key, own in cells.items() if (key[0], key[2]) == (protocol, same))
            for protocol, _, same in cells
        }
        left = [pair for key, own in cells.items() for pair in own[: least[key[0], key[2]]]]
        check(left, "the pairs without skipped images")
    rows = [[number[pair.first], number[pair.second], int(pair.same), pair.fold] for pair in left]
    np.save(place / "pairs.npy", np.array(rows, np.int32))
    np.save(place / "protocol.npy", np.array([pair.protocol for pair in left], str))
    return {"pairs": len(left), "pairs_lost": len(pairs) - len(left)}
