"""The command `verify`: are two images of one person? With the figures that the field expects, and leaves out."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd_loss.evaluation.plots import new_axes, to_png
from kd_loss.evaluation.report import print_table, render_html
from kd_loss.recognition.card import SUFFIX
from kd_loss.recognition.clusters import classes_of, cluster_figures, cluster_sheet, cluster_table
from kd_loss.recognition.dataset import Persons, check_apart, open_persons
from kd_loss.recognition.embedders import Embedder, as_embedder
from kd_loss.recognition.options import VerifyOptions
from kd_loss.recognition.scores import RATES, identification, roc, unit, verification
from kd_loss.schemes.drawing import encode_png, enlarge, label, sheet
from kd_loss.system.errors import UserError
from kd_loss.system.files import atomic_file, write_json
from kd_loss.system.overwrite_guard import Claims

log = logging.getLogger(__name__)

#: files that `verify` writes
FILES = ("verify.json", "verify.html", "roc.png", "clusters.png")
#: side in pixels of a face on the sheet; pairs of each kind
SIDE, SHOWN = 112, 12
#: share of the persons that are in the gallery; the others are non-mates
MEMBERS = 0.5


@dataclass(frozen=True)
class Protocol:
    """The result of one protocol.

    Attributes:
        name: of the protocol; scores: (P,) cosines, of mirrored means; same, fold: (P,); rows: (P, 2).
        figures: `plain` and `mirrored`, see `scores.verification`.
    """

    name: str
    scores: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    rows: np.ndarray
    figures: dict[str, dict[str, Any]]


def verify_persons(network: Any, persons: Persons) -> tuple[list[Protocol], dict[str, Any]]:
    """Verify all pairs of a split, and identify its persons in a gallery.

    Args:
        network: a recogniser, a file, a function of crops, see `embedders.as_embedder`.
        persons: the test images, with pairs.

    Returns:
        The protocols, with `figures` without and with the mirror image; and the figures of identification.

    Raises:
        UserError: a person of the split was trained on, or there are no pairs.
    """
    return judge(*embeddings_of(as_embedder(network), persons), persons)


def embeddings_of(embedder: Embedder, persons: Persons) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings (N, D) of length 1 of a split's images, without and with the mirror images.

    Raises:
        UserError: a person of the split was trained on, or there are no pairs.
    """
    if not persons.pairs:
        raise UserError("the test images have no pairs; prepare them with --pairs FILE")
    check_apart(embedder.persons or (), persons.persons)
    plain = embedder.embed(persons.images)
    return plain, unit(plain + embedder.embed(np.asarray(persons.images)[:, :, ::-1]))


def judge(plain: np.ndarray, mirrored: np.ndarray, persons: Persons) -> tuple[list[Protocol], dict[str, Any]]:
    """`verify_persons` from embeddings (N, D) of length 1, without and with the mirror images."""
    protocols = []
    for pairs in persons.pairs:
        a, b = pairs.rows.T
        scores = {
            name: np.sum(found[a] * found[b], axis=1) for name, found in (("plain", plain), ("mirrored", mirrored))
        }
        figures = {name: verification(values, pairs.same, pairs.fold) for name, values in scores.items()}
        protocols.append(Protocol(pairs.name, scores["mirrored"], pairs.same, pairs.fold, pairs.rows, figures))
    return protocols, _identify(mirrored, persons)


def _identify(found: np.ndarray, persons: Persons) -> dict[str, Any]:
    """The first image of every second person is the gallery; all other images are probes."""
    firsts = {person: int(np.flatnonzero(persons.person == person)[0]) for person in persons.persons}
    members = persons.persons[: round(MEMBERS * len(persons.persons))]
    rows = np.array([firsts[person] for person in members])
    probes = np.setdiff1d(np.arange(len(persons)), list(firsts.values()))
    return identification(found[rows], members, found[probes], persons.person[probes])


