"""The table of methods is made from the registry, and the pages have the same one."""

import re
from pathlib import Path

import pytest

from kd_loss.comparison.methods import MethodsOptions, in_order, markdown, method_rows, run_methods
from kd_loss.distillation import METHODS
from kd_loss.system.errors import UserError
from kd_loss.training.options import METHOD_NAMES

ROOT = Path(__file__).parents[2]
#: those of the package; other tests register their own
OWN = in_order(name for name, cls in METHODS.items() if cls.__module__.startswith("kd_loss.distillation."))


def test_a_row_repeats_the_class_docstring():
    [row] = method_rows(["srrl"])
    assert row["teachers"] == "any; tough by default"
    assert row["taps"] == "S: embedding; T: embedding"
    assert row["parameters"] == "alpha=0.05, beta=1.0"
    assert row["source"].endswith("ICLR 2021")
    [row] = method_rows(["heatmap"])
    assert row["taps"] == "S: heatmaps; T: heatmaps"  # follows from its parameters
    [row] = method_rows(["kd_loss"])
    assert row["teachers"] == "tough, tolerant"
    assert row["parameters"] == "variant=paper, main=2.5, tough=1.0, tolerant=1.0"


def test_every_method_has_a_formula_and_names_its_source():
    for row in method_rows(OWN):
        assert row["objective"].startswith("`"), row["method"]
        assert row["source"] or row["method"] in ("none", "kd"), row["method"]


def test_the_pages_have_this_table():
    assert markdown(method_rows(OWN)) in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [named] = re.findall(r"Methods: (`none` · .*?)\.\n", readme, flags=re.DOTALL)
    assert set(re.findall(r"`(\w+)`", named)) == set(OWN)


def test_the_help_of_train_student_names_them():
    assert set(METHOD_NAMES) == set(OWN)


def test_the_command(capsys):
    rows = run_methods(MethodsOptions(names=["bound", "KD"]))
    assert [row["method"] for row in rows] == ["bound", "kd"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "[e²" in printed  # brackets of a formula are not taken for styles
    run_methods(MethodsOptions(names=["kd"], markdown=True))
    assert r"\|S − y\|" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'srrl'.* one of your own is known by --plugin FILE"):
        run_methods(MethodsOptions(names=["srll"]))
