"""Pictures of persons in folders, and pairs of pictures with folds, in the layouts of CFP, of LFW and of one's own."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from kd_loss.imaging.pictures import IMAGE_SUFFIXES, MOST_OF_NOTE, BadSample, read_image, read_text
from kd_loss.synthetic.persons import draw_person
from kd_loss.system.errors import UserError
from kd_loss.system.terminal import counted

#: a flat folder's names: `person_07.jpg` or, of clips, `person_<clip><frame>.jpg`
_FLAT = re.compile(r"(?P<person>.+?)_\d+")
#: where the layouts have their pairs
PAIRS_OF_CFP, PAIRS_OF_LFW = Path("protocol", "pairs.csv"), Path("pairs.txt")
#: columns of a pairs file of one's own; CFP's has `protocol` too
COLUMNS = ("fold", "same", "first", "second")


@dataclass(frozen=True)
class Picture:
    """One picture of a person.

    Attributes:
        name: of the picture, a path relative to its folder; person: whom it shows.
        read: reads the picture (H, W, 3) uint8 RGB; raises `BadSample`.
        attributes: what is known of it as numbers, such as yaw.
    """

    name: str
    person: str
    read: Callable[[], np.ndarray] = field(repr=False, compare=False)
    attributes: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Pair:
    """Two pictures by their names, whether they show the same person, and the fold, from 1, of a protocol."""

    first: str
    second: str
    same: bool
    fold: int
    protocol: str = "pairs"


def _person(path: PurePosixPath) -> str:
    """The person of a picture: the folder after `images`, its own folder, or the part of its name before the number."""
    parts = path.parts
    if "images" in parts[:-2]:
        return parts[parts.index("images") + 1]
    if len(parts) > 1 and parts[-2] != "images":
        return parts[0]
    found = _FLAT.fullmatch(path.stem)
    return found["person"] if found else path.stem


def _says_person(path: PurePosixPath) -> bool:
    """Whether a picture's path says whom it shows: by a folder, or by a number after the name."""
    own = path.parts[:-1]
    return (bool(own) and own[-1] != "images") or "images" in own[:-1] or _FLAT.fullmatch(path.stem) is not None


def persons_of(pictures: Sequence[Picture]) -> dict[str, str]:
    """Name of a picture -> its person, where the layout says so; a lone `ann.jpg` may show anybody."""
    return {p.name: p.person for p in pictures if _says_person(PurePosixPath(p.name))}


def read_persons(folder: Path) -> list[Picture]:
    """The pictures of a folder with a folder for each person, of CFP's layout, or named `person_07.jpg`; sorted.

    Raises:
        UserError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder of persons: {folder}")
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not names:
        raise UserError(f"{folder} holds no images: one folder for each person, or files named person_07.jpg")
    return [Picture(name, _person(PurePosixPath(name)), _reader(folder / name), _subset(name)) for name in names]


def _reader(path: Path) -> Callable[[], np.ndarray]:
    return lambda: read_image(path, upright=True)


def _subset(name: str) -> dict[str, float]:
    """Frontal or profile, where the folders say it, as CFP's do."""
    parts = PurePosixPath(name).parts
    return {"profile": float("profile" in parts)} if {"frontal", "profile"} & set(parts) else {}


def draw_persons(persons: int, pictures: int, canvas: int, seed: int, first: int = 0) -> list[Picture]:
    """Drawn persons, the numbers from `first` on, with so many pictures each, of `canvas` pixels."""
    found = []
    for person in range(first, first + persons):
        for number in range(pictures):
            drawn = draw_person(canvas, seed, person, number)
            name = f"drawn{person:04d}/{number:02d}.png"
            found.append(Picture(name, f"drawn{person:04d}", lambda i=drawn.image: i, drawn.attributes))  # type: ignore[misc]
    return found


def drawn_pairs(pictures: Sequence[Picture], folds: int, seed: int) -> list[Pair]:
    """Equally many pairs of the same and of different persons; the persons of one fold are in no other.

    Each picture makes one pair of each kind.
    """
    rng = np.random.default_rng((seed, 5))
    persons = sorted({picture.person for picture in pictures})
    if len(persons) < 2 * folds:
        raise UserError(
            f"{counted(len(persons), 'person')} for {folds} folds of two or more: draw more, or fewer folds"
        )
    by_person = {person: [p.name for p in pictures if p.person == person] for person in persons}
    pairs = []
    for fold, members in enumerate(np.array_split(persons, folds), start=1):
        for person in members:
            own = by_person[person]
            for index, name in enumerate(own):
                other = rng.choice([m for m in members if m != person])
                pairs.append(Pair(name, own[(index + 1) % len(own)], True, fold, "drawn"))
                pairs.append(Pair(name, str(rng.choice(by_person[other])), False, fold, "drawn"))
    return pairs


def find_pairs(folder: Path) -> Path | None:
    """The pairs file of a folder in the layout of CFP or of LFW; None if there is none."""
    return next((folder / name for name in (PAIRS_OF_CFP, PAIRS_OF_LFW) if (folder / name).is_file()), None)


