"""The pages for contributors and the generated ones, against the checkout."""

from __future__ import annotations

import re

import pytest
from support import PROJECT

from benchmarks.convergence.sections import sections
from benchmarks.convergence.trials import read
from benchmarks.document import fill_sections

ARCHITECTURE = PROJECT / "docs" / "architecture.md"
PACKAGE = PROJECT / "dnnbench"


def test_every_folder_has_its_line() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(re.findall(r"^\| `(\w+)/`", text, re.MULTILINE))


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)+\w+\.(?:py|md|toml))`", text))
    assert named
    missing = [
        name for name in named if not (PROJECT / name).exists() and not (PACKAGE / name).exists()
    ]
    assert missing == []


def test_every_table_that_is_named_exists() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    tables = re.findall(r"`([A-Z_]+|_?[a-z]+_[a-z]+)` in `([\w/]+\.py)`", text)
    assert len(tables) > 5
    for name, file in tables:
        assert re.search(rf"\b{name}\b", (PACKAGE / file).read_text(encoding="utf-8")), (name, file)


def test_every_figure_of_the_convergence_is_that_of_the_measured_trials() -> None:
    page = (PROJECT / "docs" / "convergence.md").read_text(encoding="utf-8")
    texts = sections(read(PROJECT / "docs" / "convergence.json"))
    assert {*re.findall("<!-- figures: (.+?) -->", page)} == texts.keys()
    assert fill_sections(page, texts) == page


def test_the_readme_of_the_package_has_no_link_into_the_checkout() -> None:
    """An index shows the README without the files beside it."""
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"pattern = '(.+)', replacement = '(.+)'", project)
    assert found
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    packaged = re.sub(found[1], found[2], readme)
    links = re.findall(r"\]\(([^)]+)\)", packaged)
    assert all(link.startswith(("https://", "#")) for link in links), links
    assert "| docs/reference.md | " in packaged  # their texts stay
    assert not re.search(r"!\[|<img", readme)  # a picture would need an address, and there is none
