"""The reference has every public name and every method; links that leave `docs/` arrive somewhere."""

import doctest
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import kd_loss
from tools import docs_examples, docs_site

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def built(page):
    """The Markdown of a page as the hooks leave it."""
    markdown = (ROOT / "docs" / page).read_text(encoding="utf-8")
    config = SimpleNamespace(repo_url="https://host/kd")
    return docs_site.on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=page)), config, None)


@pytest.fixture(scope="module")
def documented():
    """What the blocks of the reference name."""
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / "reference").glob("*.md")]
    return [name for page in pages for name in BLOCK.findall(built(page))]


def test_every_public_name_is_in_the_reference_once(documented):
    names = [name.removeprefix("kd_loss.") for name in documented if name.count(".") == 1]
    assert sorted(names) == sorted(kd_loss.__all__)


def test_every_method_is_in_the_reference(documented):
    own = {cls for cls in kd_loss.METHODS.values() if cls.__module__.startswith("kd_loss.")}
    assert len(own) > 10
    assert {f"{cls.__module__}.{cls.__qualname__}" for cls in own} <= set(documented)


def test_the_options_of_a_command_are_a_table():
    table = docs_site.options_table("export").splitlines()
    assert table[:2] == ["| option | default | meaning |", "|---|---|---|"]
    assert next(row for row in table if row.startswith("| `precision` |")).split(" | ")[1] == "`['fp32']`"
    assert all(row.count("|") - row.count(r"\|") == 4 for row in table)


@pytest.mark.parametrize("module", [docs_site, docs_examples])
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_links_of_pages_from_outside_lead_into_the_site():
    text = docs_site.relink(
        "[t](../docs/tutorial.md) [c](../LICENSE)", "models/README.md", "project/models.md", "https://h"
    )
    assert text == "[t](../tutorial.md) [c](https://h/blob/HEAD/LICENSE)"


@pytest.mark.parametrize("source", ["docs/README.md", *docs_site.IMPORTED])
def test_files_that_pages_link_to_exist(source):
    """MkDocs sees links between pages; those into the repository nobody else would see break."""
    text = docs_site.FENCE.sub("", (ROOT / source).read_text(encoding="utf-8"))
    for target, _ in docs_site.LINK.findall(text):
        assert (ROOT / source).parent.joinpath(target).exists(), target


def test_no_page_asks_another_host():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "\n  font: false\n" in config
    assert not re.search(r"extra_javascript|cdn|unpkg|googleapis", config)
