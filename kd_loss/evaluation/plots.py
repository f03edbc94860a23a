"""The plots of a report, as PNG bytes. Matplotlib draws without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from kd_loss.evaluation.metrics import ced, mean_of_known
from kd_loss.schemes.landmarks import LandmarkScheme


def to_png(figure: Figure) -> bytes:
    """Return the figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def new_axes(width: float, height: float) -> tuple[Figure, Any]:
    """Create a figure of the given size in inches, and its axes with a light grid."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure, axes


def ced_limit(errors: Mapping[str, np.ndarray], limit: float) -> float:
    """The end of a CED plot: `limit`, or beyond nine tenths of the faces of every network, so that a curve is seen.

    >>> ced_limit({"good": np.array([3.0, 4.0])}, 15.0), ced_limit({"poor": np.array([30.0, 30.0])}, 15.0)
    (15.0, 33.0)
    """
    return max([limit, *(round(1.1 * float(np.quantile(values, 0.9)), 3) for values in errors.values() if len(values))])


def ced_plot(
    errors: Mapping[str, np.ndarray],
    limit: float = 15.0,
    words: str = "NME in %",
    published: Mapping[str, float] | None = None,
) -> bytes:
    """Plot cumulative error distributions; network's name -> NME (N,) in %, or the error described by `words`.

    The plot ends at `limit`, or where nine tenths of every network's faces have been seen. `published` networks, with
    the share of their faces above 10 % in %, are points of the curves that were not published.
    """
    figure, axes = new_axes(6.5, 5 if published else 4)
    known = {name: values[~np.isnan(values)] for name, values in errors.items()}
    limit = ced_limit(known, limit)
    grid = np.linspace(0, limit, 601)
    views = [axes]
    if published:  # they lie close together, near the top: a second view shows them apart
        views.append(axes.inset_axes((0.5, 0.12, 0.47, 0.62)))
        views[1].set(xlim=(5, min(12, limit)), ylim=(99 - 1.1 * max(published.values()), 100.2))
        views[1].grid(alpha=0.3)
        views[1].tick_params(labelsize="x-small")
    for view in views:
        for name, values in known.items():
            mean = f"{np.mean(values):.2f}{' %' if '%' in words else '°'}"
            view.plot(grid, 100 * ced(values, grid), label=f"{name} ({mean})")
        for threshold in (8, 10):
            view.axvline(threshold, color="grey", linewidth=0.8, linestyle=":")
        for (name, failures), marker in zip((published or {}).items(), cycle("ovs^Dx*P"), strict=False):
            label = f"{name}, published: {failures:.2f} % above 10 %"
            view.scatter([10], [100 - failures], marker=marker, s=25, color="grey", zorder=3, label=label)
    axes.set(xlabel=words, ylabel="share of faces in %", xlim=(0, limit), ylim=(0, 100.5))
    if published:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), frameon=False, fontsize="x-small", ncols=2)
    else:
        axes.legend(loc="best", framealpha=0.8)
    return to_png(figure)


#: offsets of a label from its point in points, and the side that it is aligned on, in the order they are tried
LABEL_PLACES = tuple(
    (x, y, side)
    for y in (0, 9, -9, 18, -18, 27, -27, 36, -36)
    for x, side in ((7, "left"), (-7, "right"), (0, "center"))
    if y or side != "center"
)


def size_plot(own: Sequence[tuple[str, float, float]], others: Sequence[tuple[str, float, float]], words: str) -> bytes:
    """Plot error against parameters; name, parameters in millions and error of own and of published networks."""
    figure, axes = new_axes(8, 4.5)
    for points, colour, size in ((others, "grey", 25), (own, "tab:red", 60)):
        axes.scatter([m for _, m, _ in points], [e for *_, e in points], color=colour, s=size, zorder=3)
    axes.set_xscale("log")
    axes.margins(0.14)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="parameters in millions", ylabel=words)
    figure.draw_without_rendering()  # so that positions in pixels are known
    centres = axes.transData.transform([(m, e) for _, m, e in (*own, *others)])
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in centres]
    for i, (name, millions, error) in enumerate((*own, *others)):
        mine = {"color": "tab:red", "fontweight": "bold"} if i < len(own) else {}
        label = axes.annotate(name, (millions, error), (7, 0), textcoords="offset points", fontsize=7.5, **mine)
        for x, y, side in LABEL_PLACES:
            label.set(position=(x, y), ha=side, va="center")
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken) and axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1:
                break
        taken.append(box)
    return to_png(figure)


def point_plot(errors: np.ndarray, scheme: LandmarkScheme) -> bytes:
    """Plot the mean error per landmark, coloured by part; errors (N, K) in %."""
    figure, axes = new_axes(9, 3)
    means = np.array([mean_of_known(column) for column in errors.T])
    left = set(range(scheme.points))
    for part, indices in scheme.parts.items():
        axes.bar(list(indices), means[list(indices)], label=part, width=0.8)
        left -= set(indices)
    if left:
        axes.bar(sorted(left), means[sorted(left)], width=0.8, color="grey")
    axes.set(xlabel="landmark", ylabel="mean error in %", xlim=(-1, scheme.points))
    if scheme.parts:
        axes.legend(ncols=len(scheme.parts), frameon=False, loc="upper right")
    return to_png(figure)


def confidence_plot(errors: np.ndarray, spread: np.ndarray) -> bytes:
    """Plot the mean error of ten equally large groups of landmarks, in order of increasing spread.

    `errors` (N, K) in %, `spread` (N, K) in crop sides.
    """
    figure, axes = new_axes(6.5, 3)
    known = ~np.isnan(errors)
    order = np.argsort(spread[known])
    groups = np.array_split(errors[known][order], 10)
    widths = np.array_split(spread[known][order], 10)
    bars = axes.bar(range(10), [float(group.mean()) for group in groups], width=0.8)
    axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.set(
        ylabel="mean error in %",
        xlabel="spread, mean of each tenth of the landmarks, in % of the crop",
        xticks=range(10),
        xticklabels=[f"{100 * width.mean():.1f}" for width in widths],
    )
    return to_png(figure)


def bar_plot(values: Mapping[str, float], label: str) -> bytes:
    """Plot a bar per name, the first at the top, with its value beside it."""
    figure, axes = new_axes(8, 0.6 + 0.4 * len(values))
    bars = axes.barh(list(values), list(values.values()), height=0.6)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel=label)
    axes.grid(axis="y", visible=False)
    return to_png(figure)
