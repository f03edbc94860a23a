"""The error rate of a comparison's test where nothing differs, in small; `tools/false_alarms.py` has it in large."""

import sys

import pytest

from tools import false_alarms as tool

_, TRUNK, RANDOM = tool.REGIMES


@pytest.mark.parametrize("regime", [TRUNK, RANDOM], ids=lambda regime: regime.name)
def test_equal_methods_are_seldom_called_different(regime):
    """250 comparisons with 3 seeds: a test that never alarms fails, and one that sees too little of the seeds."""
    rates = tool.false_alarms(regime, seeds=3, repeats=250, seed=1, families=(1,))
    assert 0.003 < rates.new < 0.08
    assert rates.covered_new == pytest.approx(1 - rates.new, abs=0.01)
    assert rates.new < rates.old
    if regime is RANDOM:  # why the bootstrap alone is not enough
        assert rates.old > 0.12


def test_a_true_difference_is_found():
    assert tool.power(TRUNK, seeds=5, effect=-0.6, repeats=60, seed=0, family=1)[0] > 0.8


def test_the_tool_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["false_alarms", "--repeats", "1", "--seeds", "3", "--effects", "-3"])
    tool.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(tool.REGIMES)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| heatmap students | 3 |")