def read_pairs(path: Path, names: Sequence[str], persons: Mapping[str, str] | None = None) -> list[Pair]:
    """Pairs from a file: a CSV with columns fold, same, first, second (and protocol), or LFW's `pairs.txt`.

    Args:
        path: of the file; in a CSV `same` is 1 or 0, and `first` and `second` are paths relative to the folder of the
            pictures.
        names: the names of the pictures that there are.
        persons: name -> person of those whose person is known, see `persons_of`.

    Raises:
        UserError: a line is malformed, names a missing picture or one twice, or contradicts the persons; there are
            fewer pairs than folds, or unequal folds.
    """
    try:
        text = read_text(path, MOST_OF_NOTE)
    except BadSample as error:
        raise UserError(f"{path} {error}") from None
    lines = [line for line in text.splitlines() if line.strip()]
    header = lines[0].split(",") if lines else []
    rows = list(_csv_pairs(path, lines) if set(COLUMNS) <= {name.strip() for name in header} else _lfw(path, lines))
    known = set(names)
    for line, pair in rows:
        for name in (pair.first, pair.second):
            if name not in known:
                raise UserError(f"{path}: a pair names {name}, which is no image of the folder")
        _check_pair(pair, persons or {}, f"{path}, line {line}")
    pairs = [pair for _, pair in rows]
    check_folds(pairs, str(path))
    return pairs


def _check_pair(pair: Pair, persons: Mapping[str, str], where: str) -> None:
    if pair.first == pair.second:
        raise UserError(f"{where}: {pair.first} is paired with itself")
    first, second = persons.get(pair.first), persons.get(pair.second)
    if first is None or second is None or (first == second) == pair.same:
        return
    told = f"{pair.first} shows {first} and {pair.second} {second}"
    raise UserError(f"{where}: a pair of {'one person' if pair.same else 'two persons'}, but {told}")


def check_folds(pairs: Sequence[Pair], where: str) -> None:
    """Raise a `UserError` for no pairs, fewer pairs than folds, one kind of pairs, or folds of unequal size."""
    for protocol in sorted({pair.protocol for pair in pairs}) or [""]:
        own = [pair for pair in pairs if pair.protocol == protocol]
        folds = Counter(pair.fold for pair in own)
        words = f"{where}: {protocol}" if len({pair.protocol for pair in pairs}) > 1 else where
        if len(folds) < 2 or max(folds) > len(own) or max(folds) != len(folds):
            told = f"{counted(len(own), 'pair')} in folds {', '.join(map(str, sorted(folds)))}" if own else "no pair"
            raise UserError(f"{words}: {told}; folds are numbered from 1, two or more, with a pair each at least")
        same = Counter(pair.fold for pair in own if pair.same)
        for fold in sorted(folds):
            if folds[fold] != folds[1] or same[fold] != same[1]:
                raise UserError(
                    f"{words}: unequal folds: fold 1 has {same[1]} same and {folds[1] - same[1]} different pairs, "
                    f"fold {fold} has {same[fold]} and {folds[fold] - same[fold]}"
                )
        if not 0 < same[1] < folds[1]:
            raise UserError(f"{words}: all pairs are {'of one person' if same[1] else 'of different persons'}")


def _csv_pairs(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, Pair]]:
    """The number of each line, and its pair."""
    for number, row in enumerate(csv.DictReader(lines, skipinitialspace=True), start=2):
        cells = {key: (value or "").strip() if isinstance(value, str) else "" for key, value in row.items() if key}
        if cells["same"] not in ("0", "1") or not cells["fold"].isdecimal() or not 0 < int(cells["fold"]) < 1e6:
            raise UserError(f"{path}, line {number}: fold is a number from 1 and same is 0 or 1")
        same, protocol = cells["same"] == "1", cells.get("protocol") or "pairs"
        yield number, Pair(cells["first"], cells["second"], same, int(cells["fold"]), protocol)


def _lfw(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, Pair]]:
    """`pairs.txt`: folds and n in the first line, then n pairs of one person and n of two, fold by fold."""
    head = lines[0].split() if lines else []
    if len(head) not in (1, 2) or not all(word.isdecimal() for word in head):
        raise UserError(f"{path} is no pairs file: a CSV with {', '.join(COLUMNS)}, or LFW's pairs.txt")
    folds, count = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    if len(lines) - 1 != 2 * folds * count:
        raise UserError(f"{path} has {len(lines) - 1} pairs; its first line says {folds} × 2 × {count}")
    for index, line in enumerate(lines[1:]):
        words = line.split("\t") if "\t" in line else line.split()
        same = index % (2 * count) < count
        if len(words) != (3 if same else 4) or not all(w.isdecimal() for w in (words[1], words[-1])):
            raise UserError(f"{path}, line {index + 2}: not {'name n1 n2' if same else 'name1 n1 name2 n2'}")
        other = words[0] if same else words[2]
        first, second = (f"{name}/{name}_{int(n):04d}.jpg" for name, n in ((words[0], words[1]), (other, words[-1])))
        yield index + 2, Pair(first, second, same, index // (2 * count) + 1, "LFW")
