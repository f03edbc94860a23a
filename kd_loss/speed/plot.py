"""Networks on the plane of time and error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kd_loss.evaluation.plots import new_axes, to_png


def plane_plot(rows: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]], words: str = "NME in %") -> bytes:
    """A PNG: NME (or what `words` say) over the median time of one face, the fastest number of threads of each."""
    figure, axes = new_axes(7.5, 4.5)
    fastest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["path"] not in fastest or row["p50_ms"] < fastest[row["path"]]["p50_ms"]:
            fastest[row["path"]] = row
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        chosen = [row for row in fastest.values() if row["runtime"] == runtime]
        axes.scatter([row["p50_ms"] for row in chosen], [row["nme"] for row in chosen], label=runtime, s=40)
        for row in chosen:
            text = f"{row['name'].rpartition('.')[0]}, {row['size']} px"
            place = {"xytext": (2, 5), "textcoords": "offset points", "rotation": 55, "rotation_mode": "anchor"}
            axes.annotate(text, (row["p50_ms"], row["nme"]), fontsize=6, **place)
    for peer in peers:
        axes.scatter([peer["p50_ms"]], [peer["nme"]], marker="*", s=120, label=f"{peer['name']}, with detection")
    axes.set(xlabel="median milliseconds a face", ylabel=words, xscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.35 * (high - low))  # room for the names above the points
    axes.legend(framealpha=0.8, fontsize=8)
    return to_png(figure)
