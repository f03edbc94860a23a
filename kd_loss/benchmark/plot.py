"""Networks on the plane of time and error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kd_loss.evaluation.plots import new_axes, to_png


def plane_plot(rows: Sequence[dict[str, Any]], peers: Sequence[dict[str, Any]]) -> bytes:
    """A PNG: NME over the median time of one face, the fastest number of threads of each network."""
    figure, axes = new_axes(7.5, 4.5)
    fastest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["name"] not in fastest or row["p50_ms"] < fastest[row["name"]]["p50_ms"]:
            fastest[row["name"]] = row
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        chosen = [row for row in fastest.values() if row["runtime"] == runtime]
        errors = [row["nme"] or 0.0 for row in chosen]
        axes.scatter([row["p50_ms"] for row in chosen], errors, label=runtime, s=40)
        for row, error in zip(chosen, errors, strict=True):
            text = f"{row['name']}, {row['size']} px"
            axes.annotate(text, (row["p50_ms"], error), xytext=(5, 4), textcoords="offset points", fontsize=7)
    for peer in peers:
        axes.scatter([peer["p50_ms"]], [peer["nme"]], marker="*", s=120, label=f"{peer['name']}, with detection")
    axes.set(xlabel="median milliseconds a face", ylabel="NME in %", xscale="log")
    axes.legend(framealpha=0.8)
    return to_png(figure)
