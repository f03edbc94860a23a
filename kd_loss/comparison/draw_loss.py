"""The command `draw-loss`: draws KD-Loss like the paper's figures, in both variants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from kd_loss.distillation.kd_loss_formulae import VARIANTS, WEIGHTS, coordinate_terms
from kd_loss.system.configuration import Options, option
from kd_loss.system.files import atomic_file
from kd_loss.system.overwrite_guard import Claims

matplotlib.use("Agg")
from matplotlib.figure import Figure


def describe(options: CurvesOptions) -> str:
    """Describe an image's settings for its file metadata, which identifies drawings of other weights."""
    weights = ", ".join(f"{weight:g}" for weight in WEIGHTS)
    return f"KD-Loss with weights {weights}; errors of the teachers {options.tough:g} and {options.tolerant:g}"


def run_curves(options: CurvesOptions) -> Path:
    """Write the image: a column per variant; value above, slope of the whole below."""
    limit = 2.5 * max(options.tough, options.tolerant, 0.01)
    error = np.linspace(-limit, limit, 2001).astype("float32")
    tough, tolerant = (np.full_like(error, value) for value in (options.tough, options.tolerant))
    figure = Figure(figsize=(11, 6.5))
    axes = figure.subplots(2, 2, sharex=True)
    for column, variant in enumerate(VARIANTS):
        terms = coordinate_terms(np.abs(error), tough, tolerant, variant)
        weights = dict(zip(terms, WEIGHTS, strict=True))
        upper, lower = axes[0, column], axes[1, column]
        for name, values in terms.items():
            upper.plot(error, weights[name] * values, label=f"{weights[name]:g} · {name}")
        total = sum(weights[name] * values for name, values in terms.items())
        upper.plot(error, total, "k", label="sum")
        lower.plot(error, np.gradient(total, error), "k")
        for axis in (upper, lower):
            for value, style in ((options.tough, "--"), (options.tolerant, ":")):
                axis.axvline(value, color="grey", linewidth=0.8, linestyle=style)
                axis.axvline(-value, color="grey", linewidth=0.8, linestyle=style)
            axis.grid(alpha=0.3)
            axis.locator_params(axis="x", nbins=7)
        upper.set_title(f"variant = {variant}")
        upper.legend(frameon=False)
        lower.set(xlabel="student − truth (dashed: tough, dotted: tolerant teacher)", ylim=(-9, 9))
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("slope of the sum")
    claims = Claims(options.output.parent, [options.output.name])
    with atomic_file(options.output, ".png", claims) as path:
        figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Description": describe(options)})
    print(options.output)
    return options.output


@dataclass(frozen=True)
class CurvesOptions(Options):
    """Draw the terms of KD-Loss and their sum against the student's error, for both variants."""

    tough: float = option(0.02, "error of the tough teacher, in normalised units", within=(0, math.inf))
    tolerant: float = option(0.04, "error of the tolerant teacher", within=(0, math.inf))
    output: Path = option(Path("kd_loss.png"), "the image to write")
