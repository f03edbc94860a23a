"""The picture of the README shows the figures of the cards, which are those of its table."""

from pathlib import Path

from kd_loss.system.files import read_json
from tools.common_plot import backbone_plot, shipped

ROOT = Path(__file__).parents[2]


def test_the_cards_and_the_readme_agree():
    found = shipped(ROOT / "models" / "students")
    assert [name for name, *_ in found] == ["student_free", "student_w300", "student_w300_tiny", "student_wflw"]
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "shipped" in line]
    for name, millions, error in found:
        [row] = [line for line in rows if f"`{name}`" in line]
        assert f"{millions:.2f} M" in row
        assert f"{error:.2f}" in row


def test_the_record_of_backbones_shows_its_figures():
    rows = read_json(ROOT / "docs" / "experiments" / "backbones.json", "the figures")["rows"]
    page = (ROOT / "docs" / "experiments" / "backbones.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| `{row['arch']}` | {row['parameters'] / 1e6:.2f} M | {row['ms']:.2f} |" in page
    assert backbone_plot(rows).startswith(b"\x89PNG")