def run_verify(options: VerifyOptions) -> dict[str, Any]:
    """Verify, print a table, write `verify.json`, `verify.html` and the images; returns the figures."""
    options.check()
    dataset = open_persons(options.dataset, options.data)
    embedder = as_embedder(options.weights)
    persons = dataset.split("test")
    align = bool(dataset.manifest.get("align"))
    if embedder.align is not None and embedder.align != align:
        words = {True: "aligned", False: "not aligned"}
        raise UserError(
            f"{options.weights} was trained on crops that are {words[not align]}, {dataset.folder} holds "
            f"{words[align]} ones: prepare them again with --{'no-' if align else ''}align, as another --dataset"
        )
    plain, mirrored = embeddings_of(embedder, persons)
    protocols, identified = judge(plain, mirrored, persons)
    return write_report(options, embedder, dataset, persons, protocols, identified, plain)


def write_report(
    options: VerifyOptions, embedder: Embedder, dataset: Any, persons: Persons, protocols: Sequence[Protocol],
    identified: dict[str, Any], plain: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Print the table and write the files; returns the content of `verify.json`. `plain`: the embeddings (N, D)."""
    folder = Path(options.output) if options.output else report_folder(options.weights, options.dataset)
    sheets = _sheets(protocols, persons)
    claims = Claims(folder, [*FILES, *(str(one["name"]) for one in sheets)])
    header, rows = _table(protocols)
    print_table(f"{embedder.title} on {options.dataset}, accuracy in %", header, rows)
    missing = int((~persons.found).sum())
    lines = [
        f"{len(persons.persons)} persons, {len(persons)} images, "
        f"{'training persons unknown' if embedder.persons is None else 'none of the training'}; {missing} without a "
        "found face, whose crop is the middle of the image.",
        f"Crops: {dataset.manifest['alignment']}, {dataset.size} px. Threshold of each fold chosen on the others.",
        _words(identified),
    ]
    for line in lines:
        print(line)
    pictures = [
        {"title": "ROC", "text": "With the mirror image.", "png": roc_plot(protocols), "name": "roc.png"},
        *sheets,
    ]
    tables = [{"title": "Verification", "header": header, "rows": rows}]
    grouped: dict[str, Any] = {}
    if options.clusters:
        grouped, png = _clusters(options.clusters, embedder, plain, persons, tables)
        pictures.append(png)
    page = render_html(
        title=f"{embedder.title} on {options.dataset}",
        lines=lines,
        tables=tables,
        pictures=[{key: picture[key] for key in ("title", "text", "png")} for picture in pictures],
        details={},
    )
    result = {
        "network": embedder.title,
        "dataset": options.dataset,
        "alignment": dataset.manifest["alignment"],
        "size": dataset.size,
        "no_face": missing,
        "training_persons": "unknown" if embedder.persons is None else "none in the test",
        "protocols": {protocol.name: protocol.figures for protocol in protocols},
        "identification": identified,
        "clusters": grouped,
    }
    for picture in pictures:
        with atomic_file(folder / str(picture["name"]), claims=claims) as path:
            path.write_bytes(picture["png"])  # type: ignore[arg-type]
    with atomic_file(folder / "verify.html", claims=claims) as path:
        path.write_text(page, encoding="utf-8")
    write_json(folder / "verify.json", result, claims)
    print(f"report: {folder / 'verify.html'}")
    return result


def report_folder(weights: str, dataset: str) -> Path:
    """The folder of a network's report: `verify-<dataset>` in a run, and with its name beside a file or a function.

    >>> report_folder("mine.py:mean", "cfp").as_posix(), report_folder("export/best-fp32.onnx", "cfp").as_posix()
    ('verify-cfp-mine-mean', 'export/verify-cfp-best-fp32.onnx')
    """
    name, _, function = weights.partition(":")
    path = Path(name)
    if path.is_dir() or path.name == f"best{SUFFIX}":  # which is what the run stands for
        return (path if path.is_dir() else path.parent) / f"verify-{dataset}"
    own = f"{path.stem}-{function}" if function else path.name.removesuffix(SUFFIX)
    return path.parent / f"verify-{dataset}-{own}"


def _sheets(protocols: Sequence[Protocol], persons: Persons) -> list[dict[str, Any]]:
    """The sheet of worst pairs of each protocol; of several, its name is in the title and in the file's name."""
    sheets: list[dict[str, Any]] = []
    several = len(protocols) > 1
    for number, protocol in enumerate(protocols, start=1):
        file = f"{number}-" + re.sub(r"[^\w.+-]", "_", protocol.name)
        sheets.append(
            {
                "title": f"Worst pairs of {protocol.name}" if several else "Worst pairs",
                "text": "Above: one person, the lowest cosines; below: two persons, the highest ones.",
                "png": encode_png(worst_pairs(protocol, persons)),
                "name": f"worst-pairs-{file}.png" if several else "worst-pairs.png",
            }
        )
    return sheets


def _clusters(
    count: int, embedder: Embedder, plain: np.ndarray, persons: Persons, tables: list[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of clusters, whose table is printed and added to the others, and the sheet of the last kind."""
    vectors = {"embedding": plain}
    if embedder.recogniser is not None and embedder.recogniser.card.dynamic != "none":
        vectors["routing"] = embedder.recogniser.answers(persons.images, "routing")
    figures, clusters = cluster_figures(vectors, classes_of(persons), count)
    header, rows = cluster_table(figures)
    title = f"{min(count, len(persons))} clusters beside attributes, in %"
    print_table(title, header, rows, turned=False)
    tables.append({"title": title, "header": header, "rows": rows})
    kind = list(clusters)[-1]
    png = encode_png(cluster_sheet(clusters[kind], persons.images))
    return figures, {"title": "Clusters", "text": f"A row a cluster of the {kind}.", "png": png, "name": "clusters.png"}


def _table(protocols: Sequence[Protocol]) -> tuple[list[str], list[list[str]]]:
    header = ["pairs", "accuracy", "threshold", "AUC", "EER", *(f"TAR@{rate:g}" for rate in RATES)]
    rows = []
    for protocol in protocols:
        for name, words in (("plain", ""), ("mirrored", ", with mirror")):
            f = protocol.figures[name]
            rows.append(
                [
                    f"{protocol.name}{words}",
                    f"{100 * f['accuracy']:.2f} ± {100 * f['accuracy_deviation']:.2f}",
                    f"{f['threshold']:.3f} ± {f['threshold_deviation']:.3f}",
                    f"{f['auc']:.4f}",
                    f"{100 * f['eer']:.2f}",
                    *(_share(value) for value in f["tar_at_far"].values()),
                ]
            )
    return header, rows


def _share(value: float | None) -> str:
    return "not measurable" if value is None else f"{100 * value:.1f}"


def _words(found: dict[str, Any]) -> str:
    rank1 = "not measurable" if found["rank1"] is None else f"{100 * found['rank1']:.1f} %"
    rates = ", ".join(f"TPIR@FPIR {rate} {_share(value)}" for rate, value in found["tpir_at_fpir"].items())
    return (
        f"Gallery of {found['gallery']} persons with one image each: rank 1 {rank1} of {found['mated']} probes; "
        f"over {found['non_mates']} images of strangers {rates}."
    )


def roc_plot(protocols: Sequence[Protocol]) -> bytes:
    """Plot the true against the false acceptance rate, on a logarithmic axis down to one in the negatives."""
    figure, axes = new_axes(6.5, 4)
    least = min(1 / max(int((~p.same).sum()), 1) for p in protocols)
    for protocol in protocols:
        far, tar, _ = roc(protocol.scores, protocol.same)
        auc = protocol.figures["mirrored"]["auc"]
        axes.step(np.maximum(far, least), 100 * tar, where="post", label=f"{protocol.name} (AUC {auc:.3f})")
    axes.set(
        xscale="log", xlabel="false acceptance rate", ylabel="true acceptance rate in %", xlim=(least, 1), ylim=(0, 101)
    )
    axes.legend(loc="best", framealpha=0.8)
    return to_png(figure)


def worst_pairs(protocol: Protocol, persons: Persons) -> np.ndarray:
    """A sheet of the pairs of one person with the lowest cosines, then of two persons with the highest."""
    order = np.argsort(protocol.scores)
    kinds = [order[protocol.same[order]][:SHOWN], order[~protocol.same[order]][::-1][:SHOWN]]
    count = min(map(len, kinds))
    tiles = []
    for kind in kinds:
        for row in kind[:count]:
            faces = [enlarge(persons.images[i], np.zeros((1, 2)), SIDE)[0] for i in protocol.rows[row]]
            tiles.append(label(np.hstack(faces), f"{protocol.scores[row]:.2f}", 16))
    return sheet(tiles, next(n for n in (6, 4, 3, 2, 1) if count % n == 0))
